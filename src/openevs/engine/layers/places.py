"""Daemons in their places: in one run folder, and on one pool's layers.

A daemon outlives the service, and keeps its folder of layers, whatever that is called by now. A pool that is copied, or
put back, while volumes are attached has the same id as the one that they write to; taken for ours, such a daemon would
get our orders, and what its clients write would be in the other pool. And two services that share a run folder on two
copies of a pool would give out one another's addresses.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from openevs.engine.errors import Broken
from openevs.engine.layers.core import Core, run_prefix
from openevs.engine.layers.daemon import all_running

_NAMED: Final = 5
"""Processes that a message names: a person has to find them, and more are found as these are."""


def take_places(core: Core) -> None:
    """Have the run folder for ourselves, and see that all daemons of the pool are in it, and on this copy of the pool.
    Raises Broken, OSError. Blocking."""
    prefix = run_prefix(core.pool.pool_id)
    core.pool.take(
        core.run_folder / f"{prefix}.lock",
        f"another process serves a copy of this pool from the run folder {core.run_folder}: stop it, or give this one "
        "a run folder of its own (data.run_folder)",
    )
    home = core.pool.layers.stat()
    elsewhere: dict[int, str] = {}
    apart: dict[int, str] = {}
    for path, pid in all_running():
        ours = path.parent == core.run_folder and path.name.startswith(prefix)
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            at_home = os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), home)
            if ours and not at_home:
                elsewhere[pid] = str(Path(f"/proc/{pid}/cwd").readlink())
            elif at_home and not ours:
                apart[pid] = str(path.parent)
    if elsewhere:
        raise Broken(
            f"storage daemons serve volumes of this pool from another folder ({_named(elsewhere)}): what their clients "
            f"write is there, and not in {core.pool.layers}. If the pool was moved by copying, or put back, end its "
            "clients and these daemons, and see that you have what they wrote; a copy that is to run beside the other "
            "wants a run folder of its own (data.run_folder)"
        )
    if apart:
        raise Broken(
            f"storage daemons serve volumes of this pool from another run folder ({_named(apart)}): set "
            "data.run_folder to that, or end them and have their clients connect anew"
        )


def _named(found: dict[int, str]) -> str:
    named = [f"pid {pid}: {place}" for pid, place in list(found.items())[:_NAMED]]
    return ", ".join(named) + (", …" if len(found) > _NAMED else "")
