"""Transfers as the API writes them."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from openevs.api.call import Call
from openevs.api.wire.lists import Listing, same
from openevs.api.wire.snapshot_replies import Link, Time
from openevs.api.wire.times import wire_time
from openevs.domain.transfer import Transfer

TRANSFER_LIST = Listing(
    filters={"name": "name", "display_name": "name", "volume_id": "volume_id", "id": "id", "project_id": "project_id"},
    sort_keys={**same("id name volume_id created_at"), "display_name": "name"},
    strict_since=None,
)


class TransferCreate(Struct):
    """The body of a create, in its envelope `transfer`."""

    volume_id: str
    name: str | None = None


class TransferCreateNew(TransferCreate):
    """The same, from microversion 3.55 on."""

    no_snapshots: bool | str | int = False


class AcceptTransfer(Struct):
    """The body of an acceptance, in its envelope `accept`."""

    auth_key: str | int


class TransferSummary(Struct):
    """A transfer in the short list, and once it was accepted."""

    id: str
    volume_id: str
    name: str | None
    links: list[Link]


class TransferDetail(TransferSummary):
    """A transfer in show and in the detailed list."""

    created_at: Time
    no_snapshots: Annotated[bool | UnsetType, Meta(description="From 3.55 on.")] = UNSET
    source_project_id: Annotated[str | UnsetType, Meta(description="From 3.57 on.")] = UNSET
    destination_project_id: Annotated[UnsetType | None, Meta(description="From 3.57 on.")] = UNSET
    accepted: Annotated[bool | UnsetType, Meta(description="From 3.57 on.")] = UNSET


class TransferOffer(TransferDetail):
    """A transfer as it was made, with its key."""

    auth_key: str | None = None


class TransferMade(Struct):
    """A transfer that was made."""

    transfer: TransferOffer


class TransferShown(Struct):
    """One transfer."""

    transfer: TransferDetail


class TransferAccepted(Struct):
    """A transfer that was accepted."""

    transfer: TransferSummary


class TransferList(Struct):
    """One page of transfers."""

    transfers: list[TransferSummary]
    transfers_links: list[Link] | UnsetType = UNSET
    count: int | UnsetType = UNSET


class TransferDetails(Struct):
    """One page of transfers with all their fields."""

    transfers: list[TransferDetail]
    transfers_links: list[Link] | UnsetType = UNSET
    count: int | UnsetType = UNSET


def transfer_summary(call: Call, transfer: Transfer) -> dict[str, Any]:
    """Return what the short list shows."""
    return {
        "id": transfer.id,
        "volume_id": transfer.volume_id,
        "name": transfer.name,
        "links": call.links(call.caller.project_id, "os-volume-transfer", transfer.id),
    }


def transfer_detail(call: Call, transfer: Transfer) -> dict[str, Any]:
    """Return all of a transfer. One that is there was not accepted yet."""
    view = {**transfer_summary(call, transfer), "created_at": wire_time(transfer.created_at)}
    if call.at_least(55):
        view["no_snapshots"] = transfer.no_snapshots
    if call.at_least(57):
        view |= {
            "source_project_id": transfer.project_id,
            "destination_project_id": None,
            "accepted": False,
        }
    return view
