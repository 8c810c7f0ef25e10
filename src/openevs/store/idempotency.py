"""Client tokens: the result of a creating request, kept in the transaction that created."""

from datetime import datetime

import sqlalchemy as sa

from openevs.domain.errors import Conflict
from openevs.domain.model import ClientToken
from openevs.store.database import Tx
from openevs.store.prepared import insert_row
from openevs.store.tables import idempotency as table


def recall(tx: Tx, project_id: str, token: ClientToken, not_before: datetime) -> str | None:
    """Return what the first request with this token made, as JSON; None if there was none (or it was forgotten).
    Raises Conflict if that request was another one."""
    where = sa.and_(table.c.project_id == project_id, table.c.client_token == token.token)
    row = tx.execute(sa.select(table.c.digest, table.c.result, table.c.created_at).where(where)).first()
    if row is None:
        return None
    if row.created_at < not_before:
        tx.execute(sa.delete(table).where(where))
        return None
    if row.digest != token.digest:
        raise Conflict("X-Client-Token was used before, with another request.").with_code("EVS.2219")
    return str(row.result)


def remember(tx: Tx, project_id: str, token: ClientToken, result: str, now: datetime) -> None:
    """Keep what this request made."""
    row = {"project_id": project_id, "client_token": token.token, "digest": token.digest}
    insert_row(tx, table, {**row, "result": result, "created_at": now})


def forget_tokens(tx: Tx, before: datetime) -> int:
    """Remove tokens from before then; return how many."""
    return tx.execute(sa.delete(table).where(table.c.created_at < before)).rowcount
