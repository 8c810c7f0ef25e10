"""The ideal: what volumes, snapshots, bytes, quota and answers are to be, as plainly as it can be said.

Each question `may_…` returns the HTTP status that the service must answer with; what then changes, the caller applies.
It knows nothing of operations, engines or time: it is what a client is to see when all is quiet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Outcome = Literal["done", "failed"]
ACCEPTED: Final = 202
REFUSED: Final = 400
CONFLICT: Final = 409
GONE: Final = 404
OVER_QUOTA: Final = 413
LARGEST_GIB: Final = 5
QUOTAS: Final = {"volumes": 5, "snapshots": 5, "gigabytes": 22}
SNAPSHOTTABLE: Final = {False: {"available"}, True: {"available", "in-use", "attaching"}}
DELETABLE: Final = {
    "available", "error", "error_restoring", "error_extending", "error_managing", "error_rollbacking",
}  # fmt: skip
DETACHED_TO_AVAILABLE: Final = {"in-use", "detaching", "error_detaching", "attaching", "reserved"}


@dataclass(eq=False)
class Thing:
    """What volumes and snapshots share."""

    id: str
    born: int
    size: int
    name: str
    status: str = "available"
    bytes: dict[int, int] = field(default_factory=dict)
    """Number of a block that was written → the byte that it is full of."""
    metadata: dict[str, str] = field(default_factory=dict)
    stored: bool = True
    """Whether it is on storage; what could not be made is not."""


@dataclass(eq=False)
class IdealVolume(Thing):
    """A volume."""

    attachment: str | None = None
    uri: str = ""


@dataclass(eq=False)
class IdealSnapshot(Thing):
    """A snapshot."""

    volume_id: str = ""


class Ideal:
    """One project."""

    def __init__(self) -> None:
        self.volumes: dict[str, IdealVolume] = {}
        self.snapshots: dict[str, IdealSnapshot] = {}
        self.gone_volumes: list[str] = []
        self.gone_snapshots: list[str] = []
        self._births = 0

    def birth(self) -> int:
        """Return the place of the next thing in the order of creation."""
        self._births += 1
        return self._births

    def usage(self) -> dict[str, int]:
        """Return what counts against the quotas."""
        things = [*self.volumes.values(), *self.snapshots.values()]
        return {
            "volumes": len(self.volumes),
            "snapshots": len(self.snapshots),
            "gigabytes": sum(thing.size for thing in things),
        }

    def fits(self, more: Mapping[str, int]) -> bool:
        """Say whether the quotas allow that much more."""
        usage = self.usage()
        return all(usage[name] + by <= QUOTAS[name] for name, by in more.items())

    def snapshots_of(self, volume_id: str) -> list[IdealSnapshot]:
        """Return a volume's snapshots, oldest first."""
        return sorted((one for one in self.snapshots.values() if one.volume_id == volume_id), key=lambda one: one.born)

    # Volumes ----------------------------------------------------------------------------------------------------

    def may_create(self, size: int | None, snapshot_id: str | None = None, source_id: str | None = None) -> int:
        """A new volume; without a size it takes its source's.

        A size that none may have is refused before a source is looked for.
        """
        if size is not None and not 1 <= size <= LARGEST_GIB:
            return REFUSED
        least = 0
        if snapshot_id is not None:
            if snapshot_id not in self.snapshots:
                return GONE
            if self.snapshots[snapshot_id].status not in ("available", "backing-up"):
                return REFUSED
            least = self.snapshots[snapshot_id].size
        if source_id is not None:
            if source_id not in self.volumes:
                return GONE
            if self.volumes[source_id].status not in ("available", "in-use"):
                return REFUSED
            least = self.volumes[source_id].size
        if size is None:
            size = least
        if size < max(1, least):
            return REFUSED
        return ACCEPTED if self.fits({"volumes": 1, "gigabytes": size}) else OVER_QUOTA

    def may_delete(self, volume_id: str, *, cascade: bool) -> int:
        """A volume's end."""
        if volume_id not in self.volumes:
            return GONE
        volume, own = self.volumes[volume_id], self.snapshots_of(volume_id)
        if volume.status not in DELETABLE or volume.attachment is not None or (own and not cascade):
            return REFUSED
        return ACCEPTED if all(one.status in ("available", "error") for one in own) else REFUSED

    def delete_volume(self, volume_id: str) -> None:
        """It is gone, and its snapshots with it."""
        for snapshot in self.snapshots_of(volume_id):
            self.delete_snapshot(snapshot.id)
        del self.volumes[volume_id]
        self.gone_volumes.append(volume_id)

    def may_extend(self, volume_id: str, size: int) -> int:
        """Growth, attached or not."""
        if volume_id not in self.volumes:
            return GONE
        volume = self.volumes[volume_id]
        if volume.status not in ("available", "in-use") or not volume.size < size <= LARGEST_GIB:
            return REFUSED
        return ACCEPTED if self.fits({"gigabytes": size - volume.size}) else OVER_QUOTA

    def may_attach(self, volume_id: str) -> int:
        """A connection for a client."""
        if volume_id not in self.volumes:
            return GONE
        volume = self.volumes[volume_id]
        return 200 if volume.status == "available" and volume.attachment is None else REFUSED

    def detach(self, volume: IdealVolume) -> None:
        """The attachment is gone; a status that an administrator has set stays."""
        volume.attachment = None
        if volume.status in DETACHED_TO_AVAILABLE:
            volume.status = "available"

    def may_reset_volume(self, volume_id: str, status: str) -> int:
        """An administrator sets a status."""
        if status in ("deleting", "unheard-of"):
            return REFUSED
        if volume_id not in self.volumes:
            return GONE
        attached = self.volumes[volume_id].attachment is not None
        return REFUSED if status == "in-use" and not attached else ACCEPTED

    # Snapshots --------------------------------------------------------------------------------------------------

    def may_snapshot(self, volume_id: str, *, force: bool) -> int:
        """A snapshot of a volume."""
        if volume_id not in self.volumes:
            return GONE
        volume = self.volumes[volume_id]
        if volume.status not in SNAPSHOTTABLE[force]:
            return REFUSED
        return ACCEPTED if self.fits({"snapshots": 1, "gigabytes": volume.size}) else OVER_QUOTA

    def may_delete_snapshot(self, snapshot_id: str) -> int:
        """A snapshot's end."""
        if snapshot_id not in self.snapshots:
            return GONE
        return ACCEPTED if self.snapshots[snapshot_id].status in ("available", "error") else REFUSED

    def delete_snapshot(self, snapshot_id: str) -> None:
        """It is gone."""
        del self.snapshots[snapshot_id]
        self.gone_snapshots.append(snapshot_id)

    def may_roll_back(self, volume_id: str, snapshot_id: str) -> int:
        """EVS's `rollback`: to any snapshot of the volume."""
        if snapshot_id not in self.snapshots:
            return GONE
        snapshot = self.snapshots[snapshot_id]
        if snapshot.volume_id != volume_id:
            return REFUSED
        volume = self.volumes[volume_id]
        ready = volume.status in ("available", "error_rollbacking") and volume.attachment is None
        return ACCEPTED if ready and snapshot.status == "available" else REFUSED

    def may_revert(self, volume_id: str, snapshot_id: str) -> int:
        """Cinder's `revert`: to the newest snapshot, of the same size."""
        if volume_id not in self.volumes or snapshot_id not in self.snapshots:
            return GONE
        volume, snapshot = self.volumes[volume_id], self.snapshots[snapshot_id]
        if snapshot.volume_id != volume_id or self.snapshots_of(volume_id)[-1] is not snapshot:
            return REFUSED
        if snapshot.size != volume.size:
            return REFUSED
        ready = volume.status == "available" and volume.attachment is None and snapshot.status == "available"
        return ACCEPTED if ready else CONFLICT

    def put_back(self, snapshot_id: str) -> None:
        """The volume has the snapshot's bytes."""
        snapshot = self.snapshots[snapshot_id]
        volume = self.volumes[snapshot.volume_id]
        volume.bytes = dict(snapshot.bytes)
        volume.status = "available"
