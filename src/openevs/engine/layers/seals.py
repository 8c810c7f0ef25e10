"""Frozen layers are made read-only a little after the cut, so that clients do not wait for it in the cut.

Nothing writes to a frozen layer: until it is sealed its daemon just has it open to be written, and so keeps all other
processes out. It is sealed before another one opens it, before it takes part in a merge, and else in the background.
"""

import contextlib
from collections.abc import Iterable

import structlog

from openevs.engine.errors import EngineError, OutcomeUnknown
from openevs.engine.layers.core import Core
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.host import Host

_log = structlog.get_logger()


async def seal(core: Core, host: Host) -> None:
    """Make the frozen layers that this daemon may write read-only, one after the other: each holds clients up, for less
    than a cut does. Wants `host.lock` held."""
    for layer in sorted(host.unsealed):
        if layer in core.parents:
            options = core.node(layer, writable=False, backing=core.parents[layer])
            try:
                await host.daemon.execute("blockdev-reopen", {"options": [options]})
            except OutcomeUnknown:
                raise
            except EngineError as error:  # a merge may be writing it; it makes it read-only itself, or we next time
                _log.info("layer_not_sealed", layer=layer, reason=error.reason)
                continue
        host.unsealed.discard(layer)


async def seal_for(core: Core, layers: Iterable[LayerId], opener: Host | None = None) -> None:
    """Let another daemon, or the one of this host, open the layers: no other is to have them open to be written. One
    that cannot be reached keeps them, and the opener is refused; or it has died, and nobody has them."""
    wanted = set(layers)
    for host in list(core.hosts.values()):
        if host is not opener and not host.unsealed.isdisjoint(wanted):
            with contextlib.suppress(EngineError):
                async with host.lock:
                    await seal(core, host)
