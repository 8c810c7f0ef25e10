"""The state machine: random requests to the real application, each answered as the ideal says, and after each one
everything compared.

After a rule all is quiet, so that an example depends on nothing but its rules and can be made smaller. What happens
while a request is being worked on is chosen by the rule: the engine fails, or does what it is asked and says nothing,
or the process dies at that call, before its effect or after it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, get_args

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openevs.domain.ids import GIB
from openevs.engine.errors import Broken, NoSpace, OutcomeUnknown, Transient
from tests.model.ideal import ACCEPTED, Ideal, IdealSnapshot, IdealVolume, Thing
from tests.model.stage import BLOCK_BYTES, Stage

Mishap = Literal["none", "transient", "lost before", "lost after", "no space", "broken", "death before", "death after"]
_BLOCKS_PER_GIB: Final = GIB // BLOCK_BYTES
BLOCKS: Final = (0, 1, _BLOCKS_PER_GIB - 1, _BLOCKS_PER_GIB, 2 * _BLOCKS_PER_GIB + 3)
"""Those that are written and read: the first, a neighbour, and both sides of where growing begins."""
NOBODY: Final = "00000000-0000-4000-8000-000000000000"
CONNECTOR: Final = {"host": "model"}

mishaps: st.SearchStrategy[Mishap] = st.sampled_from(["none"] * 5 + [*get_args(Mishap)])
picks = st.integers(0, 30)
names = st.sampled_from(["a", "b", "ab", "ü", ""])
sizes = st.integers(0, 6)
metadata = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["v", "w"]), max_size=2)
volume_statuses = st.sampled_from(
    # Mostly back to work: in the other statuses nearly everything is refused, and a walk would see little else.
    "available available available available available available error error_extending error_rollbacking "
    "error_deleting maintenance in-use deleting unheard-of".split()
)
snapshot_statuses = st.sampled_from("available available available available error error_deleting backing-up".split())


class Machine(RuleBasedStateMachine):
    """One project of one application."""

    template: Path
    """A data folder to begin with; see `make_template`."""

    def __init__(self) -> None:
        super().__init__()
        self.ideal = Ideal()
        self.stage = Stage(self.template)

    def teardown(self) -> None:
        self.stage.close()

    # Asking -----------------------------------------------------------------------------------------------------

    def ask(self, expected: int, method: str, path: str, body: Any = None, *, admin: bool = False) -> httpx.Response:
        """Send a request that must be answered so, and wait until all is quiet."""
        reply = self.stage.call(method, path, body, admin=admin)
        self._check(expected, reply, f"{method} {path} {body}")
        self.stage.quiet()
        return reply

    def work(self, expected: int, engine_call: str, mishap: Mishap, *request: Any) -> httpx.Response:
        """Send a request whose work, if it is accepted, meets a mishap at `engine_call`."""
        if expected != ACCEPTED:
            return self.ask(expected, *request)
        hang = self._prepare(engine_call, mishap)
        reply = self.stage.call(*request)
        self._check(expected, reply, f"{request} with {mishap}")
        if hang is not None:
            self.stage.crash_at(hang)
        self.stage.quiet()
        assert self.stage.faults.pending == [], f"{request}: {mishap} never happened"
        return reply

    def _prepare(self, engine_call: str, mishap: Mishap) -> Any:
        faults = self.stage.faults
        errors: dict[str, Callable[[], None]] = {
            "none": lambda: None,
            "transient": lambda: faults.fail(engine_call, Transient("a hiccup")),
            "lost before": lambda: faults.fail(engine_call, OutcomeUnknown("no answer")),
            "lost after": lambda: faults.fail(engine_call, OutcomeUnknown("no answer"), when="after"),
            "no space": lambda: faults.fail(engine_call, NoSpace("the pool is full")),
            "broken": lambda: faults.fail(engine_call, Broken("the disk is gone")),
        }
        if mishap in errors:
            errors[mishap]()
            return None
        return faults.hang(engine_call, when="before" if mishap == "death before" else "after")

    @staticmethod
    def _check(expected: int, reply: httpx.Response, what: str) -> None:
        assert reply.status_code == expected, f"{what}: {reply.status_code}, not {expected}: {reply.text}"

    def volume(self, pick: int) -> str:
        """Return the id of a volume: mostly one that is there."""
        known = [*self.ideal.volumes, *self.ideal.volumes, *self.ideal.gone_volumes[-1:], NOBODY]
        return known[pick % len(known)]

    def snapshot(self, pick: int) -> str:
        """Return the id of a snapshot: mostly one that is there."""
        known = [*self.ideal.snapshots, *self.ideal.snapshots, *self.ideal.gone_snapshots[-1:], NOBODY]
        return known[pick % len(known)]

    # Volumes ----------------------------------------------------------------------------------------------------

    @initialize(name=names)
    def begin(self, name: str) -> None:
        """Something is there from the start."""
        self._create({"size": 1, "name": name}, "none")
        self.scribble(0, 0, 1)
        self.take_snapshot(0, name, False, "none")
        self.scribble(0, 0, 2)

    @rule(size=sizes, name=names, metadata=metadata, mishap=mishaps)
    def create(self, size: int, name: str, metadata: dict[str, str], mishap: Mishap) -> None:
        self._create({"size": size, "name": name, "metadata": metadata}, mishap)

    @rule(pick=picks, size=st.none() | sizes, mishap=mishaps)
    def create_from_snapshot(self, pick: int, size: int | None, mishap: Mishap) -> None:
        self._create({"size": size, "snapshot_id": self.snapshot(pick)}, mishap)

    @rule(pick=picks, size=st.none() | sizes, mishap=mishaps)
    def create_from_volume(self, pick: int, size: int | None, mishap: Mishap) -> None:
        self._create({"size": size, "source_volid": self.volume(pick)}, mishap)

    def _create(self, body: dict[str, Any], mishap: Mishap) -> None:
        size, snapshot_id, source_id = body["size"], body.get("snapshot_id"), body.get("source_volid")
        source: Thing | None = self.ideal.snapshots.get(snapshot_id or "") or self.ideal.volumes.get(source_id or "")
        call = "ensure_volume_from_snapshot" if snapshot_id or source_id else "ensure_volume"
        expected = self.ideal.may_create(size, snapshot_id, source_id)
        reply = self.work(expected, call, mishap, "POST", "/v3/{p}/volumes", {"volume": body})
        if expected != ACCEPTED:
            return
        made = IdealVolume(
            id=reply.json()["volume"]["id"],
            born=self.ideal.birth(),
            size=size or (source.size if source else 0),
            name=body.get("name"),  # type: ignore[arg-type]
            bytes=dict(source.bytes) if source else {},
            metadata=body.get("metadata", {}),
        )
        self._made(made, mishap)
        self.ideal.volumes[made.id] = made

    @staticmethod
    def _made(thing: Thing, mishap: Mishap) -> None:
        if mishap in ("no space", "broken"):
            thing.status, thing.stored, thing.bytes = "error", False, {}

    @rule(pick=picks, cascade=st.booleans(), mishap=mishaps)
    def delete(self, pick: int, cascade: bool, mishap: Mishap) -> None:
        volume_id = self.volume(pick)
        expected = self.ideal.may_delete(volume_id, cascade=cascade)
        own = self.ideal.snapshots_of(volume_id)
        path = f"/v3/{{p}}/volumes/{volume_id}?cascade={cascade}"
        self.work(expected, "ensure_no_volume", mishap, "DELETE", path)
        if expected != ACCEPTED:
            return
        if mishap != "broken":
            self.ideal.delete_volume(volume_id)
            return
        self.ideal.volumes[volume_id].status = "error_deleting"
        for snapshot in own:  # removed from storage, and still counted until the deletion is repeated
            snapshot.status, snapshot.stored = "error_deleting", False

    @rule(pick=picks)
    def force_delete(self, pick: int) -> None:
        """The administrator's way out of `error_deleting`."""
        volume_id = self.volume(pick)
        volume = self.ideal.volumes.get(volume_id)
        if volume is None or volume.attachment or self.ideal.snapshots_of(volume_id):
            return
        self.ask(202, "POST", f"/v3/{{p}}/volumes/{volume_id}/action", {"os-force_delete": {}}, admin=True)
        self.ideal.delete_volume(volume_id)

    @rule(pick=picks, size=sizes, mishap=mishaps)
    def extend(self, pick: int, size: int, mishap: Mishap) -> None:
        volume_id = self.volume(pick)
        expected = self.ideal.may_extend(volume_id, size)
        body = {"os-extend": {"new_size": size}}
        self.work(expected, "ensure_volume_size", mishap, "POST", f"/v3/{{p}}/volumes/{volume_id}/action", body)
        if expected != ACCEPTED:
            return
        if mishap == "broken":
            self.ideal.volumes[volume_id].status = "error_extending"
        else:
            self.ideal.volumes[volume_id].size = size

    @rule(pick=picks, name=names)
    def rename(self, pick: int, name: str) -> None:
        volume_id = self.volume(pick)
        there = volume_id in self.ideal.volumes
        self.ask(200 if there else 404, "PUT", f"/v3/{{p}}/volumes/{volume_id}", {"volume": {"name": name}})
        if there:
            self.ideal.volumes[volume_id].name = name

    @rule(pick=picks, more=metadata)
    def add_metadata(self, pick: int, more: dict[str, str]) -> None:
        snapshot_id = self.snapshot(pick)
        there = snapshot_id in self.ideal.snapshots
        path = f"/v3/{{p}}/snapshots/{snapshot_id}/metadata"
        self.ask(200 if there else 404, "POST", path, {"metadata": more})
        if there:
            self.ideal.snapshots[snapshot_id].metadata |= more

    @rule(pick=picks, status=volume_statuses)
    def reset_volume(self, pick: int, status: str) -> None:
        volume_id = self.volume(pick)
        volume = self.ideal.volumes.get(volume_id)
        if volume is not None and not volume.stored:
            return  # an administrator who says that there is what is not gets what follows
        expected = self.ideal.may_reset_volume(volume_id, status)
        body = {"os-reset_status": {"status": status}}
        self.ask(expected, "POST", f"/v3/{{p}}/volumes/{volume_id}/action", body, admin=True)
        if volume is not None and expected == ACCEPTED:
            volume.status = status

    # Attaching and writing --------------------------------------------------------------------------------------

    @rule(pick=picks)
    def attach(self, pick: int) -> None:
        volume_id = self.volume(pick)
        expected = self.ideal.may_attach(volume_id)
        body = {"attachment": {"volume_uuid": volume_id, "connector": CONNECTOR}}
        reply = self.ask(expected, "POST", "/v3/{p}/attachments", body)
        if expected != 200:
            return
        made = reply.json()["attachment"]
        self.ask(204, "POST", f"/v3/{{p}}/attachments/{made['id']}/action", {"os-complete": {}})
        volume = self.ideal.volumes[volume_id]
        volume.attachment, volume.uri, volume.status = made["id"], made["connection_info"]["data"]["uri"], "in-use"

    @precondition(lambda self: any(one.attachment for one in self.ideal.volumes.values()))
    @rule(pick=picks)
    def detach(self, pick: int) -> None:
        attached = [one for one in self.ideal.volumes.values() if one.attachment]
        volume = attached[pick % len(attached)]
        self.ask(200, "DELETE", f"/v3/{{p}}/attachments/{volume.attachment}")
        self.ideal.detach(volume)

    @precondition(lambda self: any(one.attachment for one in self.ideal.volumes.values()))
    @rule(pick=picks, block=st.sampled_from(BLOCKS), value=st.integers(1, 255))
    def write(self, pick: int, block: int, value: int) -> None:
        attached = [one for one in self.ideal.volumes.values() if one.attachment]
        volume = attached[pick % len(attached)]
        if block * BLOCK_BYTES < volume.size * GIB:
            self.stage.write(volume.uri, block, value)
            volume.bytes[block] = value

    @rule(pick=picks, block=st.sampled_from(BLOCKS), value=st.integers(1, 255))
    def scribble(self, pick: int, block: int, value: int) -> None:
        volume = self.ideal.volumes.get(self.volume(pick))
        if volume is not None and volume.stored and block * BLOCK_BYTES < volume.size * GIB:
            self.stage.scribble(volume.id, block, value)
            volume.bytes[block] = value

    # Snapshots --------------------------------------------------------------------------------------------------

    @rule(pick=picks, name=names, force=st.booleans(), mishap=mishaps)
    def take_snapshot(self, pick: int, name: str, force: bool, mishap: Mishap) -> None:
        volume_id = self.volume(pick)
        expected = self.ideal.may_snapshot(volume_id, force=force)
        body = {"snapshot": {"volume_id": volume_id, "name": name, "force": force}}
        reply = self.work(expected, "ensure_snapshot", mishap, "POST", "/v3/{p}/snapshots", body)
        if expected != ACCEPTED:
            return
        volume = self.ideal.volumes[volume_id]
        made = IdealSnapshot(
            id=reply.json()["snapshot"]["id"],
            born=self.ideal.birth(),
            size=volume.size,
            name=name,
            bytes=dict(volume.bytes),
            volume_id=volume_id,
        )
        self._made(made, mishap)
        self.ideal.snapshots[made.id] = made

    @rule(pick=picks, mishap=mishaps)
    def delete_snapshot(self, pick: int, mishap: Mishap) -> None:
        snapshot_id = self.snapshot(pick)
        expected = self.ideal.may_delete_snapshot(snapshot_id)
        self.work(expected, "ensure_no_snapshot", mishap, "DELETE", f"/v3/{{p}}/snapshots/{snapshot_id}")
        if expected != ACCEPTED:
            return
        if mishap == "broken":
            self.ideal.snapshots[snapshot_id].status = "error_deleting"
        else:
            self.ideal.delete_snapshot(snapshot_id)

    @rule(pick=picks, status=snapshot_statuses)
    def reset_snapshot(self, pick: int, status: str) -> None:
        snapshot_id = self.snapshot(pick)
        snapshot = self.ideal.snapshots.get(snapshot_id)
        if snapshot is not None and not snapshot.stored:
            return
        body = {"os-reset_status": {"status": status}}
        expected = 404 if snapshot is None else ACCEPTED
        self.ask(expected, "POST", f"/v3/{{p}}/snapshots/{snapshot_id}/action", body, admin=True)
        if snapshot is not None:
            snapshot.status = status

    @rule(pick=picks, other=st.integers(0, 9), mishap=mishaps)
    def roll_back(self, pick: int, other: int, mishap: Mishap) -> None:
        snapshot_id = self.snapshot(pick)
        snapshot = self.ideal.snapshots.get(snapshot_id)
        volume_id = snapshot.volume_id if snapshot and other else self.volume(pick)
        expected = self.ideal.may_roll_back(volume_id, snapshot_id)
        path, body = f"/v2/{{p}}/cloudsnapshots/{snapshot_id}/rollback", {"rollback": {"volume_id": volume_id}}
        self.work(expected, "ensure_reverted", mishap, "POST", path, body)
        self._put_back(expected, mishap, snapshot_id, "error_rollbacking")

    @rule(pick=picks, mishap=mishaps)
    def revert(self, pick: int, mishap: Mishap) -> None:
        snapshot_id = self.snapshot(pick)
        snapshot = self.ideal.snapshots.get(snapshot_id)
        volume_id = snapshot.volume_id if snapshot else self.volume(pick)
        expected = self.ideal.may_revert(volume_id, snapshot_id)
        path, body = f"/v3/{{p}}/volumes/{volume_id}/action", {"revert": {"snapshot_id": snapshot_id}}
        self.work(expected, "ensure_reverted", mishap, "POST", path, body)
        self._put_back(expected, mishap, snapshot_id, "error")

    def _put_back(self, expected: int, mishap: Mishap, snapshot_id: str, failed: str) -> None:
        if expected != ACCEPTED:
            return
        if mishap == "broken":
            self.ideal.volumes[self.ideal.snapshots[snapshot_id].volume_id].status = failed
        else:
            self.ideal.put_back(snapshot_id)

    # The service ------------------------------------------------------------------------------------------------

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        self.stage.restart(clean=clean)
        self.stage.quiet()

    @rule(
        kind=st.sampled_from(["volumes", "snapshots"]),
        limit=st.integers(1, 3),
        direction=st.sampled_from(["asc", "desc"]),
        key=st.sampled_from(["created_at", "size"]),
        by_marker=st.booleans(),
    )
    def list_by_pages(self, kind: str, limit: int, direction: str, key: str, by_marker: bool) -> None:
        things: list[Thing] = [*getattr(self.ideal, kind).values()]
        if key == "created_at":
            things.sort(key=lambda one: one.born, reverse=direction == "desc")
        else:
            things.sort(key=lambda one: (one.size, one.id), reverse=direction == "desc")
        wanted, found = [one.id for one in things], list[str]()
        while True:
            place = f"&marker={found[-1]}" if found and by_marker else f"&offset={len(found)}"
            reply = self.ask(200, "GET", f"/v3/{{p}}/{kind}?limit={limit}&sort={key}:{direction}{place}")
            page = [one["id"] for one in reply.json()[kind]]
            found += page
            if len(page) < limit:
                break
        assert found == wanted, f"{kind} by {key} {direction}: {found}, not {wanted}"

    @rule(kind=st.sampled_from(["volumes", "snapshots"]), field=st.sampled_from(["name", "status"]), name=names)
    def list_filtered(self, kind: str, field: str, name: str) -> None:
        value = name if field == "name" else "available"
        things: list[Thing] = [*getattr(self.ideal, kind).values()]
        reply = self.ask(200, "GET", f"/v3/{{p}}/{kind}?{field}={value}")
        wanted = {one.id for one in things if getattr(one, field) == value}
        assert {one["id"] for one in reply.json()[kind]} == wanted, f"{kind} where {field} is {value!r}"

    # What must hold when all is quiet ---------------------------------------------------------------------------

    @invariant()
    def lists_are_ideal(self) -> None:
        for kind in ("volumes", "snapshots"):
            things: dict[str, Thing] = getattr(self.ideal, kind)
            shown = self.stage.call("GET", f"/v3/{{p}}/{kind}/detail").json()[kind]
            found = [(one["id"], one["status"], one["size"], one["name"], _own(one["metadata"])) for one in shown]
            newest_first = sorted(things.values(), key=lambda one: one.born, reverse=True)
            assert found == [(one.id, one.status, one.size, one.name, one.metadata) for one in newest_first], kind

    @invariant()
    def bytes_are_ideal(self) -> None:
        things: list[Thing] = [*self.ideal.volumes.values(), *self.ideal.snapshots.values()]
        blocks = {
            one.id: [block for block in BLOCKS if block * BLOCK_BYTES < one.size * GIB] for one in things if one.stored
        }
        found = self.stage.blocks(blocks)
        for one in things:
            for block in blocks.get(one.id, []):
                expected = {one.bytes.get(block, 0)}
                assert found[one.id][block] == expected, f"block {block} of {type(one).__name__} {one.id}"

    @invariant()
    def storage_is_ideal(self) -> None:
        stored = self.stage.objects()
        volumes = {str(key): facts.size_bytes for key, facts in stored.volumes.items()}
        assert volumes == {one.id: one.size * GIB for one in self.ideal.volumes.values() if one.stored}
        snapshots = {str(key): facts.size_bytes for key, facts in stored.snapshots.items()}
        assert snapshots == {one.id: one.size * GIB for one in self.ideal.snapshots.values() if one.stored}
        assert self.stage.exports() == {one.id for one in self.ideal.volumes.values() if one.attachment}

    @invariant()
    def quota_is_ideal(self) -> None:
        recorded = self.stage.usage()
        for name, used in self.ideal.usage().items():
            assert recorded.get(name, 0) == recorded.get(f"{name}_layers", 0) == used, name


def _own(shown: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in shown.items() if key not in ("attached_mode", "readonly")}
