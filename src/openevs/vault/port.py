"""The contract between OpenEVS and whatever keeps its backups.

Like an engine, a vault takes frozen values and returns frozen facts, and every method may be called again: the same
result comes out whether the first call finished, died half-way or is still running. It knows nothing of engines: bytes
come from, and go to, functions that the caller gives.

A backup is there when its index is: the index is the last thing that `ensure_backup` writes and the first that
`ensure_no_backup` removes. Every backup can be restored by itself; its parent is only a word about where it came from,
and may be deleted.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from openevs.domain.ids import BackupId


@dataclass(frozen=True, slots=True)
class VaultFacts:
    """What kind of vault this is."""

    kind: str
    """`folder` or `s3`."""
    location: str
    """Where the backups are, for people: a folder, a bucket's address. Holds no secret."""
    encrypted: bool


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """A backup as it is wanted."""

    backup_id: BackupId
    size_bytes: int
    parent_id: BackupId | None = None
    """The backup that this one differs from in the extents that are given with it. None: in those extents the volume
    may be other than zeros."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Kept in the index for whoever reads the vault without a database. No part of the identity."""


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """A backup as it is."""

    backup_id: BackupId
    size_bytes: int
    """Of the volume."""
    parent_id: BackupId | None
    created_at: datetime
    bytes_read: int
    """How much was read of the volume to make it."""
    bytes_stored: int
    """How much it added to the store, compressed; what was there already is not counted."""
    object_count: int
    """How many chunks it needs, those it shares with others included."""
    checksum: str
    """Of the index, which holds the names and thereby the hashes of everything in it."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come."""

    bytes_read: int
    """In a restore: bytes that were written or made zero."""
    bytes_stored: int
    """In a restore: bytes that came from the store, as they are there."""
    bytes_total: int
    """What `bytes_read` will be in the end, as far as that is known."""
    seconds: float


class Range(Protocol):
    """A run of bytes; an engine's `Extent` is one."""

    @property
    def offset_bytes(self) -> int: ...
    @property
    def length_bytes(self) -> int: ...


Read = Callable[[int, int], Awaitable[bytes | bytearray]]
"""(offset, length) → exactly that many bytes. Called several times at once."""
Write = Callable[[int, bytes], Awaitable[None]]
"""(offset, bytes). Called several times at once, never for the same place."""
Zero = Callable[[int, int], Awaitable[None]]
"""(offset, length): make it read as zeros. As `Write`."""
Report = Callable[[Progress], None]
"""Called a few times in a second, in the caller's loop."""


def unreported(_: Progress) -> None:
    """A `Report` that nobody reads."""


class Vault(Protocol):
    """Backups, by id."""

    async def close(self) -> None:
        """Let go of everything this process holds. It is opened by its first use."""

    def describe(self) -> VaultFacts:
        """Return the vault's constant facts."""

    async def ensure_backup(
        self, order: BackupOrder, read: Read, extents: Sequence[Range], report: Report = unreported
    ) -> BackupFacts:
        """Make the backup exist. `extents` come in order and do not overlap; outside of them the volume is as the
        parent has it (beyond the parent's end: zeros), or zeros if there is no parent.
        A repeat returns the same facts, and reads nothing if it was finished. After an interruption it reads again,
        but does not store again what is there; `read` must give the bytes of the same frozen moment. What is there, but
        damaged, is stored again.
        Raises Missing for an unknown parent, and if the backup is there with another size."""

    async def restore(self, backup_id: BackupId, write: Write, zero: Zero, report: Report = unreported) -> BackupFacts:
        """Write all that the backup holds, and make zero what it does not, up to its size. Bytes are checked before
        they are given to `write`; Damaged names the chunk and the place, and leaves the rest unwritten.
        A repeat begins at the beginning. Raises Missing."""

    async def ensure_no_backup(self, backup_id: BackupId) -> None:
        """Make the backup not exist, also one that was never finished, and give back the room that only it took.
        Others that share chunks with it, its children too, keep their bytes. Unknown is success.
        Raises Transient while `ensure_backup` or `restore` works on it."""

    async def inspect(self, backup_id: BackupId) -> BackupFacts | None:
        """Return what is really there, or None. Raises Damaged."""

    async def list_backups(self) -> Sequence[BackupId]:
        """Return the ids of all backups that are finished."""

    async def list_unfinished(self) -> Sequence[BackupId]:
        """Return the ids of backups that were begun and are not finished: under way, or left by a process that was
        killed. `ensure_no_backup` gives the room of these back."""

    async def check(self, backup_id: BackupId, report: Report = unreported) -> Sequence[str]:
        """Read everything that the backup needs; return a sentence for each thing that is damaged or gone.
        Raises Missing."""

    async def export_record(self, backup_id: BackupId) -> str:
        """Return a short text by which this backup is found again in this vault, by another database too.
        Raises Missing."""

    async def import_record(self, record: str) -> BackupFacts:
        """Return the backup that a record names. Raises Missing (with why) if it is not in this vault, or no record."""
