"""`openevs serve`: start, tell where things are, serve until told to stop."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import structlog
import uvloop

from openevs import __version__
from openevs.commands.failure import Failure
from openevs.compose import AlreadyRunning, Application, FolderUnusable
from openevs.domain.errors import Unavailable
from openevs.engine.errors import EngineError
from openevs.identity.bootstrap import Bootstrap
from openevs.identity.credentials import CLOUDS, OPENRC
from openevs.observe.log import configure_logging
from openevs.observe.stream import hold_standard_files, say
from openevs.operations.admission import WrongPool
from openevs.server import listen, serve, url_of
from openevs.settings import Settings
from openevs.store.schema import SchemaError
from openevs.vault.errors import VaultError

log = structlog.get_logger()
AUTOGROUP = Path("/proc/self/autogroup")
NICE = 5
"""A third of a guest's weight. The longest wait of its requests while a snapshot is taken falls by a fifth, and the
snapshot takes a quarter longer."""

FILES = 65536
"""For some twenty thousand attached volumes; where there is no limit at all, it is as well to have one."""
FEW_FILES = 1024
"""What a system gives everybody."""


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises Failure."""
    hold_standard_files()
    _give_way()
    configure_logging(settings.log)
    open_more_files()
    # Whatever this process makes is its owner's alone, unless it says otherwise.
    os.umask(0o077)
    try:
        listener = listen(settings.server)
    except OSError as error:
        address = f"{settings.server.host}:{settings.server.port}"
        text = f"Cannot listen on {address}: {error.strerror}. Choose another port with --port, or stop what uses it."
        raise Failure(text) from None
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener))


def open_more_files() -> None:
    """Have as many files open as we may: the usual limit is for programs that use `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < FEW_FILES:
        why = (
            "an attached volume takes two, and in its storage daemon one for each snapshot; a client takes one, and is "
            "cut off if none is left"
        )
        log.warning("few_open_files", limit=hard, why=why)


def _give_way() -> None:
    """Let guests, and the daemons that serve them, go first where cores are short, each being a session of its own. A
    session that we are not the leader of is somebody's terminal, and not ours to slow down."""
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # a kernel without autogroups, see sched(7)
            AUTOGROUP.write_text(str(NICE))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    base_url = settings.server.public_url or url_of(listener)
    try:
        app = Application(settings)
    except (AlreadyRunning, FolderUnusable) as error:
        raise Failure(str(error)) from None
    except VaultError as error:
        raise Failure(f"{error.reason[0].upper()}{error.reason[1:]}.") from None
    except OSError as error:
        raise Failure(f"{error.filename or 'A file'} cannot be used: {error.strerror}.") from None
    try:
        made = await app.start(base_url)
        # What was made so far stays. A full collection need not walk through all of it, which would hold up every
        # request for tens of milliseconds.
        gc.collect()
        gc.freeze()
        gc.enable()
        _announce(app, base_url, made)
        await serve(app.asgi, listener, stop)
    except EngineError as error:
        raise Failure(error.reason) from None
    except (SchemaError, WrongPool, Unavailable) as error:
        raise Failure(str(error)) from None
    finally:
        await app.stop()
    say(["OpenEVS has stopped; attached volumes go on being served."], sys.stdout)


def _announce(app: Application, base_url: str, made: Bootstrap) -> None:
    facts = app.engine.describe()
    folder = app.settings.data_folder
    clouds, openrc = folder / CLOUDS, folder / OPENRC
    command = Path(sys.argv[0]).absolute()
    lines = [f"OpenEVS {__version__} serves {base_url} (engine {facts.kind}, {facts.version}, in {facts.location})"]
    if made.is_new:
        lines += [
            "",
            f"This is its first start. It has made an administrator ({made.admin_user}), a user ({made.demo_user})",
            f"and a project ({made.demo_project}). Their passwords are in these files, which only you can read:",
            f"  {clouds}    for OpenStack tools: clouds openevs and openevs-admin",
            f"  {openrc}         for a shell, and for Huawei's SDKs",
            "",
            "To make a first volume, in another shell:",
            f"  source {openrc}",
            f"  TOKEN=$({command} token)",
            "  curl -H \"X-Auth-Token: $TOKEN\" -H 'Content-Type: application/json' \\",
            f'       -d \'{{"volume": {{"name": "first", "size": 1}}}}\' {base_url}/v3/volumes',
        ]
    say(lines, sys.stdout)
