"""Rows for what is in the pool, or in the vault, and in no row: what is left to do when the database is lost; and what
was made since, when it was put back from an old copy, or the pool was (`reconciling.py`).

The engine keeps project and name beside each volume and snapshot, with sizes and the moment of each snapshot. What only
the database knew (descriptions, metadata, who made it, quotas' limits) is gone. Doing it again changes nothing.

What is nobody's (was unmanaged) has no row, and so needs none: it is as it was, and can be managed as before.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from openevs.domain.ids import GIB, AttachmentId, ProjectId, UserId, VolumeId, new_hex, new_uuid, volume_type_id
from openevs.domain.model import Attachment, Snapshot, Volume
from openevs.engine.port import EngineFacts, ExportFacts, Objects, SnapshotFacts, VolumeFacts
from openevs.operations.admission import older_copy, reached
from openevs.operations.connect_volume import connection_info
from openevs.operations.reconciling import believe_exports, believe_sizes, end_open_work
from openevs.operations.recovered_backups import FoundBackup, bases_of, insert_found, without_row
from openevs.store.attachments import insert_attachment
from openevs.store.database import Tx
from openevs.store.identity.projects import Project, find_project, get_project, insert_project
from openevs.store.identity.roles import Assignment, insert_assignment, list_roles
from openevs.store.identity.users import find_user
from openevs.store.installation import keep_pool, keep_reached, skip_numbers
from openevs.store.quotas import recount
from openevs.store.snapshots import insert_snapshot
from openevs.store.sweeping import finished_about, stored_rows
from openevs.store.volumes import insert_volume
from openevs.vault.port import BackupFacts

Labelled = VolumeFacts | SnapshotFacts | BackupFacts
UNKNOWN_PROJECT = "unknown"
"""Id of the project of what carries no label."""


class Pool(NamedTuple):
    """What is in the pool."""

    facts: EngineFacts
    objects: Objects
    exports: Mapping[VolumeId, ExportFacts]
    backups: Sequence[FoundBackup] = ()
    """What is in the vault."""


class Into(NamedTuple):
    """Where recovered things go, and what the database's own facts about them will be."""

    project: str | None
    """Name of the one project that is to have everything; None: a project for each that the labels name."""
    member: str
    """Name of the user who becomes a member of new projects; `admin` becomes their administrator."""
    admin: str
    volume_type: str
    availability_zone: str
    now: datetime


class Recovered(NamedTuple):
    """What was made."""

    volumes: int
    snapshots: int
    backups: int
    ended: int
    """Operations that were open in, or about, an old copy."""
    projects: tuple[str, ...]
    """Names of the projects that have what was recovered."""


def recover(tx: Tx, pool: Pool, into: Into) -> Recovered:
    """Make a row for everything in the pool that has none, and is not left over from a deletion. What else an old copy
    has made untrue is put right before."""
    objects, ended = pool.objects, 0
    outdated = older_copy(tx, pool.facts, objects) is not None
    if outdated:
        ended = end_open_work(tx, into.now)
    rows = stored_rows(tx)
    # What an old pool has back was deleted by the work of the newer database; to be asked for again, if it is to go.
    left = set() if outdated else finished_about(tx, [*objects.volumes, *objects.snapshots])
    if outdated:
        believe_sizes(tx, rows, objects, into.now)
        believe_exports(tx, rows, pool.exports, _attachment, into.now)
    volumes = [facts for key, facts in objects.volumes.items() if key not in rows and key not in left]
    made = {facts.volume_id for facts in volumes} | rows.keys()
    backups = without_row(tx, pool.backups)
    bases = bases_of(objects, [each.facts.backup_id for each in backups])
    known = rows.keys() | left | set(bases.values())
    snapshots = [facts for key, facts in objects.snapshots.items() if key not in known and facts.volume_id in made]
    admin = find_user(tx, into.admin)
    owner = UserId(admin.id if admin else into.admin)
    projects = _projects(tx, [*volumes, *snapshots, *(each.facts for each in backups)], into)
    for volume in volumes:
        export = pool.exports.get(volume.volume_id)
        row = _volume(volume, projects[_label(volume)], owner, into, in_use=export is not None)
        insert_volume(tx, row)
        if export is not None:
            insert_attachment(tx, _attachment(row, export, into.now))
    for snapshot in snapshots:
        insert_snapshot(tx, _snapshot(snapshot, projects[_label(snapshot)], owner, into))
    for backup in backups:
        base = bases.get(backup.facts.backup_id)
        insert_found(tx, backup, projects[_label(backup.facts)].id, owner, base, into.availability_zone)
    recount(tx)
    if pool.facts.pool_id:
        keep_pool(tx, pool.facts.pool_id)
    skip_numbers(tx, reached(objects))
    keep_reached(tx, reached(objects))
    names = tuple(sorted({project.name for project in projects.values()}))
    return Recovered(len(volumes), len(snapshots), len(backups), ended, names)


