"""What the test knows of every volume and snapshot: which bytes each of its slots may hold.

A volume has some slots of 4 KiB. Every write puts a numbered record with a checksum into one of them; number 0 is
"never written". For each slot the journal keeps the set of numbers that may be there:

    a write begins       its number may be there, or may not
    a flush has ended    of the records that were acknowledged before it began, exactly the last is there
    a read has ended     what was read is there

A snapshot begins with what its volume may hold when the request is sent, and collects what is begun until the client
has seen that it is available: so it must hold all that was flushed before, and nothing that was begun after.
"""

import itertools
import random
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

RECORD_BYTES: Final = 4096
SLOTS: Final = 48
GIB: Final = 1 << 30
_STRIDE: Final = GIB // SLOTS // RECORD_BYTES * RECORD_BYTES
_HEAD: Final = struct.Struct(">8sQII")
_MAGIC: Final = b"OEVSKILL"
_ZEROS: Final = bytes(RECORD_BYTES)

History = dict[int, list[tuple[int, int]]]
"""Slot → records that were written for good, each with the newest number that was begun when that was known."""

Slots = dict[int, frozenset[int]]
"""Slot → numbers of the records that may be in it; a slot that is missing holds zeros."""


class WrongBytes(Exception):
    """A slot holds what it must not hold."""


def offset_of(slot: int) -> int:
    """Return where a slot is: spread over the first GiB, so that each has a cluster of its own."""
    return slot * _STRIDE


def record(number: int, slot: int) -> bytes:
    """Return the bytes of a record."""
    body = random.Random(number).randbytes(RECORD_BYTES - _HEAD.size)
    return _HEAD.pack(_MAGIC, number, slot, zlib.crc32(body)) + body


def number_in(data: bytes, slot: int) -> int:
    """Return the number of the record that these bytes of a slot are. Raises WrongBytes."""
    if data == _ZEROS:
        return 0
    magic, number, found_slot, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC or found_slot != slot or zlib.crc32(data[_HEAD.size :]) != checksum:
        raise WrongBytes(f"slot {slot} holds no whole record of its own: {data[: _HEAD.size].hex()}")
    return int(number)


@dataclass(eq=False)
class Snap:
    """A snapshot that was asked for."""

    name: str
    volume: "Vol"
    slots: Slots
    id: str | None = None
    """None until an answer, or a list, has told it."""
    accepted: bool = False
    """Whether it was answered with 202."""
    open: bool = True
    """It may still be taken: what is begun now may be in it."""
    delete_sent: bool = False
    deleted: bool = False
    """Whether its deletion was answered with 202."""
    times_read: int = 0
    history: History | None = None
    """For one of a group snapshot: what was written to its volume; None if that was put back meanwhile."""


class Bak(Snap):
    """A backup that was asked for. What it may hold is told as of a snapshot; its volume may go before it."""


@dataclass(eq=False)
class Grp:
    """A group that was asked for."""

    name: str
    one_instant: bool
    """Whether its type promises that what is taken of it is of one instant."""
    id: str | None = None
    accepted: bool = False
    open: bool = True
    """It may still be being made."""
    delete_sent: bool = False
    deleted: bool = False
    copies: "list[Vol]" = field(default_factory=list)
    """The volumes that were made along with it, from another group or a group snapshot, until they are compared."""
    busy: bool = False

    def known(self) -> bool:
        """Whether it, and all that was made with it, has been seen to be there."""
        return not self.open and all(one.id for one in self.copies)


@dataclass(eq=False)
class GroupSnap:
    """A group snapshot that was asked for."""

    name: str
    group: Grp
    snapshots: list[Snap] = field(default_factory=list)
    id: str | None = None
    accepted: bool = False
    delete_sent: bool = False
    deleted: bool = False


@dataclass(eq=False)
class Vol:
    """A volume that was asked for."""

    name: str
    size: int
    slots: Slots = field(default_factory=dict)
    id: str | None = None
    accepted: bool = False
    delete_sent: bool = False
    deleted: bool = False
    taking: list["Snap | Vol"] = field(default_factory=list)
    """Snapshots, and volumes made from this one, that may still be being taken."""
    attachment: str | None = None
    uri: str | None = None
    """Where it is served, while a client believes that it is attached."""
    open: bool = True
    """It may still be being made: what is begun on its source may be in it."""
    busy: bool = False
    groups: frozenset[Grp | None] = frozenset((None,))
    """In which of these it is is not known: more than one if an answer was lost. None stands for no group."""
    moving: bool = False
    """It is just being asked to join or leave one."""
    history: History = field(default_factory=dict)
    source: "Snap | Vol | None" = None
    """For one that was made along with a group: what it is a copy of. An answer does not tell its id."""
    origin: History | None = None
    """For the same: what was written to the volume that it is a copy of; None if that was put back meanwhile."""
    changed: bool = False
    """Whether it has been written or put back since it was made."""
    apart: bool = False
    """It is attached over TCP, or was asked to be: it cannot be frozen together with others that are attached."""

    def begin(self, slot: int, number: int) -> None:
        """A write is sent."""
        self.changed = True
        for one in self.reached():
            one.slots[slot] = one.slots.get(slot, frozenset((0,))) | {number}

    def reached(self) -> "Iterator[Snap | Vol]":
        """Yield all in which a change of the volume may be seen: it, what is taken of it, what is taken of that."""
        yield self
        for one in self.taking:
            yield from one.reached() if isinstance(one, Vol) else (one,)

    def settled(self, slot: int, number: int, newest: int) -> None:
        """This record is what the slot holds, whatever happens; `newest` is the last number that was given out."""
        self.slots[slot] = frozenset((number,))
        self.history.setdefault(slot, []).append((number, newest))

    def overwritten(self) -> None:
        """What it holds may be put back: order among writes is known from here on only."""
        self.changed, self.history = True, {}
        for one in self.reached():
            if isinstance(one, Snap):
                one.history = None
            else:
                one.origin = None


