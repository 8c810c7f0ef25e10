"""`python -m tests.tempest`: run OpenStack's own tests against a service started for them, and compare the result with
the list of those that must pass."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from openevs.demo.service import Service
from tests.environments import install
from tests.tempest import outcomes
from tests.tempest.cloud import BACKENDS, cloud_of, make_accounts
from tests.tempest.configuration import MODES, write
from tests.tempest.expectations import judge, read_expected, table, write_expected
from tests.tempest.outcomes import Outcome, area_of

TESTS: Final = r"^(tempest\.api\.volume|cinder_tempest_plugin\.api)\."
REQUIREMENTS: Final = Path(__file__).parent / "requirements.txt"
WORKERS: Final = 2
SETTINGS: Final = {"ENGINE_BACKENDS": ",".join(BACKENDS)}


def main() -> int:
    """Run and print; 1 if a test that must pass did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.tempest", description=__doc__)
    parser.add_argument("--mode", choices=[*MODES, "both"], default="both", help="how Tempest gets its accounts")
    parser.add_argument("--tests", default=TESTS, help="regular expression of the tests that are run")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and data")
    parser.add_argument("--failures", type=Path, help="write what did not pass, and why, into this folder")
    parser.add_argument("--rewrite", action="store_true", help="write the list anew, as this run has shown it")
    given = parser.parse_args()
    status = 0
    for mode in MODES if given.mode == "both" else (given.mode,):
        began = time.perf_counter()
        found = run(mode, given.tests, keep=given.keep)
        status |= report(mode, found, time.perf_counter() - began, whole=given.tests == TESTS)
        if given.failures:
            (given.failures / f"tempest-{mode}.txt").write_text(failures(found))
        if given.rewrite:
            write_expected(mode, read_expected(mode).with_results(found))
    return status


def run(mode: str, tests: str, *, keep: bool = False) -> list[Outcome]:
    """Start a service, let Tempest at it, and return what came out."""
    environment = install("tempest", REQUIREMENTS)
    folder = Path(tempfile.mkdtemp(prefix="evs-"))
    try:
        with Service(folder / "data", SETTINGS) as service:
            cloud = cloud_of(service)
            accounts = make_accounts(cloud) if mode == "preprovisioned" else []
            config = write(folder, environment, cloud, mode, accounts)
            return run_tempest(environment, folder, config, tests)
    finally:
        if keep:
            print(f"The data and the logs are kept in {folder}")  # noqa: T201
        else:
            shutil.rmtree(folder, ignore_errors=True)


def run_tempest(environment: Path, folder: Path, config: Path, tests: str) -> list[Outcome]:
    """Run Tempest with a configuration and return what came out."""
    stream = folder / "results.subunit"
    binaries = environment / "bin"
    environ = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "TEMPEST_CONFIG_DIR": str(config.parent),
        "TEMPEST_CONFIG": config.name,
    }
    command = [str(binaries / "stestr"), "run", "--subunit", "--concurrency", str(WORKERS), tests]
    with stream.open("wb") as output, (folder / "stestr.log").open("wb") as log:
        # Its status says that some test failed, as some may.
        subprocess.run(command, cwd=folder, env=environ, stdout=output, stderr=log, check=False)
    return outcomes.read(environment, stream)


def report(mode: str, found: list[Outcome], seconds: float, *, whole: bool) -> int:
    """Print what came out; 1 if a test that must pass did not."""
    expected = read_expected(mode)
    lost, gained = judge(expected, found, whole=whole)
    reasons = {one.about: one.reason for one in found if one.status != "success"}
    lines = ["", f"Accounts: {mode}. {seconds:.0f} s with {WORKERS} workers", ""]
    lines += table(expected.passing, found) if whole else []
    lines += [f"LOST {name}: {reasons.get(name) or reasons.get(name.rpartition('.')[0], 'not run')}" for name in lost]
    lines += [f"GAINED {name} (add it to tests/tempest/expected, by --rewrite)" for name in gained]
    lines += [f"{len(outcomes.passed(found))} passed, {len(lost)} failed"]
    print("\n".join(lines))  # noqa: T201
    return int(bool(lost))


def failures(found: list[Outcome]) -> str:
    """Return what did not pass, by area, and why."""
    lines: list[str] = []
    area = ""
    for one in sorted(found, key=lambda one: (area_of(one.about), one.name)):
        if one.status == "success":
            continue
        if area_of(one.about) != area:
            area = area_of(one.about)
            lines += ["", f"## {area}"]
        lines.append(f"{one.status.upper()} {one.name}: {one.reason}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
