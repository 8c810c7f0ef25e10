"""Every table. Columns of a record's table stand in the order of its named tuple in `domain/`; a column that a later
migration adds stands at the end of both.
"""

from openevs.store.tables.backups import backup
from openevs.store.tables.base import EPOCH, Instant, metadata
from openevs.store.tables.groups import group, group_snapshot, group_type
from openevs.store.tables.identity import access_key, project, role, role_assignment, token, user
from openevs.store.tables.messages import message
from openevs.store.tables.parts import part
from openevs.store.tables.quotas import quota_limit, quota_usage
from openevs.store.tables.transfers import transfer
from openevs.store.tables.types import default_type, qos_specs, type_access, volume_type
from openevs.store.tables.volumes import attachment, snapshot, volume
from openevs.store.tables.work import event, idempotency, operation, operation_claim, setting

__all__ = [
    "EPOCH",
    "Instant",
    "access_key",
    "attachment",
    "backup",
    "default_type",
    "event",
    "group",
    "group_snapshot",
    "group_type",
    "idempotency",
    "message",
    "metadata",
    "operation",
    "operation_claim",
    "part",
    "project",
    "qos_specs",
    "quota_limit",
    "quota_usage",
    "role",
    "role_assignment",
    "setting",
    "snapshot",
    "token",
    "transfer",
    "type_access",
    "user",
    "volume",
    "volume_type",
]
