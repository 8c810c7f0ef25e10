"""Settings of how much a project may have."""

from typing import Annotated

import msgspec
from msgspec import Meta


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Default quotas of a project; -1 is no limit. In profile `cloud` the documented defaults apply to those left out."""

    volumes: Annotated[
        int, Meta(ge=-1, description="Volumes. Generous: a quota should stop a runaway loop, not a test suite.")
    ] = 10_000
    snapshots: Annotated[int, Meta(ge=-1, description="Snapshots. As above.")] = 200_000
    gigabytes: Annotated[
        int, Meta(ge=-1, description="GiB of volumes and snapshots, by their full size. As above.")
    ] = 100_000_000
    per_volume_gigabytes: Annotated[
        int, Meta(ge=-1, description="GiB of one volume; -1 leaves it to `api.max_volume_gib`.")
    ] = -1
    backups: Annotated[int, Meta(ge=-1, description="Backups.")] = 10_000
    backup_gigabytes: Annotated[int, Meta(ge=-1, description="GiB of backups.")] = 10_000_000
    groups: Annotated[int, Meta(ge=-1, description="Groups.")] = 1_000


CLOUD_QUOTAS = Quotas(
    volumes=10, snapshots=10, gigabytes=1000, per_volume_gigabytes=-1, backups=10, backup_gigabytes=1000, groups=10
)
"""Cinder's and the cloud's documented defaults (spec 3.5: the example limit is 10)."""
CLOUD_SNAPSHOTS_PER_VOLUME = 7
