"""`openevs migrate`: bring the database to the schema of this version. `openevs serve` does so by itself."""

from openevs.commands.failure import Failure
from openevs.compose import AlreadyRunning, FolderUnusable, lock_folder
from openevs.observe.log import configure_logging
from openevs.settings import Log, Settings
from openevs.store import schema


def run(settings: Settings) -> str:
    """Migrate, and return what was done as a sentence. Raises Failure."""
    configure_logging(Log(level="error", format=settings.log.format))
    try:
        # Not under a service that is running: its code knows the old schema.
        with lock_folder(settings.data_folder):
            return schema.migrate(settings.database_url)
    except (AlreadyRunning, FolderUnusable, schema.SchemaError) as error:
        raise Failure(str(error)) from None
