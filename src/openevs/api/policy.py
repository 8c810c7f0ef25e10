"""Who may do what: one table. A route (or an action, or a field of an answer) names a rule, and the rule has a level.

Names and levels are those of Cinder's secure RBAC, so that an operator who knows them knows these; docs/policy.md is
made from this table and the routes. What is Huawei's own, and identity, have no rules of Cinder's: their routes name a
level. On top of all of it, what belongs to another project does not exist for anybody but an administrator.
"""

from collections.abc import Callable, Mapping
from typing import Final

from openevs.api.call import Level, Route
from openevs.api.faults import HttpRefusal
from openevs.domain.errors import Forbidden
from openevs.domain.model import Caller
from openevs.identity.port import Grant

_READERS: Final = frozenset({"reader", "member", "admin", "service"})
LEVELS: Final[Mapping[Level, Callable[[Caller], bool]]] = {
    "none": lambda caller: True,
    "token": lambda caller: True,
    "reader": lambda caller: not caller.roles.isdisjoint(_READERS),
    "member": lambda caller: caller.can_write,
    "service": lambda caller: bool(caller.roles & {"service", "admin"}),
    "admin": lambda caller: caller.is_admin,
}

RULES: Final[Mapping[str, Level]] = {
    # Volumes
    "volume:create": "member",
    "volume:get": "reader",
    "volume:get_all": "reader",
    "volume:update": "member",
    "volume:delete": "member",
    "volume:force_delete": "admin",
    "volume:extend": "member",
    "volume:extend_attached_volume": "member",
    "volume:extend_volume_completion": "admin",
    "volume:revert_to_snapshot": "member",
    "volume:retype": "member",
    "volume:update_readonly_flag": "member",
    "volume:reimage": "member",
    "volume:get_volume_metadata": "reader",
    "volume:create_volume_metadata": "member",
    "volume:update_volume_metadata": "member",
    "volume:delete_volume_metadata": "member",
    "volume_extension:volume_image_metadata:show": "reader",
    "volume_extension:volume_image_metadata:set": "member",
    "volume_extension:volume_image_metadata:remove": "member",
    "volume_extension:volume_actions:attach": "member",
    "volume_extension:volume_actions:detach": "member",
    "volume_extension:volume_actions:reserve": "member",
    "volume_extension:volume_actions:unreserve": "member",
    "volume_extension:volume_actions:begin_detaching": "member",
    "volume_extension:volume_actions:roll_detaching": "member",
    "volume_extension:volume_actions:initialize_connection": "member",
    "volume_extension:volume_actions:terminate_connection": "member",
    "volume_extension:volume_actions:upload_image": "member",
    "volume_extension:volume_admin_actions:reset_status": "admin",
    "volume_extension:volume_admin_actions:force_delete": "admin",
    "volume_extension:volume_admin_actions:force_detach": "admin",
    "volume_extension:volume_admin_actions:migrate_volume": "admin",
    "volume_extension:volume_admin_actions:migrate_volume_completion": "admin",
    "volume_extension:volume_encryption_metadata": "reader",
    "volume_extension:volume_tenant_attribute": "reader",
    "volume_extension:volume_host_attribute": "admin",
    "volume_extension:volume_mig_status_attribute": "admin",
    "volume_extension:list_manageable": "admin",
    "volume_extension:volume_manage": "admin",
    "volume_extension:volume_unmanage": "admin",
    # Attachments
    "volume:attachment_get": "reader",
    "volume:attachment_create": "member",
    "volume:attachment_update": "member",
    "volume:attachment_delete": "member",
    "volume:attachment_complete": "member",
    # Snapshots
    "volume:create_snapshot": "member",
    "volume:get_snapshot": "reader",
    "volume:get_all_snapshots": "reader",
    "volume:update_snapshot": "member",
    "volume:delete_snapshot": "member",
    "volume:get_snapshot_metadata": "reader",
    "volume:update_snapshot_metadata": "member",
    "volume:delete_snapshot_metadata": "member",
    "volume_extension:snapshot_admin_actions:reset_status": "admin",
    "volume_extension:snapshot_admin_actions:force_delete": "admin",
    "snapshot_extension:snapshot_actions:update_snapshot_status": "member",
    "snapshot_extension:list_manageable": "admin",
    "snapshot_extension:snapshot_manage": "admin",
    "snapshot_extension:snapshot_unmanage": "admin",
    # Transfers
    "volume:get_all_transfers": "reader",
    "volume:get_transfer": "reader",
    "volume:create_transfer": "member",
    "volume:accept_transfer": "member",
    "volume:delete_transfer": "member",
    # Backups
    "backup:backup_project_attribute": "admin",
    "backup:create": "member",
    "backup:get": "reader",
    "backup:get_all": "reader",
    "backup:update": "member",
    "backup:delete": "member",
    "backup:restore": "member",
    "backup:backup-import": "admin",
    "backup:export-import": "admin",
    "volume_extension:backup_admin_actions:reset_status": "admin",
    "volume_extension:backup_admin_actions:force_delete": "admin",
    # Groups and group snapshots
    "group:create": "member",
    "group:get": "reader",
    "group:get_all": "reader",
    "group:update": "member",
    "group:delete": "member",
    "group:reset_status": "admin",
    "group:enable_replication": "member",
    "group:disable_replication": "member",
    "group:failover_replication": "member",
    "group:list_replication_targets": "member",
    "group:create_group_snapshot": "member",
    "group:get_group_snapshot": "reader",
    "group:get_all_group_snapshots": "reader",
    "group:update_group_snapshot": "member",
    "group:delete_group_snapshot": "member",
    "group:reset_group_snapshot_status": "admin",
    "group:group_types:get": "reader",
    "group:group_types:create": "admin",
    "group:group_types:update": "admin",
    "group:group_types:delete": "admin",
    "group:access_group_types_specs": "admin",
    "group:group_project_attribute": "admin",
    "group:group_snapshot_project_attribute": "admin",
    "group:group_types_specs:get": "admin",
    "group:group_types_specs:get_all": "admin",
    "group:group_types_specs:create": "admin",
    "group:group_types_specs:update": "admin",
    "group:group_types_specs:delete": "admin",
    # Types and QoS
    "volume_extension:type_get": "reader",
    "volume_extension:type_get_all": "reader",
    "volume_extension:type_create": "admin",
    "volume_extension:type_update": "admin",
    "volume_extension:type_delete": "admin",
    "volume_extension:types_extra_specs:index": "reader",
    "volume_extension:types_extra_specs:show": "reader",
    "volume_extension:types_extra_specs:create": "admin",
    "volume_extension:types_extra_specs:update": "admin",
    "volume_extension:types_extra_specs:delete": "admin",
    "volume_extension:volume_type_access:get_all_for_type": "admin",
    "volume_extension:volume_type_access:addProjectAccess": "admin",
    "volume_extension:volume_type_access:removeProjectAccess": "admin",
    "volume_extension:volume_type_encryption:get": "admin",
    "volume_extension:volume_type_encryption:create": "admin",
    "volume_extension:volume_type_encryption:update": "admin",
    "volume_extension:volume_type_encryption:delete": "admin",
    "volume_extension:qos_specs_manage:get": "admin",
    "volume_extension:qos_specs_manage:get_all": "admin",
    "volume_extension:qos_specs_manage:create": "admin",
    "volume_extension:qos_specs_manage:update": "admin",
    "volume_extension:qos_specs_manage:delete": "admin",
    "volume_extension:default_get": "admin",
    "volume_extension:default_get_all": "admin",
    "volume_extension:default_set_or_update": "admin",
    "volume_extension:default_unset": "admin",
    # Messages
    "message:get": "reader",
    "message:get_all": "reader",
    "message:delete": "member",
    # Quotas
    "volume_extension:quotas:show": "reader",
    "volume_extension:quotas:update": "admin",
    "volume_extension:quotas:delete": "admin",
    "volume_extension:quota_classes:get": "admin",
    "volume_extension:quota_classes:update": "admin",
    "limits_extension:used_limits": "reader",
    # The service itself
    "volume_extension:services:index": "admin",
    "volume_extension:services:update": "admin",
    "volume:freeze_host": "admin",
    "volume:thaw_host": "admin",
    "volume:failover_host": "admin",
    "volume_extension:hosts": "admin",
    "volume_extension:capabilities": "admin",
    "scheduler_extension:scheduler_stats:get_pools": "admin",
    "clusters:get": "admin",
    "clusters:get_all": "admin",
    "clusters:update": "admin",
    "workers:cleanup": "admin",
}

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "volume_extension:volume_tenant_attribute": ("os-vol-tenant-attr:tenant_id",),
    "volume_extension:volume_host_attribute": ("os-vol-host-attr:host", "provider_id", "cluster_name"),
    "volume_extension:volume_mig_status_attribute": (
        "os-vol-mig-status-attr:migstat",
        "os-vol-mig-status-attr:name_id",
        "migration_status",
    ),
}
"""Fields of a volume that a rule shows or hides."""


def level_of(policy: str) -> Level:
    """Return the level of a rule, or of a level itself."""
    return RULES[policy] if policy in RULES else _LEVEL[policy]


_LEVEL: Final[Mapping[str, Level]] = {level: level for level in LEVELS}
_MAY: Final = {policy: LEVELS[level_of(policy)] for policy in (*LEVELS, *RULES)}


def allowed(caller: Caller, policy: str) -> bool:
    """Say whether a caller may do what the rule is for."""
    return _MAY[policy](caller)


def check_policy(route: Route, caller: Caller, grant: Grant, project_id: str | None) -> None:
    """Refuse a caller who may not do this. Raises Forbidden; HttpRefusal for a project that is not the token's."""
    if route.policy == "token":
        return
    if project_id is not None and project_id != grant.project_id:
        # Cinder calls this a malformed URL (spec 5.4); Huawei has a code of its own for it.
        refused = HttpRefusal(400, f"Malformed request url: project {project_id} is not the project of the token.")
        raise refused.with_code("EVS.0001")
    if grant.project_id is None:
        raise Forbidden(f"{route.method} {route.path} without a project in the token's scope")
    if not allowed(caller, route.policy):
        raise Forbidden(route.policy if route.policy in RULES else f"{route.method} {route.path}")
