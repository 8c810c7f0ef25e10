"""Looking for damage in layers, for the doctor: QEMU's own check of each file, and whether each has what is below."""

import asyncio
from typing import Final

from openevs.domain.ids import VolumeId
from openevs.engine.layers.core import Core
from openevs.engine.layers.graph import LayerId, MissingLayerError
from openevs.engine.layers.strays import taken_files

_CLEAN: Final = (0, 3)
"""Exit statuses of `qemu-img check`: nothing found; clusters leaked, which costs room and no bytes."""


async def check_layers(core: Core) -> list[str]:
    """Return a sentence for each layer that is damaged or missing."""
    found = [text for volume_id in core.volumes for text in _missing(core, volume_id)]
    # A head that is being served changes under the check, which would see damage where there is none.
    served = {volume.manifest.head for volume in core.volumes.values() if volume.daemon is not None}
    complaints = [await _check(core, layer) for layer in sorted(core.parents.keys() - served)]
    found += [complaint for complaint in complaints if complaint is not None]
    return found + await asyncio.to_thread(_left_files, core)


def _missing(core: Core, volume_id: VolumeId) -> list[str]:
    found = []
    for top in sorted(core.volumes[volume_id].manifest.layers()):
        try:
            core.chain(top)
        except MissingLayerError as error:
            found.append(f"volume {volume_id}: layer {error.layer} is missing or cannot be read")
    return found


def _left_files(core: Core) -> list[str]:
    """Blocking."""
    return [
        f"incoming/{path.name}: a file that was to become volume {volume_id}, and did not; rename it to adopt it"
        for volume_id, path in taken_files(core)
    ]


async def _check(core: Core, layer: LayerId) -> str | None:
    path = core.pool.layer_path(layer)
    process = await asyncio.create_subprocess_exec(
        "qemu-img", "check", "-q", "-U", "-f", "qcow2", str(path),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    if process.returncode in _CLEAN:
        return None
    lines = out.decode(errors="replace").strip().splitlines()
    return f"layer {layer}: {lines[0] if lines else f'qemu-img check ended with {process.returncode}'}"
