"""What a command raises when it cannot do what it is for."""

from typing import Any

import click


class Failure(click.ClickException):
    """It was not done; the message tells a person why, and what to do."""

    def show(self, file: Any = None) -> None:
        """Print the reason."""
        click.echo(f"openevs: {self.message}", err=True)
