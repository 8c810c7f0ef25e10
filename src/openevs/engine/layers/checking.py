"""Looking for damage in layers, for the doctor: QEMU's own check of each file, and whether each has what is below."""

import asyncio

from openevs.domain.ids import VolumeId
from openevs.engine.layers import tool
from openevs.engine.layers.core import Core
from openevs.engine.layers.graph import LayerId, MissingLayerError
from openevs.engine.layers.strays import taken_files


async def check_layers(core: Core) -> list[str]:
    """Return a sentence for each layer that is damaged or missing."""
    found = list(core.damaged)
    found += [text for volume_id in core.volumes for text in _missing(core, volume_id)]
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
    complaint = await tool.check_image("-U", "-f", "qcow2", str(core.pool.layer_path(layer)))
    return None if complaint is None else f"layer {layer}: {complaint}"
