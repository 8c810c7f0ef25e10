"""docs/api-compatibility.md: every call from the route table, and the choices where sources are silent or disagree."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from openevs.api.call import Route
from openevs.api.policy import level_of
from openevs.api.routes import ROUTES
from openevs.api.versions import HIGHEST, LOWEST, as_text

CHOICES: Final = (
    ("the seed page's exact URI", "v2 and v3 are served alike, with the same bodies"),
    (
        "how native failures look",
        "by fault name, with the HTTP status as an integer; Huawei's own resources answer `error` and an EVS code",
    ),
    (
        "a wrong volume status at cloudsnapshots create; rollback to another volume or in a wrong status",
        "400 EVS.5400, and the message names id, status and what is allowed",
    ),
    (
        "the most snapshots of one volume is reached",
        "400 (`badRequest`, EVS.5400) with the number; profile `cloud`: 7, profile `service`: a setting",
    ),
    ("the status of EVS.2409", "409 for a single snapshot; it belongs to v5, whose status is in the table of calls"),
    (
        "a look at what was just asked for",
        (
            "waits for the work to end, a quarter of a second at most (`server.settle_seconds`); the answer to the "
            "request itself always says `creating`, `deleting`, …"
        ),
    ),
    (
        "names that begin with `autobk_snapshot_`",
        (
            "accepted at create and rename with a `Warning` header and a log line; `rollback` to one is 400, "
            "until it is renamed (`revert`, which is Cinder's, knows no such names); what a backup really owns can be "
            "neither rolled back to nor deleted, under any name; deleting one that only has the name is allowed"
        ),
    ),
    ("statuses of v5's policies and groups", "200 with an object, 202 with a job, 204 empty, where they are served"),
    ("job types and entities of v5 snapshot jobs", "free text; entities name `snapshot_id` and `volume_id`"),
    ("the form of `GET /v5/…/snapshots/tags`", "the list form, which the SDK reads"),
    ("do snapshots outlive their volume", "no, in no family: they go with it, by cascade"),
    (
        "which volume type counts for EVS.2096",
        "does not arise: a volume made from a snapshot may be of any type, for types do not change where bytes are",
    ),
    (
        "rollback after the volume was extended",
        (
            "allowed: the volume keeps its larger size, and what lies beyond the snapshot reads as zeros; Cinder's "
            "`revert` refuses it, as there"
        ),
    ),
    ("sorting of cloudsnapshots", "as in the native lists; bad keys are EVS.1039 and EVS.1040"),
    (
        "unknown query parameters and body keys",
        (
            "ignored on v2 and on Huawei's own resources; on native v3 unknown keys are 400 (in a volume's create: "
            "from 3.53 on) and unknown filters are 400 from 3.31 on"
        ),
    ),
    (
        "what is asked wrongly in two ways at once",
        (
            "who may not ask is told so first (403), then that the resource is not there (404); Cinder looks at the "
            "body before either"
        ),
    ),
    (
        "filters that only operators may use, and that are not there",
        "without effect; in Cinder such a list is empty. Members may use every filter that the list has",
    ),
    (
        "values of filters that mean nothing, such as `size=x`",
        "400, naming the filter; in Cinder the list is empty, or whole",
    ),
    (
        "paging and sorting in calls that have neither in Cinder, or got it later",
        "done, and checked; `name~` works from 3.31 on, in Cinder from 3.34",
    ),
    ("`GET …/volumes/summary` with filters", "counts what the filters select; Cinder counts all"),
    (
        "`count` on native v3",
        "the number of all that fit, as in Cinder; every list that pages has it, if it is asked for",
    ),
    (
        "the ETag of a volume's metadata (3.15)",
        (
            "as in Cinder, but in quotation marks, as HTTP has it; a change that names another in `If-Match` is 412, "
            "with a fault `preconditionFailed`, and looking and changing are one transaction"
        ),
    ),
    (
        "methods that a path does not have; names of formats at its end (`volumes.json`)",
        "405, naming those it has, where Cinder says 404; 404: the path is another",
    ),
    (
        (
            "null where Cinder wants a value or nothing: an attachment's `instance_uuid`, a type's `extra_specs`, "
            "`bootable` of what is managed, as `openstack volume create --remote-source` sends it"
        ),
        "as if it were left out",
    ),
    (
        "attachments",
        (
            "a second one for the same server only if several may attach the volume; `os-complete` is 400 before the "
            "volume is connected; below 3.44, where nothing could complete it, a connected one is `attached` at once; "
            "the mode of one that states none is `rw`, where Cinder says `null`"
        ),
    ),
    (
        "`os-detach` and `os-force_detach` of what is not attached",
        "400, naming the status, or the attachment that is not there; in Cinder 202, without effect",
    ),
    (
        "`os-reset_status`",
        "`deleting`, `in-use` of a volume without attachments, and a `migration_status` other than none are 400",
    ),
    ("a volume in `maintenance`", "name, description and metadata can be changed, as in any status"),
    (
        "a quota below what is used",
        "400, as in Cinder; with `skip_validation=true`, which Cinder had once, it is taken",
    ),
    (
        "the name of a volume that is made by restoring a backup",
        "the given one, or `restore_backup_<id>` for good; Cinder gives it the name of the volume that was backed up",
    ),
    ("scheduler hints", "an object with any keys and values, without effect, as there is nothing to choose from"),
    ("`backup_id` of a volume's create", "from 3.47 on, as documented; 400 below, where Cinder takes it"),
    ("`snapshots_links` when there is no next page", "absent"),
    ("copying snapshots", "there is no such call"),
    ("the recycle bin", "not served"),
    ("EVS codes above 2145 that are not documented", "not used, but for 2218 and 2219 (client tokens)"),
    ("the version document's `version`", f"the real highest microversion, {as_text(HIGHEST)}"),
    ("deleting a snapshot that volumes were made from", "allowed at once; such volumes keep their bytes"),
    ("the status of v2.1 volume creation", "202"),
    (
        "`force`",
        (
            "`available` never needs it; `in-use` and `attaching` do, below 3.66; from 3.66 on `in-use` does not, "
            "`attaching` is refused and `false` is 400"
        ),
    ),
    (
        "fields that only OpenEVS has (`openevs:…`), and `user_id` of a snapshot",
        (
            "native v3: `user_id` from 3.41 on, as in Cinder; the others to those that ask for them: "
            "`OpenStack-API-Version: volume 3.44, openevs 1`"
        ),
    ),
    ("a native path that ends with a slash", "404: a resource whose id is empty"),
    ("`limit`", "native: 0 gives an empty list and more than the most is cut; Huawei's own: 400 EVS.1023 and EVS.2142"),
    ("limits of names and descriptions", "255 bytes of UTF-8 after blanks at both ends are cut off"),
    (
        "`X-Client-Token`",
        "on every POST that creates or begins work (identity's aside), any text up to 255 characters, for 8 hours",
    ),
    (
        "services, hosts, pools",
        (
            "one process, one pool, under the names Cinder has for its parts; a pool's numbers are those of the last "
            "look, seconds ago; `failover` and `set-log` are 400; there are no clusters; nothing waits for clean-up"
        ),
    ),
    (
        "`os-migrate_volume`, and retyping to another backend",
        (
            "backends (`engine.backends`) are names of one pool, so the storage itself migrates, as Cinder calls it: "
            "no byte has to move, and `migration_status` is `success` at once; asked to copy (`force_host_copy`), or "
            "for a volume with snapshots or in a group, 400; `os-migrate_volume_completion` is 400"
        ),
    ),
    (
        "volumes that several may attach",
        (
            "`multiattach: true` at creation makes one, too, beside the type that says so; it is served once, over one "
            "transport; an attachment with mode `ro` is told so and trusted, unless the volume itself is read-only"
        ),
    ),
    (
        "a change of QoS specs, or of who has them",
        (
            "holds at once for volumes that are attached, too (at Cinder from their next attachment on); for one that "
            "is just being worked on, as soon as that is done"
        ),
    ),
    ("numbers as values of QoS specs", "taken as the texts they are written with; in extra specs 400, as in Cinder"),
    (
        "`bootable` and `volume_image_metadata` of copies",
        (
            "a volume made from a bootable volume, or from a snapshot of one, is bootable and has its image metadata, "
            "as at Cinder; those of the volume as it is then: a snapshot keeps none of its own, and a backup the flag"
        ),
    ),
    (
        "transfers",
        (
            "what is connected, or in a group, cannot be offered; an accepted offer is gone, as at Cinder; a repeat "
            "with the same `X-Client-Token` answers without the key, of which only a digest is kept"
        ),
    ),
    (
        "group snapshots",
        (
            "one instant for all volumes, in use or not, whatever the type says, if none in use is served apart; "
            "a type with `consistent_group_snapshot_enabled` = `<is> True` has that or an error. A volume that is "
            "connected joins a group of such a type only after it was detached (400)"
        ),
    ),
    (
        "groups",
        (
            "there, and changed, at once; a volume of no stated type has the project's default one; private group "
            "types are an administrator's alone, since there is no call to share them"
        ),
    ),
    (
        "`consistencygroups`, `cgsnapshots`",
        (
            "groups and group snapshots of the type `default_cgsnapshot_type` under their older names, as in Cinder: "
            "these calls take every group, those for groups refuse the ones of that type (400); `cgsnapshots` can be "
            "filtered"
        ),
    ),
    (
        "`os-unmanage`, and what can be managed",
        (
            "a volume or snapshot that is unmanaged keeps its bytes in the pool, under the name `volume-<id>` or "
            "`snapshot-<id>`, which `ref` takes as `source-name` (the bare id too); files in the pool's folder "
            "`incoming`, raw or qcow2 without a backing file, are `incoming/<name>`, copied when they are managed and "
            "then removed; a `ref` or `host` that is not there is 400 at once"
        ),
    ),
    (
        "deleting a volume that has an unmanaged snapshot",
        "`error_deleting` with a message that names the snapshot: manage it, and delete it or the volume with cascade",
    ),
)
"""(question, what OpenEVS does). The first ones are those that the sources leave open."""

_HEAD = f"""# API compatibility

