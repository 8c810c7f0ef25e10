"""The reference engine: the contract of `engine/port.py`, kept in this process's memory."""

from openevs.engine.memory.engine import MemoryEngine
from openevs.engine.memory.storage import MemoryStorage

__all__ = ["MemoryEngine", "MemoryStorage"]
