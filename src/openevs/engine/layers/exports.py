"""How a volume is served: QEMU's words for its layers and its NBD server, and the facts a client needs.

Daemons go on while the service is replaced by another version, which looks for what they hold by the names made here.
"""

import errno
import hashlib
import json
import os
import secrets
import socket
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import structlog

from openevs.domain.ids import VolumeId
from openevs.engine.errors import Transient
from openevs.engine.layers.daemon import RunFiles
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Export, Manifest
from openevs.engine.layers.settings import LayersSettings
from openevs.engine.port import ExportFacts, ExportSpec, Limits

_log = structlog.get_logger()
TLS_USERNAME: Final = "openevs"
_PSK_BYTES: Final = 32


def node_name(layer: LayerId) -> str:
    """Return the layer's name within a daemon: 48 of its random bits, for QEMU takes its time with each character."""
    return "l" + _short(bytes.fromhex(layer.replace("-", "")[:12]))


def file_name(node: str) -> str:
    """Return the name of the file under a layer's node."""
    return "f" + node[1:]


def export_id(volume_id: VolumeId) -> str:
    """Return the name of the volume's export within a daemon."""
    return f"export-{_mark(volume_id)}"


def filter_name(volume_id: VolumeId) -> str:
    """Return the name of the node through which the volume's clients write."""
    return f"t{_mark(volume_id)}"


def limits_id(volume_id: VolumeId) -> str:
    """Return the name of the object that holds the volume's limits."""
    return f"g{_mark(volume_id)}"


def _mark(volume_id: VolumeId) -> str:
    return _short(hashlib.sha256(volume_id.encode()).digest()[:6])


def _short(bits: bytes) -> str:
    return urlsafe_b64encode(bits).decode()


def qemu_limits(limits: Limits) -> dict[str, int]:
    """Return the limits in QEMU's words, in which none is 0."""
    return {
        "bps-total": limits.total_bytes or 0, "bps-read": limits.read_bytes or 0, "bps-write": limits.write_bytes or 0,
        "iops-total": limits.total_requests or 0, "iops-read": limits.read_requests or 0,
        "iops-write": limits.write_requests or 0,
    }  # fmt: skip


def file_options(layer: LayerId, path: Path, *, direct: bool, options: Mapping[str, object]) -> dict[str, Any]:
    """Return the `blockdev-add` options that open the layer's file, for writes too: it has a name of its own so that it
    stays as it is when the layer is frozen. Else QEMU opens it anew, while clients wait.

    The file's name is without its folder, in which the daemon runs: then it is the name in the header of the layer
    above. Were it another, QEMU would describe each layer by a text that holds the whole chain below, and a chain of
    257 took half a minute to open."""
    return {
        "driver": "file", "node-name": file_name(node_name(layer)), "filename": path.name,
        "discard": "unmap", "cache": {"direct": direct}, **options,
    }  # fmt: skip


def node_options(
    layer: LayerId, settings: LayersSettings, *, writable: bool, backing: LayerId | None
) -> dict[str, Any]:
    """Return the `blockdev-add` options that open the layer on its open file; without `backing` the chain below is left
    closed."""
    return {
        "driver": "qcow2",
        "node-name": node_name(layer),
        "read-only": not writable,
        "discard": "unmap",
        "l2-cache-size": settings.head_l2_cache_bytes if writable else settings.backing_l2_cache_bytes,
        "l2-cache-entry-size": 4096,
        "cache-clean-interval": settings.cache_clean_seconds,
        "backing": node_name(backing) if backing else None,
        "file": file_name(node_name(layer)),
    }


def filter_options(manifest: Manifest, head: LayerId) -> dict[str, Any]:
    """Return the options that open the volume's filter on this head, or put it on this head instead of another."""
    options = {
        "driver": "throttle", "node-name": filter_name(manifest.volume_id), "file": node_name(head),
        "discard": "unmap",  # else it drops what clients discard
        "throttle-group": limits_id(manifest.volume_id),
    }  # fmt: skip
    read_only = manifest.export is not None and manifest.export.read_only
    return options | ({"read-only": True} if read_only else {})


def server_words(export: Export, files: RunFiles) -> list[str]:
    """Return the arguments of a daemon that serves volumes, none yet."""
    if export.transport == "unix":
        return ["--nbd-server", unix_server(files)]
    credentials = {"qom-type": "tls-creds-psk", "id": "tls0", "endpoint": "server", "dir": str(files.tls)}
    address = {"type": "inet", "host": export.host, "port": str(export.port)}
    server = {"addr": address, "max-connections": 0, "tls-creds": "tls0"}
    return ["--object", json.dumps(credentials), "--nbd-server", json.dumps(server)]


def unix_server(files: RunFiles) -> str:
    """Return the options of an NBD server on the daemon's unix socket."""
    return json.dumps({"addr": {"type": "unix", "path": str(files.nbd)}, "max-connections": 0})


def export_options(manifest: Manifest) -> dict[str, Any]:
    """Return the `block-export-add` options that serve the volume."""
    return {
        "type": "nbd", "id": export_id(manifest.volume_id), "node-name": filter_name(manifest.volume_id),
        "name": str(manifest.volume_id),
        "writable": manifest.export is not None and not manifest.export.read_only,
    }  # fmt: skip


def planned(spec: ExportSpec, settings: LayersSettings, taken_ports: Set[int]) -> Export:
    """Return how the volume is to be served from now on: with TCP, a free port and a fresh key. Blocking.

    Over TCP nobody is served together: whoever has the key to a server may list and open all that it serves."""
    if spec.transport == "unix":
        return Export("unix", spec.read_only, limits=spec.limits, together=spec.together)
    host, reason = settings.tcp_host, "each is taken"
    for port in range(settings.tcp_first_port, settings.tcp_last_port + 1):
        if port in taken_ports:
            continue
        error = _try_port(host, port)
        if error is None:
            return Export("tcp", spec.read_only, host, port, secrets.token_hex(_PSK_BYTES), limits=spec.limits)
        if error.errno == errno.EADDRINUSE:
            _log.info("port_taken", host=host, port=port)
        else:  # no such address on this machine, or ports that only root may have
            reason = error.strerror or str(error)
    raise Transient(
        f"no TCP port can be had on {host} from {settings.tcp_first_port} to {settings.tcp_last_port}: {reason}"
    )


def write_key(export: Export, files: RunFiles) -> None:
    """Put the key where the daemon reads it; only we may read it too. Blocking."""
    if export.psk_hex is None:
        return
    files.make_folder()
    files.tls.mkdir(mode=0o700, exist_ok=True)
    path = files.tls / "keys.psk"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{TLS_USERNAME}:{export.psk_hex}\n")


def facts(volume_id: VolumeId, export: Export, files: RunFiles) -> ExportFacts:
    """Return what a client needs to connect."""
    name = quote(volume_id, safe="")
    if export.transport == "unix":
        uri = f"nbd+unix:///{name}?socket={quote(str(files.nbd))}"
        return ExportFacts(
            volume_id, uri, "unix", export.read_only, socket_path=str(files.nbd), export_name=str(volume_id)
        )
    host = f"[{export.host}]" if export.host and ":" in export.host else export.host
    return ExportFacts(
        volume_id, f"nbds://{TLS_USERNAME}@{host}:{export.port}/{name}", "tcp", export.read_only,
        host=export.host, port=export.port, export_name=str(volume_id),
        tls_username=TLS_USERNAME, tls_psk_hex=export.psk_hex,
    )  # fmt: skip


def _try_port(host: str, port: int) -> OSError | None:
    """Return why nothing can listen there; None: it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None
