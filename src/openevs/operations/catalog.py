"""Every kind of operation, by name."""

from collections.abc import Mapping

from openevs.operations.connect_volume import CONNECT_VOLUME
from openevs.operations.create_backup import CREATE_BACKUP
from openevs.operations.create_group import CREATE_GROUP
from openevs.operations.create_group_snapshot import CREATE_GROUP_SNAPSHOT
from openevs.operations.create_snapshot import CREATE_SNAPSHOT
from openevs.operations.create_volume import CREATE_VOLUME
from openevs.operations.delete_backup import DELETE_BACKUP
from openevs.operations.delete_group import DELETE_GROUP
from openevs.operations.delete_group_snapshot import DELETE_GROUP_SNAPSHOT
from openevs.operations.delete_snapshot import DELETE_SNAPSHOT
from openevs.operations.delete_volume import DELETE_VOLUME
from openevs.operations.disconnect_volume import DISCONNECT_VOLUME
from openevs.operations.extend_volume import EXTEND_VOLUME
from openevs.operations.import_backup import IMPORT_BACKUP
from openevs.operations.kind import Kind
from openevs.operations.label_volume import LABEL_VOLUME
from openevs.operations.limit_volumes import LIMIT_VOLUMES
from openevs.operations.look_for_strays import LOOK_FOR_STRAYS
from openevs.operations.manage_snapshot import MANAGE_SNAPSHOT
from openevs.operations.manage_volume import MANAGE_VOLUME
from openevs.operations.restore_backup import RESTORE_BACKUP
from openevs.operations.retype_volume import RETYPE_VOLUME
from openevs.operations.revert_volume import REVERT_VOLUME, ROLLBACK_VOLUME
from openevs.operations.unmanage_snapshot import UNMANAGE_SNAPSHOT
from openevs.operations.unmanage_volume import UNMANAGE_VOLUME

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        CONNECT_VOLUME,
        CREATE_BACKUP,
        CREATE_GROUP,
        CREATE_GROUP_SNAPSHOT,
        CREATE_SNAPSHOT,
        CREATE_VOLUME,
        DELETE_BACKUP,
        DELETE_GROUP,
        DELETE_GROUP_SNAPSHOT,
        DELETE_SNAPSHOT,
        DELETE_VOLUME,
        DISCONNECT_VOLUME,
        EXTEND_VOLUME,
        IMPORT_BACKUP,
        LABEL_VOLUME,
        LIMIT_VOLUMES,
        RESTORE_BACKUP,
        RETYPE_VOLUME,
        REVERT_VOLUME,
        ROLLBACK_VOLUME,
        LOOK_FOR_STRAYS,
        MANAGE_SNAPSHOT,
        MANAGE_VOLUME,
        UNMANAGE_SNAPSHOT,
        UNMANAGE_VOLUME,
    )
}
