"""Running one of QEMU's tools to its end."""

import asyncio
import contextlib

from openevs.engine.layers.faults import from_qemu


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
