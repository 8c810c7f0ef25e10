"""The command line. No logic: each command calls one function of `openevs.commands`."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from openevs import __version__
from openevs.commands.failure import Failure
from openevs.settings import Origins, Settings, SettingsError, load

F = TypeVar("F", bound=Callable[..., Any])


def common(command: F) -> F:
    """Give a command the options that every command has."""
    config = click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")
    folder = click.option("--data-folder", help="Where everything is kept (default: ./data).")
    return config(folder(command))


def settings_of(config: Path | None, data_folder: str | None, **overrides: str | None) -> tuple[Settings, Origins]:
    """Return the settings in force."""
    given = {("data", "folder"): data_folder, **{_key(name): value for name, value in overrides.items()}}
    try:
        return load(config, overrides={key: value for key, value in given.items() if value is not None})
    except SettingsError as error:
        raise Failure(str(error)) from None


def _key(name: str) -> tuple[str, str]:
    section, _, setting = name.partition("_")
    return section, setting


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openevs")
def main() -> None:
    """The Elastic Volume Service API, self-hosted, over real block devices."""


@main.command()
@common
@click.option("--host", help="Address to listen on.")
@click.option("--port", help="Port to listen on.")
@click.option("--profile", type=click.Choice(["service", "cloud"]), help="Limits: generous, or as the public cloud's.")
def serve(
    config: Path | None, data_folder: str | None, host: str | None, port: str | None, profile: str | None
) -> None:
    """Serve the API until stopped."""
    # What is made while starting stays. To look for garbage in it again and again takes a tenth of the start.
    gc.disable()
    from openevs.commands import serve as command

    settings, _ = settings_of(config, data_folder, server_host=host, server_port=port, api_profile=profile)
    command.run(settings)


@main.command()
@common
@click.option("--markdown", is_flag=True, help="Print the documentation of all settings instead.")
def show_config(config: Path | None, data_folder: str | None, markdown: bool) -> None:
    """Print every setting in force and where it came from."""
    from openevs.commands import config as command

    if markdown:
        click.echo(command.render_documentation(), nl=False)
        return
    click.echo(command.render(*settings_of(config, data_folder)))


@main.command()
def token() -> None:
    """Print a token for the user that the environment (openrc) names."""
    from openevs.commands import token as command

    click.echo(command.get_token(os.environ))


@main.group()
def access_key() -> None:
    """Keys to sign requests with (AK/SK), of the user that the environment (openrc) names."""


@access_key.command("create")
@click.option("--description", default="", help="What it is for.")
def create_access_key(description: str) -> None:
    """Create a key and print it for a shell; its secret is shown only this once."""
    from openevs.commands import access_key as command

    click.echo(command.create(os.environ, description))


@access_key.command("list")
def list_access_keys() -> None:
    """List the user's keys."""
    from openevs.commands import access_key as command

    click.echo(command.list_keys(os.environ))


@access_key.command("delete")
@click.argument("access")
def delete_access_key(access: str) -> None:
    """Delete the key with the id ACCESS."""
    from openevs.commands import access_key as command

    command.delete(os.environ, access)


@main.command()
@common
@click.argument("user")
def reset_password(config: Path | None, data_folder: str | None, user: str) -> None:
    """Give USER a new random password, with the service stopped, and print it."""
    from openevs.commands import reset_password as command

    settings, _ = settings_of(config, data_folder)
    done = command.run(settings, user)
    click.echo(done.password)
    for path in done.files:
        click.echo(f"It is in {path} now, too.", err=True)


@main.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--work-folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Where to work.")
@click.option("--keep", is_flag=True, help="Keep the data folder, to look into it.")
def demo(folder: Path | None, work_folder: Path | None, keep: bool) -> None:
    """Show the whole life of a snapshot with the files of FOLDER (default: this checkout), against a service of its
    own, and measure it."""
    from openevs.commands import demo as command

    command.run(folder, work_folder, keep=keep)