Made from the route table and the choices in `src/openevs/api/compatibility.py`; a test fails when this text is another.
`/openapi.json` on a running server says more of each call.

Microversions {as_text(LOWEST)} to {as_text(HIGHEST)} on `/v3`. A native v3 path also works without the project in it.
"""


NOT_YET: Final = (
    ("`cloudbackups`, `os-backup-…`", "404; backups are Cinder's `backups`"),
    ("`imageRef`, `os-reimage`, `os-volume_upload_image`", "400: there are no images"),
    ("`count` above 1 in `cloudvolumes`", "400 EVS.1021: one volume a call"),
    ("v1 volumes and snapshots, v5 as a whole, tags, the recycle bin, transfers of Huawei's families", "404"),
)


class Parity(NamedTuple):
    """What OpenStack's own tests say of one area."""

    area: str
    theirs: int
    """How many tests pass with Cinder."""
    here: int
    """How many of those pass here."""
    more: int
    """How many pass here only."""


PARITY_HEAD: Final = """## OpenStack's own tests

`make parity` runs Tempest's volume tests and those of Cinder's plugin. Measured is what passes with Cinder itself, and
of that what passes here; the lists are in `tests/tempest/expected`, whose heads say how Cinder was set up. A test on a
list that does not pass fails the run.

`tests/parity` takes a snapshot through its whole life with python-cinderclient, python-openstackclient, openstacksdk,
Ansible's `openstack.cloud` modules, gophercloud and Huawei's SDK, as part of `make test`. Terraform's provider, which
stands on gophercloud, was not tried: the tests have no package of it to install.
"""