@dataclass(eq=False)
class Stray:
    """Something that was asked to be let go, or a file: its bytes are on storage under this name, and nobody's."""

    name: str
    thing: "Vol | Snap | None"
    """What it was; None: a file that was put there."""
    slots: Slots
    size: int
    taker: "Vol | Snap | None" = None
    """As which it was asked to be managed."""

    def manageable(self) -> bool:
        """Whether it is known to be nobody's, and not asked for."""
        return self.taker is None and (self.thing is None or self.thing.deleted)


@contextmanager
def kept(*things: Vol | Grp) -> Iterator[None]:
    """Keep other workers from attaching, detaching or putting back a volume, and from asking for what depends on which
    volumes a group has, meanwhile: the answers would say nothing."""
    for one in things:
        one.busy = True
    try:
        yield
    finally:
        for one in things:
            one.busy = False


class Numbers:
    """Numbers of records: each is given out once in a run."""

    def __init__(self) -> None:
        self.newest = 0

    def take(self) -> int:
        """Return the next."""
        self.newest += 1
        return self.newest


@dataclass
class World:
    """Everything that was asked for."""

    volumes: list[Vol] = field(default_factory=list)
    snapshots: list[Snap] = field(default_factory=list)
    backups: list[Bak] = field(default_factory=list)
    groups: list[Grp] = field(default_factory=list)
    group_snapshots: list[GroupSnap] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    instants: int = 0
    """Group snapshots, and copies of groups, that were compared."""
    numbers: Numbers = field(default_factory=Numbers)
    _names: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def new_name(self, kind: str) -> str:
        """Return a name that nothing has had: by it a thing is found whose answer was lost."""
        return f"{kind}-{next(self._names)}"

    def live_volumes(self) -> list[Vol]:
        """Return the volumes that have been seen to be available, and not asked to go."""
        return [one for one in self.volumes if one.id and not one.open and not one.delete_sent]

    def usable_snapshots(self) -> list[Snap]:
        """Return the live snapshots that have been seen to be available."""
        return [one for one in self.live_snapshots() if not one.open]

    def keeps_strays(self, volume: Vol) -> bool:
        """Whether a snapshot of the volume is nobody's: then it cannot be deleted."""
        return any(isinstance(one.thing, Snap) and one.thing.volume is volume for one in self.strays)

    def members(self, group: Grp) -> list[Vol]:
        """Return the volumes of a group."""
        return [one for one in self.volumes if group in one.groups]

    def live_groups(self) -> list[Grp]:
        """Return the groups that are known to be there, and not asked to go, nor for anything else just now."""
        return [one for one in self.groups if one.known() and not one.delete_sent and not one.busy]

    def live_group_snapshots(self) -> list[GroupSnap]:
        """Return the group snapshots that are known to have been made, and not asked to go."""
        return [one for one in self.group_snapshots if one.id and not one.delete_sent]

    def live_backups(self) -> list[Bak]:
        """Return the backups that are known to have been made, and not asked to go."""
        return [one for one in self.backups if one.id and not one.delete_sent]

    def live_snapshots(self) -> list[Snap]:
        """Return the snapshots that are known to have been made, and not asked to go."""
        return [one for one in self.snapshots if one.id and not one.delete_sent and not one.volume.delete_sent]


def close(thing: Vol | Snap | Grp, world: World) -> None:
    """Note that something has been seen to be available."""
    thing.open = False
    for volume in world.volumes:
        if thing in volume.taking:
            volume.taking.remove(thing)


def widened(slots: Slots, more: Slots) -> Slots:
    """Return what may be there if either may be."""
    zero = frozenset((0,))
    return {slot: slots.get(slot, zero) | more.get(slot, zero) for slot in slots.keys() | more.keys()}


def check_slots(slots: Slots, found: dict[int, int], what: str) -> list[str]:
    """Return a sentence for each slot that holds what it must not hold."""
    wrong = []
    for slot, number in found.items():
        allowed = slots.get(slot, frozenset((0,)))
        if number not in allowed:
            wrong.append(f"{what}: slot {slot} holds record {number}, but must hold one of {sorted(allowed)}")
    return wrong
