"""The default engine: volumes are chains of qcow2 layers in a folder, served by qemu-storage-daemon."""

from openevs.engine.layers.engine import LayersEngine
from openevs.engine.layers.settings import LayersSettings

__all__ = ["LayersEngine", "LayersSettings"]
