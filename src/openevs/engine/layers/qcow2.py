"""The few bytes of qcow2 that this engine reads and writes itself.

An empty layer is a few small writes into a sparse file: no process and some 20 KiB on disk, where `qemu-img create`
takes 10 ms and 400 KiB. Reading a header tells a layer's size and its parent without opening the chain.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAGIC: Final = 0x514649FB
_HEADER: Final = struct.Struct(">IIQIIQIIQQIIQQQQIIB7x")  # version 3, 112 bytes
_BACKING_FORMAT: Final = 0xE2792ACA
_EXTENDED_L2: Final = 1 << 4
_KNOWN_INCOMPATIBLE: Final = 0b11 | _EXTENDED_L2  # dirty, corrupt, extended L2
CORRUPT: Final = 1 << 1
_REFCOUNT_ORDER: Final = 4
_NOT_SHARED: Final = 1 << 63  # of an entry in L1: QEMU may write to the table where it is
_NAME_AT: Final = 512  # the parent's name fills part of one sector, so that it is replaced in one piece
_NAME_MAX: Final = 256
_L2_ENTRY_BYTES: Final = 16
_READY_TABLES: Final = 64
"""L2 tables that an empty layer has: holes in its file, which say that nothing is allocated. Without them, the first
write after a snapshot waits for QEMU to write one, in dozens of pieces, and for the flushes that keep them in order.
Each covers a GiB; with more of them, looking for what a large layer holds would take longer."""


class Qcow2Error(ValueError):
    """The file is no layer of ours, or is damaged; the text names it."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a layer says of itself."""

    size_bytes: int
    parent: str | None
    """File name of the layer below, or None."""


def write_empty(path: Path, size_bytes: int, cluster_bits: int, parent: str | None) -> None:
    """Create `path` (which must not exist) as an empty layer, and put it on stable storage. Raises OSError."""
    cluster = 1 << cluster_bits
    l1_entries = _l1_entries(size_bytes, cluster)
    l1_clusters = -(-l1_entries * 8 // cluster)
    tables_at = 3 + l1_clusters  # after header, refcount table, refcount block, L1
    tables = min(l1_entries, _READY_TABLES)
    used = tables_at + tables
    name = (parent or "").encode()
    header = _HEADER.pack(
        _MAGIC, 3, _NAME_AT if name else 0, len(name), cluster_bits, size_bytes, 0, l1_entries, 3 * cluster, cluster,
        1, 0, 0, _EXTENDED_L2, 0, 0, _REFCOUNT_ORDER, _HEADER.size, 0,
    )  # fmt: skip
    extensions = struct.pack(">II8s", _BACKING_FORMAT, 5, b"qcow2") if name else b""
    extensions += struct.pack(">II", 0, 0)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.pwrite(file, (header + extensions).ljust(_NAME_AT, b"\0") + name.ljust(_NAME_MAX, b"\0"), 0)
            os.pwrite(file, struct.pack(">Q", 2 * cluster), cluster)
            os.pwrite(file, struct.pack(">H", 1) * used, 2 * cluster)
            entries = [_NOT_SHARED | (tables_at + number) * cluster for number in range(tables)]
            os.pwrite(file, struct.pack(f">{tables}Q", *entries), 3 * cluster)
            os.ftruncate(file, used * cluster)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def read_header(path: Path) -> Header:
    """Return what the layer says of itself. Raises OSError, Qcow2Error."""
    with path.open("rb") as file:
        data = file.read(4096)
    if len(data) < _HEADER.size:
        raise Qcow2Error(f"{path} is cut short: {len(data)} bytes")
    magic, version, name_at, name_size, _, size, _, _, _, _, _, _, _, incompatible, *_ = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != 3:
        raise Qcow2Error(f"{path} is not a qcow2 file of version 3")
    if incompatible & CORRUPT:
        raise Qcow2Error(f"{path} is marked as corrupt by QEMU")
    if incompatible & ~_KNOWN_INCOMPATIBLE or size % 512:
        raise Qcow2Error(f"{path} uses qcow2 features that no layer has ({incompatible:#x}, size {size})")
    if not name_at:
        return Header(size, None)
    if name_at + name_size > len(data) or name_size > _NAME_MAX:
        raise Qcow2Error(f"{path} has a damaged header: its parent's name lies outside")
    return Header(size, data[name_at : name_at + name_size].decode(errors="replace"))


def replace_parent(path: Path, parent: str) -> None:
    """Let the layer hang on `parent`, a name as long as the old one, in one write. Raises OSError, Qcow2Error."""
    with path.open("r+b") as file:
        data = file.read(_HEADER.size)
        if len(data) < _HEADER.size:
            raise Qcow2Error(f"{path} is cut short: {len(data)} bytes")
        _, _, name_at, name_size, *_ = _HEADER.unpack(data)
        if name_size != len(parent.encode()):
            raise Qcow2Error(f"{path} has a parent whose name is not one of ours")
        file.seek(name_at)
        file.write(parent.encode())
        file.flush()
        os.fsync(file.fileno())


def _l1_entries(size_bytes: int, cluster: int) -> int:
    covered = cluster // _L2_ENTRY_BYTES * cluster
    return max(1, -(-size_bytes // covered))
