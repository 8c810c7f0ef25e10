"""Running one of QEMU's tools to its end."""

import asyncio
import contextlib
from typing import Final

from openevs.engine.layers.faults import from_qemu

_CLEAN: Final = (0, 3)
"""Exit statuses of `qemu-img check`: nothing found; clusters leaked, which costs room and no bytes."""


async def run_tool(*words: str) -> str:
    """Run it and return what it printed; it is killed if the caller is cancelled. Raises what it complains of."""
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise from_qemu(complaint.decode(errors="replace").strip().removeprefix(f"{words[0]}: "))
    return out.decode(errors="replace")


async def check_image(*words: str) -> str | None:
    """Let QEMU check an image, and return the first line of what it says is wrong with it; None if nothing is."""
    process = await asyncio.create_subprocess_exec(
        "qemu-img", "check", "-q", *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    if process.returncode in _CLEAN:
        return None
    lines = out.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"qemu-img check ended with {process.returncode}"
