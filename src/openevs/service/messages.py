"""What can be asked of user messages. Nobody asks for one to be made: operations that fail leave them."""

from openevs.domain.message import Message
from openevs.domain.model import Caller
from openevs.service.deps import Deps
from openevs.service.queries import MESSAGE_FILTERS, ListQuery, list_rows
from openevs.store import messages as store
from openevs.store.database import Tx
from openevs.store.tables import message as table


async def get_message(deps: Deps, caller: Caller, message_id: str) -> Message:
    """Return a message. Raises NotFound."""
    return deps.db.look_up(store.find_message, message_id, caller.scope)


async def delete_message(deps: Deps, caller: Caller, message_id: str) -> None:
    """Remove a message that has been read. Raises NotFound."""

    def delete(tx: Tx) -> None:
        store.find_message(tx, message_id, caller.scope)
        store.delete_message_row(tx, message_id)

    await deps.db.write(delete)


async def list_messages(deps: Deps, caller: Caller, query: ListQuery) -> tuple[list[Message], int | None]:
    """Return one page of messages and, if asked for, how many there are in all.
    Raises InvalidInput, NotFound (marker)."""
    return await list_rows(deps, table, Message._make, MESSAGE_FILTERS, caller, query)
