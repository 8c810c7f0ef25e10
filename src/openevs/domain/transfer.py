"""Transfers: a volume that its project offers to whoever has the key."""

from datetime import datetime
from typing import NamedTuple

from openevs.domain.ids import ProjectId, VolumeId


class Transfer(NamedTuple):
    """An offer. It is gone once it was accepted, or taken back."""

    id: str
    project_id: ProjectId
    """The project that offers the volume."""
    volume_id: VolumeId
    name: str | None
    key_digest: str
    """SHA-256 of the key, which is long and random: who reads the database cannot accept."""
    no_snapshots: bool
    """The volume goes without its snapshots, which stay with the project."""
    created_at: datetime
