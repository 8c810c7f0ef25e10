"""What can be asked of QoS specs (administrators). A change becomes true of volumes that are attached, too: at once, or
as soon as nobody else works on them."""

from collections.abc import Callable, Mapping
from typing import Any

from openevs.domain.errors import InUse, InvalidInput, NotFound
from openevs.domain.ids import new_uuid
from openevs.domain.model import Caller, Operation, VolumeType
from openevs.domain.qos import CONSUMERS, MOST, QosSpecs, bad_limit, clash
from openevs.domain.rules import check_name
from openevs.service.deps import Deps, accept
from openevs.service.types import check_specs
from openevs.store import qos as store
from openevs.store import types
from openevs.store.database import Tx
from openevs.store.listing import Page


async def create_qos(deps: Deps, caller: Caller, name: str, consumer: str | None, specs: Mapping[str, Any]) -> QosSpecs:
    """Make specs. Raises InvalidInput, Conflict."""
    made = QosSpecs(new_uuid(), check_name(name), _consumer(consumer or "back-end"), _specs(specs), deps.clock())
    _check_together(made)

    def create(tx: Tx) -> tuple[QosSpecs, None]:
        return store.insert_qos(tx, made), None

    return await accept(deps, caller, QosSpecs, create)


def _consumer(consumer: str) -> str:
    if consumer not in CONSUMERS:
        raise InvalidInput("consumer", f"{consumer[:64]!r} is none of {', '.join(CONSUMERS)}.")
    return consumer


def _specs(specs: Mapping[str, Any]) -> dict[str, str]:
    # Limits are numbers, and some clients send them as such.
    texts = {key: str(value) if type(value) in (int, float) else value for key, value in specs.items()}
    checked = check_specs("qos_specs", texts)
    bad = bad_limit(checked)
    if bad is not None:
        raise InvalidInput(f"qos_specs[{bad!r}]", f"it is a limit, so it must be a number from 1 to {MOST}.")
    return checked


def _check_together(qos: QosSpecs) -> None:
    key = clash(qos)
    if key is not None:
        raise InvalidInput(f"qos_specs[{key!r}]", "a limit of all cannot be combined with one of reads or of writes.")


async def get_qos(deps: Deps, qos_id: str) -> QosSpecs:
    """Return specs. Raises NotFound."""
    return await deps.db.read(store.find_qos, qos_id)


async def list_qos(deps: Deps, page: Page) -> list[QosSpecs]:
    """Return one page of specs. Raises NotFound (marker)."""
    return await deps.db.read(store.list_qos, page)


async def list_associations(deps: Deps, qos_id: str) -> list[VolumeType]:
    """Return the types that have these specs. Raises NotFound."""

    def read(tx: Tx) -> list[VolumeType]:
        store.find_qos(tx, qos_id)
        return store.types_with_qos(tx, qos_id)

    return await deps.db.read(read)


async def set_keys(deps: Deps, caller: Caller, qos_id: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Add or change keys, `consumer` among them; return those that were given. Raises InvalidInput, NotFound."""
    values = dict(given)
    consumer = values.pop("consumer", None)
    checked = _specs(values)

    def change(tx: Tx, found: QosSpecs) -> QosSpecs:
        who = found.consumer if consumer is None else _consumer(str(consumer))
        changed = found._replace(specs={**found.specs, **checked}, consumer=who)
        _check_together(changed)
        return store.update_qos(tx, qos_id, {"specs": changed.specs, "consumer": changed.consumer})

    await _change(deps, caller, qos_id, change)
    return checked if consumer is None else {**checked, "consumer": str(consumer)}


async def delete_keys(deps: Deps, caller: Caller, qos_id: str, keys: list[str]) -> None:
    """Remove keys. Raises NotFound (specs, key)."""

    def change(tx: Tx, found: QosSpecs) -> QosSpecs:
        missing = [key for key in keys if key not in found.specs]
        if missing:
            raise NotFound(f"key of QoS specs {qos_id}", missing[0][:64])
        left = {key: value for key, value in found.specs.items() if key not in keys}
        return store.update_qos(tx, qos_id, {"specs": left})

    await _change(deps, caller, qos_id, change)


async def delete_qos(deps: Deps, caller: Caller, qos_id: str, *, force: bool) -> None:
    """Remove specs; those that types have only with `force`. Raises NotFound, InUse."""

    def change(tx: Tx, found: QosSpecs) -> QosSpecs:
        if not force and (using := store.types_with_qos(tx, qos_id)):
            raise InUse("QoS specs", f"{found.name!r} still belongs to volume type {using[0].name!r}.")
        store.delete_qos_row(tx, qos_id)
        return found

    await _change(deps, caller, qos_id, change)


async def associate(deps: Deps, caller: Caller, qos_id: str, type_id: str) -> None:
    """Give a type these specs. Raises NotFound, InvalidInput (it has others)."""

    def change(tx: Tx, found: QosSpecs) -> QosSpecs:
        has = types.find_type(tx, type_id).qos_specs_id
        if has not in (None, qos_id):
            raise InvalidInput("vol_type_id", f"volume type {type_id} has the QoS specs {has}; take those away first.")
        types.update_type(tx, type_id, {"qos_specs_id": qos_id})
        return found

    await _change(deps, caller, qos_id, change, only=type_id)


async def disassociate(deps: Deps, caller: Caller, qos_id: str, type_id: str | None) -> None:
    """Take these specs from a type, or from all. Raises NotFound."""

    def change(tx: Tx, found: QosSpecs) -> QosSpecs:
        ids = [one.id for one in store.types_with_qos(tx, qos_id)] if type_id is None else [type_id]
        for each in ids:
            if types.find_type(tx, each).qos_specs_id == qos_id:
                types.update_type(tx, each, {"qos_specs_id": None})
        return found

    await _change(deps, caller, qos_id, change, only=type_id)


async def _change(
    deps: Deps, caller: Caller, qos_id: str, change: Callable[[Tx, QosSpecs], QosSpecs], only: str | None = None
) -> None:
    """Change specs or who has them, and queue what makes it true of attached volumes: of the types that had them before
    (or `only` one)."""

    def accept_change(tx: Tx) -> tuple[QosSpecs, Operation | None]:
        found = store.find_qos(tx, qos_id)
        had = [one.id for one in store.types_with_qos(tx, qos_id)] if only is None else [only]
        changed = change(tx, found)
        attached = store.attached_of_types(tx, had) if "throttles" in deps.powers else []
        queued = [store.queue_limits(tx, volume, deps.clock(), caller.request_id) for volume in attached]
        return changed, next(iter(queued), None)

    await accept(deps, caller, QosSpecs, accept_change)
