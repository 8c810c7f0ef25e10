"""What can be tuned in the layers engine; every default says why it is what it is."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class LayersSettings:
    """Settings of one `LayersEngine`; constant while it is open."""

    qmp_timeout_seconds: float = 10.0
    """A daemon answers in under a millisecond; ten seconds means that it, or the disk under it, hangs."""
    start_timeout_seconds: float = 20.0
    """Starting takes some ten milliseconds; a chain of hundreds of layers on a cold disk takes seconds."""
    stop_timeout_seconds: float = 5.0
    """A daemon that has not stopped by then is killed: what its clients had flushed is safe either way."""
    restart_pause_seconds: float = 1.0
    """Pause before a daemon that could not be started is tried again; a first restart is not delayed."""

    look_seconds: float = 10.0
    """How often it is looked whether a daemon's socket is still there: people tidy up."""

    cluster_bits: int = 17
    """128 KiB clusters with 4 KiB sub-clusters: fastest first writes after a snapshot, least space per snapshot."""
    max_volume_bytes: int = 64 << 40
    """Twice the largest data disk of the cloud; 16 TiB is what the tests create."""

    native_io: bool = True
    """Linux AIO instead of threads for served volumes, where there is direct I/O and room (`aio.py`)."""
    direct_io: bool = True
    """O_DIRECT where the file system has it: no second copy in the page cache, and errors reach the writer."""
    head_l2_cache_bytes: int = 8 * MIB
    """Covers 64 GiB of a volume; memory is taken only for what is touched."""
    backing_l2_cache_bytes: int = 1 * MIB
    """Covers 8 GiB of each frozen layer: a chain of ten costs a daemon less than 12 MiB."""
    cache_clean_seconds: int = 60
    """Metadata not used for that long leaves the daemon's memory; a frozen head was cached as a head."""
    open_files: int = 65536
    """A daemon needs up to two file descriptors for each layer, and 256 snapshots are allowed."""

    socket_mode: int = 0o600
    """Only our own user may connect to a volume's unix socket; a group that runs the guests may be let in."""
    tcp_host: str = "127.0.0.1"
    """The address that TCP exports listen on; loopback until an operator decides otherwise."""
    tcp_first_port: int = 10810
    """10809 is NBD's own port and likely taken by another server."""
    tcp_last_port: int = 11809
    """A thousand volumes by TCP on one machine."""

    probe: bool = True
    """Measure each cut's stall with requests of our own; costs one idle connection for each volume."""
    spare: bool = True
    """Keep the next head ready, so that a cut waits for no file to be made."""

    merge: bool = True
    """Merge layers that nothing needs; off only to look at a pool as it is."""
    merge_reserve_bytes: int = 64 * MIB
    """Room that a merge leaves in the pool, beyond what it may itself need."""
    merge_head_bytes: int = 16 * MIB
    """A live head is merged into the layer below only when it has grown by this: each time costs one cut."""
    merge_retry_seconds: float = 30.0
    """How often heads that have grown, and merges that could not be done, are looked at again."""

    reader_idle_seconds: float = 2.0
    """A reader is a process; tests and the doctor read one object many times in a row, then never again."""
