"""The records of the domain: what is stored of a volume, a snapshot, an attachment, an operation.

They are named tuples: frozen, cheap to make by the thousand for a list, and in the order of the table's columns
(`store/tables.py`), which a test holds together. Times are aware UTC; sizes are GiB where the name says so.
"""

from datetime import datetime
from typing import Any, Literal, NamedTuple

from openevs.domain.ids import AttachmentId, OperationId, ProjectId, SnapshotId, UserId, VolumeId

SnapshotOwner = Literal["user", "backup"]


class Volume(NamedTuple):
    """A volume (EVS: disk)."""

    id: VolumeId
    project_id: ProjectId
    user_id: UserId
    name: str | None
    description: str | None
    size_gib: int
    status: str
    previous_status: str | None
    """Status to return to when an interruption such as `extending` ends."""
    volume_type: str
    availability_zone: str
    bootable: bool
    readonly: bool
    multiattach: bool
    metadata: dict[str, str]
    snapshot_id: SnapshotId | None
    source_volid: VolumeId | None
    created_at: datetime
    updated_at: datetime | None
    reason: str | None
    """Why the status is an error, as a sentence for a person."""
    group_id: str | None
    image_metadata: dict[str, str]
    """What is known of the image that the volume holds (`os-set_image_metadata`)."""
    type_id: str | None
    """Id of the volume type, whose name is `volume_type`; None for a type that is no more."""
    backend: str | None = None
    """Name of the backend it was put on; None: the first one."""
    migration_status: str | None = None
    """`success` once it has changed its backend."""


class Snapshot(NamedTuple):
    """A snapshot: the bytes of a volume at one instant."""

    id: SnapshotId
    project_id: ProjectId
    user_id: UserId
    volume_id: VolumeId
    name: str | None
    description: str | None
    size_gib: int
    status: str
    progress: str
    metadata: dict[str, str]
    owner: SnapshotOwner
    volume_type: str
    created_at: datetime
    updated_at: datetime | None
    taken_at: datetime | None
    """The instant whose bytes it holds."""
    cut_ms: float | None
    stall_ms: float | None
    reason: str | None
    group_snapshot_id: str | None


class Attachment(NamedTuple):
    """A volume's tie to one consumer."""

    id: AttachmentId
    volume_id: VolumeId
    project_id: ProjectId
    status: str
    """`reserved`, `attaching`, `attached`, `detaching`."""
    instance_uuid: str | None
    host_name: str | None
    mountpoint: str | None
    mode: str
    """`rw` or `ro`."""
    connector: dict[str, Any] | None
    connection_info: dict[str, Any] | None
    created_at: datetime
    attached_at: datetime | None
    detached_at: datetime | None


class Operation(NamedTuple):
    """Durable work on one resource (`operations/`)."""

    seq: int
    """Grows with every operation; also the token of destructive engine calls."""
    id: OperationId
    kind: str
    project_id: ProjectId
    resource_kind: str
    resource_id: str
    state: str
    """`queued`, `running`, `succeeded`, `failed`."""
    step: int
    attempts: int
    run_after: datetime
    lease_owner: str | None
    lease_until: datetime | None
    fence: int
    input: dict[str, Any]
    facts: dict[str, Any]
    error: str | None
    request_id: str | None
    created_at: datetime
    finished_at: datetime | None


class VolumeType(NamedTuple):
    """What an administrator calls one kind of volume; the engine is one for all."""

    id: str
    name: str
    description: str | None
    is_public: bool
    extra_specs: dict[str, str]
    qos_specs_id: str | None
    encryption: dict[str, Any] | None
    """How volumes of this type are to be encrypted, as an administrator wrote it; None: not at all."""
    created_at: datetime


class ClientToken(NamedTuple):
    """A client's name for one creating request (`X-Client-Token`): repeated, it has its effect once."""

    token: str
    digest: str
    """SHA-256 of method, path and body: another request under the same token is a conflict."""


class Caller(NamedTuple):
    """Who asks, and on behalf of which project."""

    user_id: UserId
    project_id: ProjectId
    roles: frozenset[str]
    request_id: str
    once: ClientToken | None = None

    @property
    def is_admin(self) -> bool:
        """Say whether the caller may act as an operator."""
        return "admin" in self.roles

    @property
    def scope(self) -> ProjectId | None:
        """The project outside of which nothing exists for this caller; None for an administrator."""
        return None if self.is_admin else self.project_id

    @property
    def can_write(self) -> bool:
        """Say whether the caller may change things: `reader` alone may not."""
        return bool(self.roles & {"admin", "member"})