@main.command()
@common
def migrate(config: Path | None, data_folder: str | None) -> None:
    """Bring the database to the schema of this version; `serve` does so by itself."""
    from openevs.commands import migrate as command

    settings, _ = settings_of(config, data_folder)
    click.echo(command.run(settings))


@main.command()
@common
@click.option(
    "--rebuild", is_flag=True, help="Make rows for what is only in the pool or the vault: for a database that is lost."
)
@click.option("--project", help="With --rebuild: give everything to the project of this name.")
@click.option("--read-backups", is_flag=True, help="Also read every backup whole, and name each chunk that is damaged.")
def doctor(
    config: Path | None, data_folder: str | None, rebuild: bool, project: str | None, read_backups: bool
) -> None:
    """Compare pool, vault and database, with the service stopped; exit status 1 if something is not as it should be."""
    from openevs.commands import doctor as command
    from openevs.commands.table import render

    settings, _ = settings_of(config, data_folder)
    report = command.run(settings, rebuild=rebuild, project=project, read_backups=read_backups)
    if report.recovered is not None:
        made = report.recovered
        where = f" in {', '.join(made.projects)}" if made.projects else ""
        click.echo(f"Made rows for {made.volumes} volumes and {made.snapshots} snapshots{where}.")
        if made.backups:
            click.echo(f"Made rows for {made.backups} backups.")
        if made.ended:
            click.echo(f"Ended {made.ended} operations, as failed: what had become of them is not known.")
        if made.projects and settings.identity.kind == "embedded":
            folder = settings.data_folder
            click.echo(f"To use them, source {folder / 'openrc'} and set OS_PROJECT_NAME={made.projects[0]}.")
        if report.unmanaged:
            click.echo(f"Not managed, and left so; manage what you want: {', '.join(report.unmanaged)}.")
    click.echo(f"The pool has {report.volumes} volumes and {report.snapshots} snapshots.")
    if report.findings:
        click.echo(render(("WHAT", "ID", "FINDING"), report.findings))
        sys.exit(1)
    click.echo("All is well.")


@main.group()
def operation() -> None:
    """The work that the service has done and has to do."""


@operation.command("list")
@common
@click.option("--open", "only_open", is_flag=True, help="Only what has not ended.")
@click.option("--limit", default=100, show_default=True, help="The newest so many.")
def list_operations(config: Path | None, data_folder: str | None, only_open: bool, limit: int) -> None:
    """List operations, newest first."""
    from openevs.commands import operations as command

    settings, _ = settings_of(config, data_folder)
    click.echo(command.list_(settings, only_open=only_open, limit=limit))


@operation.command("show")
@common
@click.argument("operation_id", metavar="ID")
def show_operation(config: Path | None, data_folder: str | None, operation_id: str) -> None:
    """Print all about one operation, with the history of what it is about, as JSON."""
    from openevs.commands import operations as command

    settings, _ = settings_of(config, data_folder)
    click.echo(command.show(settings, operation_id))


@operation.command("retry")
@common
@click.argument("operation_id", metavar="ID")
def retry_operation(config: Path | None, data_folder: str | None, operation_id: str) -> None:
    """Make an operation that waits for its next try due now."""
    from openevs.commands import operations as command

    settings, _ = settings_of(config, data_folder)
    click.echo(command.retry(settings, operation_id))


@main.group()
def engine() -> None:
    """The engine that holds the bytes."""


@engine.command("check")
@common
@click.option("--pool", type=click.Path(path_type=Path), help="Folder to check in (default: the pool's).")
@click.option("--only", multiple=True, help="Run only the check of this name; may be given again.")
def check_engine(config: Path | None, data_folder: str | None, pool: Path | None, only: tuple[str, ...]) -> None:
    """Run the engine's conformance suite on the disk of the pool, in a subfolder that is removed after; exit status 1
    if a check fails."""
    from openevs.commands import engine_check as command

    settings, _ = settings_of(config, data_folder)
    failed = command.run(settings, pool, only, click.echo)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
