"""`openevs reset-password`: a new password for who lost theirs, by whoever has the data folder in hand.

It works on the database itself, with the service stopped: nobody is asked for a password that is lost.
"""

import asyncio
from pathlib import Path
from typing import NamedTuple

from openevs.commands.failure import Failure
from openevs.compose import AlreadyRunning, FolderUnusable, lock_folder, utc_now
from openevs.domain.errors import NotFound
from openevs.identity.credentials import replace_password
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.users import reset_password
from openevs.settings import Settings
from openevs.store.database import Database
from openevs.store.dialect import sqlite_path


class Reset(NamedTuple):
    """What was done."""

    password: str
    files: list[Path]
    """Files in which the old password was replaced."""

    def __repr__(self) -> str:
        """Without the password."""
        return f"Reset(files={self.files!r})"


def run(settings: Settings, user: str) -> Reset:
    """Give a user a new random password. Raises Failure."""
    database = sqlite_path(settings.database_url)
    if not settings.data_folder.is_dir() or (database is not None and not database.exists()):
        raise Failure(f"{settings.data_folder} holds no service's data; name its folder with --data-folder.")
    try:
        lock = lock_folder(settings.data_folder)
    except AlreadyRunning:
        raise Failure(
            f"A service is running on {settings.data_folder}. Stop it first; or, while somebody can still log in as"
            " administrator, let them set the password: openstack user set --password-prompt USER."
        ) from None
    except FolderUnusable as error:
        raise Failure(str(error)) from None
    with lock:
        password = asyncio.run(_reset(settings, user))
        return Reset(password, replace_password(settings.data_folder, user, password))


async def _reset(settings: Settings, user: str) -> str:
    db = Database(settings.database_url)
    identity = EmbeddedIdentity(db, settings.identity, utc_now)
    try:
        return await reset_password(identity, user)
    except NotFound:
        raise Failure(f"There is no user named {user}.") from None
    finally:
        identity.close()
        db.close()
