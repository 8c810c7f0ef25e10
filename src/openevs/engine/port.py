"""The contract between OpenEVS and whatever holds the bytes.

An engine is small and asynchronous; it takes frozen values and returns frozen facts. It never sees a database row, a
project, a status or a request. Names on storage are made from the ids it is given, which are never reused.

Rules that hold for every method:

* **May be called again**, with the same result, whether the first call finished, died half-way or is still running.
* **All or nothing** to an observer: after an error the object is as before, or as asked for.
* Survives SIGKILL of this process, and of any helper process, between any two instructions: what a call returned is
  still so after a restart; what did not return may be finished by calling again.
* Raises only `openevs.engine.errors.EngineError`s. A cancelled call may be treated as one with an unknown outcome.
* Sizes are bytes, a multiple of 512.

Optional powers (`Exports`, `Reads`, …) are separate protocols: an engine has a power if `isinstance(engine, Exports)`
says so and `describe().powers` names it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol, runtime_checkable

from openevs.domain.ids import SnapshotId, VolumeId

Power = Literal["exports", "reads", "writes", "changed_blocks", "group_snapshots", "throttles", "adopts"]
Transport = Literal["unix", "tcp"]


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What kind of engine this is; constant while it is open."""

    kind: str
    """Short name, also the `volume_backend_name` that the API shows: `layers`, `memory`, `rbd`."""
    version: str
    """Version of what does the work (for layers: of QEMU), for people."""
    location: str
    """Where the bytes are: a folder, a pool name."""
    powers: frozenset[Power]
    max_volume_bytes: int
    pool_id: str = ""
    """Name that the pool has given itself, for ever; known while it is open. Empty for an engine whose storage does not
    outlive it."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Room in the pool, in bytes."""

    total_bytes: int
    free_bytes: int
    provisioned_bytes: int
    """Sum of the sizes of all volumes; may exceed `total_bytes`, since volumes are thin."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume as it is wanted."""

    volume_id: VolumeId
    size_bytes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    """Kept beside the volume for whoever reads the pool without a database (`openevs doctor`): project, name.
    Not part of the identity: a repeat with other labels is no mismatch."""


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """A volume as it is."""

    volume_id: VolumeId
    size_bytes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    applied_token: int = 0
    """Token of the last `ensure_reverted` that took effect; 0 if there was none."""


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    """A snapshot as it is wanted: of this volume, now."""

    snapshot_id: SnapshotId
    volume_id: VolumeId
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """A snapshot as it is."""

    snapshot_id: SnapshotId
    volume_id: VolumeId
    size_bytes: int
    taken_at: datetime
    """The one instant (aware, UTC) whose bytes it holds; fixed by the first success, for ever."""
    labels: Mapping[str, str] = field(default_factory=dict)
    cut_ms: float | None = None
    """How long the cut itself took, if the volume was being served and the time was measured."""
    stall_ms: float | None = None
    """The longest that a client's request was held up by the cut, as measured by a request made for the purpose."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a volume's clients may do in a second, all together. None: as much as they can.

    A limit of all cannot be combined with one of reads or of writes (`limits.check_limits` says so)."""

    total_bytes: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None
    total_requests: int | None = None
    read_requests: int | None = None
    write_requests: int | None = None


UNTHROTTLED = Limits()


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """How a volume is to be served to its clients."""

    volume_id: VolumeId
    transport: Transport = "unix"
    read_only: bool = False
    limits: Limits = UNTHROTTLED
    """Kept to only by an engine with the power `Throttles`. No part of the identity: a repeat with others is no
    mismatch, and changes nothing; `Throttles.ensure_limits` does."""
    together: str | None = None
    """Volumes that are served with the same word here can be frozen at one instant while they are in use
    (`GroupSnapshots`). No part of the identity: a repeat with another word is no mismatch, and changes nothing.
    Over TCP a volume is always served apart: whoever has the key to one server can see all that it serves."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes of a volume."""

    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """How a volume is being served."""

    volume_id: VolumeId
    uri: str
    """NBD URI as nbdinfo, qemu-img and libnbd take it (NBD URI specification):
    `nbd+unix:///NAME?socket=PATH` or `nbds://USER@HOST:PORT/NAME`."""
    transport: Transport
    read_only: bool
    host: str | None = None
    port: int | None = None
    socket_path: str | None = None
    export_name: str = ""
    tls_username: str | None = None
    tls_psk_hex: str | None = None
    """The pre-shared key (TLS-PSK), hexadecimal. A secret: never in a log, never in another project's answer."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes on storage that are nobody's, and can be adopted."""

    name: str
    kind: Literal["volume", "snapshot"]
    size_bytes: int
    volume_id: VolumeId | None = None
    """Of a snapshot: its volume."""
    unsafe: str | None = None
    """Why it cannot be adopted, as a sentence; None: it can."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Everything on storage that carries an id."""

    volumes: Mapping[VolumeId, VolumeFacts]
    snapshots: Mapping[SnapshotId, SnapshotFacts]
    reached: int = 0
    """The highest number that `ensure_reached` was given."""