def _label(facts: Labelled) -> str:
    return facts.labels.get("project_id") or UNKNOWN_PROJECT


def _projects(tx: Tx, found: Iterable[Labelled], into: Into) -> dict[str, Project]:
    """Return the project for each project id that the labels name, made if it is not there."""
    wanted = sorted({_label(facts) for facts in found})
    if into.project is not None:
        one = find_project(tx, into.project) or _new_project(tx, new_hex(), into.project, into)
        return dict.fromkeys(wanted, one)
    return {
        label: get_project(tx, label) or _new_project(tx, label, f"recovered-{label[:12]}", into) for label in wanted
    }


def _new_project(tx: Tx, project_id: str, name: str, into: Into) -> Project:
    text = "Made by openevs doctor --rebuild, for what was found in the pool or the vault."
    project = Project(project_id, name, text, enabled=True)
    if not insert_project(tx, project):
        project = project._replace(name=f"recovered-{project_id}")
        insert_project(tx, project)
    for user_name, role_name in ((into.admin, "admin"), (into.member, "member")):
        user, roles = find_user(tx, user_name), list_roles(tx, role_name)
        if user is not None and roles:
            insert_assignment(tx, Assignment(user.id, "project", project.id, roles[0].id))
    return project


def _volume(facts: VolumeFacts, project: Project, owner: UserId, into: Into, *, in_use: bool) -> Volume:
    return Volume(
        id=facts.volume_id,
        project_id=ProjectId(project.id),
        user_id=owner,
        name=facts.labels.get("name") or None,
        description="Recovered from the pool.",
        size_gib=-(-facts.size_bytes // GIB),
        status="in-use" if in_use else "available",
        previous_status=None,
        volume_type=into.volume_type,
        availability_zone=into.availability_zone,
        bootable=False,
        readonly=False,
        multiattach=False,
        metadata={},
        snapshot_id=None,
        source_volid=None,
        created_at=into.now,
        updated_at=None,
        reason=None,
        group_id=None,
        image_metadata={},
        type_id=volume_type_id(into.volume_type),
    )


def _attachment(volume: Volume, export: ExportFacts, now: datetime) -> Attachment:
    return Attachment(
        id=AttachmentId(new_uuid()),
        volume_id=volume.id,
        project_id=volume.project_id,
        status="attached",
        instance_uuid=None,
        host_name=None,
        mountpoint=None,
        mode="ro" if export.read_only else "rw",
        connector=None,
        connection_info=connection_info(export),
        created_at=now,
        attached_at=now,
        detached_at=None,
    )


def _snapshot(facts: SnapshotFacts, project: Project, owner: UserId, into: Into) -> Snapshot:
    purpose = facts.labels.get("purpose")
    return Snapshot(
        id=facts.snapshot_id,
        project_id=ProjectId(project.id),
        user_id=owner,
        volume_id=facts.volume_id,
        name=facts.labels.get("name") or None,
        description=f"Recovered from the pool ({purpose})." if purpose else "Recovered from the pool.",
        size_gib=-(-facts.size_bytes // GIB),
        status="available",
        progress="100%",
        metadata={},
        owner="user",
        volume_type=into.volume_type,
        created_at=facts.taken_at,
        updated_at=None,
        taken_at=facts.taken_at,
        cut_ms=facts.cut_ms,
        stall_ms=facts.stall_ms,
        reason=None,
        group_snapshot_id=None,
    )
