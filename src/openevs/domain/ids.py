"""Identifiers of everything OpenEVS keeps.

Ids are made by us, never taken from storage, and never reused: an engine may use them as names on disk and be sure
that whatever carries an id belongs to the object that was given it first.
"""

import os
import uuid
from collections.abc import Iterator
from typing import Final, NewType

VolumeId = NewType("VolumeId", str)
SnapshotId = NewType("SnapshotId", str)
BackupId = NewType("BackupId", str)
AttachmentId = NewType("AttachmentId", str)
OperationId = NewType("OperationId", str)
ProjectId = NewType("ProjectId", str)
UserId = NewType("UserId", str)

GIB = 1 << 30
_AT_A_TIME: Final = 64
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""Random digit → one of those that say that a UUID is as RFC 9562 has them."""
_VOLUME_TYPES = uuid.UUID("6d1f3c5a-8f0e-4b57-9d43-0c8e5a7b21f4")
_GROUP_TYPES = uuid.UUID("0b7f6c1e-3a52-4d88-9a61-5e2d94c7f013")


def new_uuid() -> str:
    """Return a random UUID in its 36-character form, as EVS uses for disks, snapshots and attachments."""
    return _as_uuid(os.urandom(16).hex())


def random_uuids() -> Iterator[str]:
    """Yield random UUIDs without end, for one thread. The system is asked for random bytes for many at a time, as each
    time takes longer than all the rest. Not for what is kept: a copy of the process would go on with the same ones."""
    while True:
        digits = os.urandom(16 * _AT_A_TIME).hex()
        for at in range(0, len(digits), 32):
            yield _as_uuid(digits[at : at + 32])


def _as_uuid(digits: str) -> str:
    """Return what uuid4() makes of 32 random digits, in a third of the time."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def new_hex() -> str:
    """Return a random id of 32 lower-case hex characters, as Keystone uses for projects, users and roles."""
    return uuid.uuid4().hex


def volume_type_id(name: str) -> str:
    """Return the id of a volume type: made from its name, so that it is the same in every installation."""
    return str(uuid.uuid5(_VOLUME_TYPES, name))


def group_type_id(name: str) -> str:
    """Return the id of a group type that every installation has: made from its name."""
    return str(uuid.uuid5(_GROUP_TYPES, name))


def is_canonical_uuid(text: str) -> bool:
    """Say whether `text` is a UUID in the form in which `new_uuid` makes them."""
    return is_uuid(text) and str(uuid.UUID(text)) == text


def is_uuid(text: str) -> bool:
    """Say whether `text` is a UUID in a form that clients send (with or without dashes, any case)."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
