"""`openevs demo`: tell the story of `openevs.demo`, show the figures, and say the truth in the exit status."""

import signal
import time
from pathlib import Path
from types import FrameType

import click

from openevs.commands.failure import Failure
from openevs.demo import story
from openevs.demo.api import ApiError
from openevs.demo.disk import DiskError
from openevs.demo.files import NoFiles, default_folder
from openevs.demo.service import ServiceError
from openevs.demo.writer import WriterError


def run(folder: Path | None, work_folder: Path | None, *, keep: bool) -> None:
    """Run the demo. Raises Failure if it cannot be carried on, or something does not hold."""
    began = time.monotonic()

    def tell(text: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {text}")

    # A polite end is to clean up, too.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        outcome = story.run(folder or default_folder(), parent=work_folder, keep=keep, tell=tell)
    except (ServiceError, ApiError, DiskError, WriterError, NoFiles, OSError) as error:
        raise Failure(f"The demo could not be carried on. {error}") from None
    except KeyboardInterrupt:
        raise Failure("Interrupted; everything was cleaned up.") from None
    click.echo(story.report(outcome))
    if outcome.failures:
        raise Failure(f"{len(outcome.failures)} of {len(outcome.checks)} checks failed.")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
