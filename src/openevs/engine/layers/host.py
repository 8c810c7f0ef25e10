"""A host: one storage daemon, and the volumes that are open in it: one, or those that are to be frozen together."""

import asyncio
from dataclasses import dataclass, field

from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.graph import LayerId


@dataclass(eq=False, slots=True)
class Host:
    """A daemon that several volumes may share."""

    daemon: Daemon
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever starts or ends the process, or opens or closes layers in it; taken after a volume's lock."""
    unsealed: set[LayerId] = field(default_factory=set)
    """Layers that were frozen, and that the process still has open to be written (`seals.py`)."""
