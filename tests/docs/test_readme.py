"""Every command of the README is run, in its order, against a real service; each block must succeed."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from openevs.demo.service import Service

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"(?:<!-- test: (?P<kind>\w+) -->\n)?```sh\n(?P<text>.*?)```", re.DOTALL)
MAKE = re.compile(r"^make (\w+)", re.MULTILINE)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service on a folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="evs-"))
    try:
        with Service(folder / "data") as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(service: Service, kind: str) -> str:
    """Run all blocks of one kind as one script, with the service's address and folder in place of the README's."""
    text = "\n".join(match["text"] for match in BLOCK.finditer(README) if match["kind"] == kind)
    assert text, f"the README has no block of kind {kind}"
    tools = Path(sys.executable).parent
    text = text.replace("http://127.0.0.1:8776", service.base_url).replace(".venv/bin", str(tools))
    environ = {
        "PATH": f"{tools}:/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin",
        "HOME": str(service.folder),
    }
    script = f"set -eu -o pipefail\ncd {service.folder.parent}\n{text}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environ, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Pattern verification failed" not in done.stdout, done.stdout
    return done.stdout


def test_first_snapshot_with_curl(service: Service) -> None:
    printed = run(service, "curl")
    assert '"status":"available"' in printed
    assert '"openevs:stall_ms":' in printed
    assert "read 1048576/1048576 bytes at offset 0" in printed


def test_first_snapshot_with_openstack(service: Service) -> None:
    printed = run(service, "openstack")
    assert "| before | None        | available |   10 |" in printed


def test_no_block_is_left_out() -> None:
    for match in BLOCK.finditer(README):
        if match["kind"] is None:
            assert MAKE.findall(match["text"]) == ["run", "test"], "a block that no test runs"


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in {*MAKE.findall(README), *re.findall(r"`make (\w+)`", README)}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