def render_parity(given: Sequence[Parity]) -> list[str]:
    """Return the part of the document that says how many of OpenStack's own tests pass, by area."""
    lines = [PARITY_HEAD, "| area | pass with Cinder | of these here | only here |", "|---|---|---|---|"]
    sums = (sum(row.theirs for row in given), sum(row.here for row in given), sum(row.more for row in given))
    rows = [*given, Parity("**all**", *sums)]
    return [*lines, *(f"| {row.area} | {row.theirs} | {row.here} | {row.more} |" for row in rows), ""]


def render_compatibility(routes: Iterable[Route] = tuple(ROUTES), parity: Sequence[Parity] = ()) -> str:
    """Return docs/api-compatibility.md."""
    parts = [_HEAD, "## Choices", "", "| question | what OpenEVS does |", "|---|---|"]
    parts += [f"| {question} | {answer} |" for question, answer in CHOICES]
    parts += ["", "## Not yet", "", "| what | answer |", "|---|---|"]
    parts += [f"| {what} | {answer} |" for what, answer in NOT_YET]
    parts += ["", *render_parity(parity)] if parity else [""]
    by_tag: dict[str, list[Route]] = {}
    for route in routes:
        by_tag.setdefault(route.tag or "Other", []).append(route)
    parts += ["## Calls", ""]
    for tag, group in sorted(by_tag.items()):
        parts += [f"### {tag}", "", "| call | versions | success | who | what |", "|---|---|---|---|---|"]
        parts += [_row(route) for route in group]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _row(route: Route) -> str:
    versions = ", ".join(api for api in route.apis if api) or "all"
    if route.since:
        versions += f" (3.{route.since})"
    return (
        f"| `{route.method} {route.path}` | {versions} | {route.status} | {level_of(route.policy)} | {route.summary} |"
    )