class Engine(Protocol):
    """What every engine can do."""

    async def open(self) -> None:
        """Make ready: check the pool, find what an earlier process left, finish or forget what it had begun.
        Raises Broken (with what to do) if the pool is missing or unusable."""

    async def close(self) -> None:
        """Let go of everything this process holds. Exported volumes go on being served."""

    def describe(self) -> EngineFacts:
        """Return the engine's constant facts."""

    async def capacity(self) -> Capacity:
        """Return the room in the pool now."""

    async def ensure_volume(self, spec: VolumeSpec) -> VolumeFacts:
        """Make the volume exist with exactly this size. New space reads as zeros; bytes of a deleted volume never
        reappear. Raises Mismatch if it exists with another size, NoSpace."""

    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        """Make the volume exist with the snapshot's bytes; it may be larger than the snapshot (zeros follow).
        A repeat never resets a volume that has been written since. Raises Mismatch (unknown snapshot, smaller size)."""

    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        """Grow the volume to `size_bytes`, exported or not; never shrinks.
        Already that size is success; larger than asked is Mismatch."""

    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        """Make the volume not exist. Unknown is success. Volumes made from its snapshots keep their bytes.
        Raises Busy(by) while it has snapshots or is exported."""

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        """Freeze the volume at one instant: every write acknowledged before the call is in, no write begun after its
        return is. All or nothing. A repeat returns the same moment and bytes. Constant time in the volume's size.
        Raises Mismatch (unknown volume, or the id belongs to another volume)."""

    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        """Make the snapshot not exist. Unknown is success. Other snapshots, the volume and volumes made from this
        one keep their bytes. Space is given back in the background; see `settle`."""

    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        """Make the volume's bytes those of one of its snapshots. The last token that was applied is stored with the
        volume, in the same atomic write: the same token again changes nothing, whatever was written since; an older
        one raises Stale. All snapshots stay, newer ones too. If the volume has grown since, its size stays and what
        lies beyond the snapshot's end reads as zeros.
        Raises Busy while the volume is exported, Mismatch (unknown ids, snapshot of another volume)."""

    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        """Let the volume or snapshot have these labels; others that it has stay. Exported or not. Unknown is success:
        what is gone needs none."""

    async def ensure_reached(self, number: int) -> None:
        """Keep with the bytes how far the work on them has come (`Objects.reached`), so that it can be seen when either
        the database or the storage was put back from an old copy. Lower than what is kept is success."""

    async def inspect_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        """Return what is really there, or None."""

    async def inspect_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        """Return what is really there, or None."""

    async def list_objects(self) -> Objects:
        """Return everything that is there, for the orphan sweep and the doctor."""

    async def settle(self) -> None:
        """Wait until no background work (merging layers, freeing space) is left that can be done now."""


@runtime_checkable
class Exports(Protocol):
    """The power to serve a volume's bytes to a client."""

    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        """Make the volume served as asked, and keep it served: through a death of the serving process (it is started
        again, clients reconnect to the same URI) and of ours. A repeat returns the same facts.
        Raises Mismatch if it is already served in another way."""

    async def ensure_no_export(self, volume_id: VolumeId) -> None:
        """Make the volume not served; connected clients are cut off after what they had flushed is safe.
        Not served (or unknown) is success."""

    async def list_exports(self) -> Mapping[VolumeId, ExportFacts]:
        """Return what is being served."""


