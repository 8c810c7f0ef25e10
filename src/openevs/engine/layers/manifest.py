"""The manifest: the one file that says what a volume is. Writing it is the one commit point of every method.

Manifests hold layer ids; which layer hangs on which is written in the layers themselves.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.layers.graph import LayerId
from openevs.engine.port import UNTHROTTLED, Limits


class ManifestError(ValueError):
    """The manifest cannot be read; the text names the file."""


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A snapshot: a frozen layer, and when it was frozen."""

    layer: LayerId
    size_bytes: int
    taken_at: datetime
    labels: dict[str, str] = {}
    cut_ms: float | None = None
    stall_ms: float | None = None
    cut_pending: bool = False
    """The intent is written, the daemon may not have cut yet. Cleared lazily: a daemon whose active layer is the
    manifest's head has cut."""
    group: str | None = None
    """The same for all snapshots of one instant: they are cut by one command."""


class Export(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the volume is served. Kept here, so that a daemon that died comes back at the same address."""

    transport: Literal["unix", "tcp"]
    read_only: bool = False
    host: str | None = None
    port: int | None = None
    psk_hex: str | None = None
    limits: Limits = UNTHROTTLED
    together: str | None = None
    """Volumes with the same word are served by one daemon."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A volume."""

    volume_id: VolumeId
    size_bytes: int
    head: LayerId
    labels: dict[str, str] = {}
    applied_token: int = 0
    snapshots: dict[SnapshotId, Snapshot] = {}
    export: Export | None = None
    generation: int = 0
    """Counts the writes of this file, for people who compare two copies."""
    format: int = 1
    released: str | None = None
    """The volume is nobody's, under this name: its manifest is in the folder of those."""
    adopted_from: str | None = None
    """What was taken over to make this volume: if that is still there, taking over was interrupted after its end."""
    released_snapshots: dict[str, Snapshot] = {}
    """Snapshots that are nobody's, by name. They keep their layers."""

    def layers(self) -> set[LayerId]:
        """Return the layers that this volume points at."""
        kept = (*self.snapshots.values(), *self.released_snapshots.values())
        return {self.head, *(snapshot.layer for snapshot in kept)}

    def layer_of(self, object_id: VolumeId | SnapshotId) -> LayerId:
        """Return the layer on top of which the bytes of the volume, or of this snapshot of it, are."""
        snapshot = self.snapshots.get(SnapshotId(object_id))
        return snapshot.layer if snapshot else self.head

    def pending(self) -> bool:
        """Say whether the cut of some snapshot is not known to have been made."""
        return any(snapshot.cut_pending for snapshot in self.snapshots.values())

    def pending_groups(self) -> set[str]:
        """Return the groups whose one cut is not known to have been made."""
        return {each.group for each in self.snapshots.values() if each.cut_pending and each.group}

    def moved(self, old: LayerId, new: LayerId) -> "Manifest":
        """Return the manifest with `new` in the place of `old`."""

        def with_new(value: Snapshot) -> Snapshot:
            return msgspec.structs.replace(value, layer=new) if value.layer == old else value

        return msgspec.structs.replace(
            self,
            head=new if self.head == old else self.head,
            snapshots={key: with_new(value) for key, value in self.snapshots.items()},
            released_snapshots={key: with_new(value) for key, value in self.released_snapshots.items()},
        )


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Manifests that took effect together, all by this one file; each is put in its place later."""

    group: str
    manifests: list[Manifest]
    format: int = 1


def encode(manifest: Manifest | Record) -> bytes:
    """Return it as the text of its file: readable, ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def read(path: Path) -> Manifest:
    """Read a manifest. Raises OSError, ManifestError."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise ManifestError(f"{path}: {error}") from None
    if manifest.format != 1:
        raise ManifestError(f"{path} has format {manifest.format}; this version knows format 1")
    if path.name != f"{manifest.volume_id}.json":
        raise ManifestError(f"{path} describes another volume: {manifest.volume_id}")
    return manifest


def read_record(path: Path) -> Record:
    """Read a record. Raises OSError, ManifestError."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError as error:
        raise ManifestError(f"{path}: {error}") from None
    if record.format != 1:
        raise ManifestError(f"{path} has format {record.format}; this version knows format 1")
    return record
