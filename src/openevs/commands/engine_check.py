"""`openevs engine check`: the conformance suite of engines, on the disk that the pool is, or is to be, on."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from openevs.commands.failure import Failure
from openevs.settings import Settings
from openevs.testing.conformance import CHECKS, EngineBench, run_checks
from openevs.testing.conformance.layers import layers_bench


def run(settings: Settings, pool: Path | None, only: Sequence[str], show: Callable[[str], None]) -> int:
    """Run the checks (or only those named), show a row for each as it ends, and return how many failed.
    Raises Failure."""
    unknown = set(only) - {check.name for check in CHECKS}
    if unknown:
        raise Failure(f"There is no check {sorted(unknown)[0]}; there are {', '.join(c.name for c in CHECKS)}.")
    folder = _place(settings, pool)
    try:
        # A pool in the folder is not touched: the checks have one of their own, below it.
        work = Path(tempfile.mkdtemp(prefix="openevs-check-", dir=folder))
    except OSError as error:
        raise Failure(f"No folder can be made in {folder}: {error.strerror}.") from None
    # Sockets want a short path, whatever the pool's is.
    run_folder = Path(tempfile.mkdtemp(prefix="oe-"))
    show(f"Checks in {work}, which is removed after.")
    try:
        return asyncio.run(_run(work, run_folder, only, show))
    finally:
        for path in (work, run_folder):
            shutil.rmtree(path, ignore_errors=True)


def _place(settings: Settings, pool: Path | None) -> Path:
    """Return the folder that was given, the pool's, or the nearest one above it that is there."""
    folder = (pool or settings.pool_folder).absolute()
    while pool is None and not folder.is_dir():
        folder = folder.parent
    return folder


async def _run(work: Path, run_folder: Path, only: Sequence[str], show: Callable[[str], None]) -> int:
    async def make_bench() -> EngineBench:
        return await layers_bench(work, run_folder).open()

    width = max(len(check.name) for check in CHECKS)
    failed = 0
    async for result in run_checks(make_bench, only):
        failed += result.outcome == "failed"
        show(f"{result.check.name:{width}}  {result.outcome:7}  {result.seconds:6.2f} s  {result.reason}".rstrip())
    show(f"{failed} checks failed." if failed else "All is well.")
    return failed
