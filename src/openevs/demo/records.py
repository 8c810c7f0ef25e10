"""Records that a writer writes: numbered, checksummed, in a ring of slots, so that a copy of the ring tells its moment.

Record `n` goes into slot `n mod slots`, and is only begun when record `n - 1` was acknowledged. So at any instant the
ring holds exactly what the first `n` records leave, for one `n`; a copy that does not is no copy of one instant.
"""

import hashlib
import struct
from typing import Final

RECORD_BYTES: Final = 4096
_HEAD: Final = struct.Struct(">8sQQ")
_MAGIC: Final = b"OEVSRECD"
_DIGEST_BYTES: Final = 32


class NotOneInstant(Exception):
    """A ring of records is not the state between two writes; the message says which slot gives it away."""


def record(number: int, slots: int) -> bytes:
    """Return record `number` (from 0 on) of a ring."""
    head = _HEAD.pack(_MAGIC, number, slots)
    content = (head * (RECORD_BYTES // len(head)))[: RECORD_BYTES - _DIGEST_BYTES]
    return content + hashlib.sha256(content).digest()


def state_of(ring: bytes) -> int:
    """Return after how many records the ring was in this state. Raises NotOneInstant."""
    slots = len(ring) // RECORD_BYTES
    numbers = [_number(ring, slot, slots) for slot in range(slots)]
    count = max(numbers) + 1
    for slot, found in enumerate(numbers):
        last = count - 1
        expected = last - (last - slot) % slots if slot <= last else -1
        if found != expected:
            raise NotOneInstant(
                f"{count} records were written in turn, so slot {slot} must hold record {expected}; it holds {found}"
            )
    return count


def _number(ring: bytes, slot: int, slots: int) -> int:
    found = ring[slot * RECORD_BYTES : (slot + 1) * RECORD_BYTES]
    magic, number, of = _HEAD.unpack_from(found)
    if magic == b"\0" * len(_MAGIC) and not any(found):
        return -1
    if magic != _MAGIC or of != slots or number % slots != slot or found != record(number, slots):
        raise NotOneInstant(f"slot {slot} holds no whole record")
    return int(number)
