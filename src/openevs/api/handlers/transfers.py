"""Transfers of volumes: `os-volume-transfer`, and `volume-transfers`, whose create has `no_snapshots` (3.55)."""

from functools import partial
from typing import Final

from openevs.api.call import Call, Handler, Reply, Route
from openevs.api.wire.bodies import check_uuid, flag, parse
from openevs.api.wire.lists import list_query, page_reply
from openevs.api.wire.transfers import (
    TRANSFER_LIST,
    AcceptTransfer,
    TransferAccepted,
    TransferCreate,
    TransferCreateNew,
    TransferDetails,
    TransferList,
    TransferMade,
    TransferShown,
    transfer_detail,
    transfer_summary,
)
from openevs.domain.errors import InvalidInput
from openevs.service import transfers as service

_SORTED_SINCE: Final = 57
"""Microversion from which the newest come first, as in other lists; before, the oldest."""
_SNAPSHOTS_SINCE: Final = 55


async def post_transfer(call: Call) -> Reply:
    """Offer a volume to another project, together with its snapshots."""
    return await _offer(call, parse(call, "transfer", TransferCreate), no_snapshots=False)


async def post_transfer_new(call: Call) -> Reply:
    """Offer a volume to another project, with or without its snapshots."""
    if not call.at_least(_SNAPSHOTS_SINCE):
        return await post_transfer(call)
    body = parse(call, "transfer", TransferCreateNew)
    return await _offer(call, body, no_snapshots=flag("no_snapshots", body.no_snapshots))


async def _offer(call: Call, body: TransferCreate, *, no_snapshots: bool) -> Reply:
    check_uuid("volume_id", body.volume_id)
    if call.strict and body.name == "":
        raise InvalidInput("name", "it is empty; leave it out, or give null, for none.")
    transfer, key = await service.create_transfer(
        call.deps, call.caller, body.volume_id, body.name, no_snapshots=no_snapshots
    )
    return Reply({"transfer": {**transfer_detail(call, transfer), "auth_key": key}})


async def post_accept(call: Call) -> Reply:
    """Take over the volume of a transfer, with its key."""
    key = str(parse(call, "accept", AcceptTransfer).auth_key)
    transfer = await service.accept_transfer(call.deps, call.caller, call.path["transfer_id"], key)
    return Reply({"transfer": transfer_summary(call, transfer)})


async def list_transfers(call: Call, *, detailed: bool = False) -> Reply:
    """List what the project offers."""
    query = list_query(call, TRANSFER_LIST)
    if not call.at_least(_SORTED_SINCE):
        query = query._replace(page=query.page._replace(sort=(("created_at", "asc"),)))
    rows, count = await service.list_transfers(call.deps, call.caller, query)
    view = transfer_detail if detailed else transfer_summary
    return page_reply(call, query, "transfers", [view(call, row) for row in rows], count)


async def list_transfers_detail(call: Call) -> Reply:
    """List what the project offers, with details."""
    return await list_transfers(call, detailed=True)


async def get_transfer(call: Call) -> Reply:
    """Show a transfer."""
    transfer = await service.get_transfer(call.deps, call.caller, call.path["transfer_id"])
    return Reply({"transfer": transfer_detail(call, transfer)})


async def delete_transfer(call: Call) -> Reply:
    """Take an offer back."""
    await service.delete_transfer(call.deps, call.caller, call.path["transfer_id"])
    return Reply()


_LIST = TRANSFER_LIST.parameters()


def _routes(name: str, create: Handler, body: type, apis: tuple[str, ...]) -> list[Route]:
    path = "{project_id}/" + name
    one = path + "/{transfer_id}"
    route = partial(Route, apis=apis, tag="Transfers")
    return [
        route("POST", path, create, 202, "Offer a volume to another project",
              policy="volume:create_transfer", body=body, reply=TransferMade),
        route("GET", path, list_transfers, 200, "List transfers",
              policy="volume:get_all_transfers", query=_LIST, reply=TransferList),
        route("GET", path + "/detail", list_transfers_detail, 200, "List transfers with details",
              policy="volume:get_all_transfers", query=_LIST, reply=TransferDetails),
        route("GET", one, get_transfer, 200, "Show a transfer", policy="volume:get_transfer", reply=TransferShown),
        route("DELETE", one, delete_transfer, 202, "Take an offer back", policy="volume:delete_transfer"),
        route("POST", one + "/accept", post_accept, 202, "Accept a transfer",
              policy="volume:accept_transfer", body=AcceptTransfer, reply=TransferAccepted),
    ]  # fmt: skip


ROUTES = [
    *_routes("os-volume-transfer", post_transfer, TransferCreate, ("v2", "v3")),
    *_routes("volume-transfers", post_transfer_new, TransferCreateNew, ("v3",)),
]