@runtime_checkable
class Checks(Protocol):
    """The power to look for damage on storage; for the doctor, so it may take long."""

    async def check(self) -> list[str]:
        """Return a sentence for each thing that is damaged or missing; none if all is well."""


@runtime_checkable
class Reads(Protocol):
    """The power to read the bytes of a volume that is not exported, or of a snapshot, without a client."""

    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes | bytearray:
        """Return exactly `length_bytes` bytes. Raises Mismatch for an unknown id or a range beyond the end."""


@runtime_checkable
class Writes(Protocol):
    """The power to write the bytes of a volume that is not exported, without a client."""

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        """Write `data`; it is durable after `flush`, and seen by `read` at once. Raises Busy while the volume is
        exported, Mismatch for an unknown volume or a range beyond the end."""

    async def write_zeros(self, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
        """Make the range read as zeros, and take no more room than before. As `write`, durable after `flush`."""

    async def flush(self, volume_id: VolumeId) -> None:
        """Make durable what was written, and let go of what `write` has opened. Nothing written is success.
        If it raises, what was written since it last returned may be lost: write it again."""


@runtime_checkable
class ChangedBlocks(Protocol):
    """The power to tell what a snapshot holds that an earlier one does not, without reading either."""

    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        """Return extents, in order and not overlapping, outside of which the snapshot has the same bytes as `since`
        (another snapshot of the same volume; beyond its end: zeros) or, with None, reads as zeros. What is inside may
        be equal too. None reaches beyond the snapshot's end. Right after roll-backs and growth, and when snapshots
        between the two are gone. Raises Mismatch for unknown ids, and if `since` is of another volume."""


@runtime_checkable
class GroupSnapshots(Protocol):
    """The power to freeze several volumes at one instant."""

    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        """Freeze all the volumes at one instant, all or nothing, as `ensure_snapshot` does one: there is a moment such
        that each snapshot holds every write to its volume that was acknowledged before it, and none that was begun
        after it. A repeat returns the same moment and bytes, in the order asked for. Raises what `ensure_snapshot`
        does, and Mismatch if some of the snapshots are there already and others not, or not of one moment, or if
        volumes are in use that are not served together (`ExportSpec.together`), naming them."""


@runtime_checkable
class Throttles(Protocol):
    """The power to limit what the clients of a served volume may do."""

    async def ensure_limits(self, volume_id: VolumeId, limits: Limits) -> None:
        """Make these the limits of a volume that is served, at once and without cutting anybody off. Not served (or
        unknown) is success: whoever serves it next says how. Raises Mismatch for limits that cannot be kept to."""


@runtime_checkable
class Adopts(Protocol):
    """The power to let go of a volume or a snapshot without losing its bytes, and to take over what is nobody's.

    What was released is in no list but that of strays, and unknown to every method but those here. Its bytes, and those
    of what was made from it, stay."""

    async def list_strays(self) -> Sequence[Stray]:
        """Return everything that can be adopted: what was released, and what an administrator has put there."""

    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        """Let the volume be nobody's, under this name. Unknown, or released already, is success. Raises Busy(by) while
        it has snapshots or is exported, Mismatch if the name is another stray's."""

    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        """Make the volume exist with the bytes of this stray, which then is none any more. A repeat returns the same
        volume. No token was applied to it, whatever was to the stray. It may be larger than the stray was, if that was
        put there. Raises Mismatch (no such stray, another size, one that is unsafe), after which the stray is as
        before."""

    async def ensure_snapshot_released(self, snapshot_id: SnapshotId, name: str) -> None:
        """Let the snapshot be nobody's, under this name. Unknown, or released already, is success. Raises Mismatch if
        the name is another stray's."""

    async def ensure_snapshot_adopted(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        """Make the snapshot exist with the bytes and the moment of this stray, which must be one of the volume's. A
        repeat returns the same. Raises Mismatch (no such stray, another volume's)."""


POWERS: Final[Mapping[Power, Any]] = {
    "exports": Exports,
    "reads": Reads,
    "writes": Writes,
    "changed_blocks": ChangedBlocks,
    "group_snapshots": GroupSnapshots,
    "throttles": Throttles,
    "adopts": Adopts,
}
"""The protocol of each power that `describe` names."""
