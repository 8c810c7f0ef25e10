"""Writing a volume that is not exported: by a daemon of ours on its head, until `flush` or until the head is wanted.

Nothing is written to the manifest. Killed in the middle, the daemon is ended by the next process, and the volume holds
what a disk does whose machine lost power: all that was flushed, and of the rest some.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openevs.domain.ids import VolumeId
from openevs.engine.errors import Busy, Mismatch, Transient
from openevs.engine.layers.faults import translated
from openevs.engine.layers.merge import Merger
from openevs.engine.layers.reads import Reader, Readers
from openevs.engine.nbd_status import ALLOCATION, READS_AS_ZEROS, NbdStatus


class Writing:
    """The methods of the contract that write."""

    def __init__(self, merger: Merger, readers: Readers) -> None:
        self._core = merger.core
        self._merger = merger
        self._readers = readers

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        """Write a range."""
        async with self._writer(volume_id, offset_bytes, len(data)) as writer:
            with translated():
                await writer.client.write(offset_bytes, data)

    async def write_zeros(self, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
        """Zero what is not zeros already: QEMU would note each cluster of an empty volume as one that is zeroed."""
        async with self._writer(volume_id, offset_bytes, length_bytes) as writer:
            with translated():
                async with await NbdStatus.connect(writer.uri, ALLOCATION) as status:
                    async for run in status.runs(offset_bytes, length_bytes):
                        if not run.value & READS_AS_ZEROS:
                            await writer.client.write_zeroes(run.offset, run.length)

    async def flush(self, volume_id: VolumeId) -> None:
        """Make durable what was written, and let go of the head."""
        core = self._core
        async with core.lock_of(volume_id):
            if (volume := core.volumes.get(volume_id)) is None:
                return
            try:
                await self._readers.drop(volume.manifest.head)  # waits for who is just letting go of it
                if volume.writes_lost:  # by this writer, or by one before it
                    raise Transient(f"what was written to volume {volume_id} could not be made durable: write it again")
            finally:
                volume.writes_lost = False

    @asynccontextmanager
    async def _writer(self, volume_id: VolumeId, offset: int, length: int) -> AsyncIterator[Reader]:
        core = self._core
        async with core.lock_of(volume_id):
            volume = core.volume(volume_id)
            if volume.manifest.export is not None:
                raise Busy(f"volume {volume_id} is exported: write it as a client", by=(volume_id,))
            size = volume.manifest.size_bytes
            if offset < 0 or length < 0 or offset + length > size:
                raise Mismatch(f"volume {volume_id} has {size} bytes", expected=offset + length, found=size)
            head = volume.manifest.head
            if self._readers.writer(head) is None:
                with core.reserving(core.chain(head)):
                    await self._merger.release(volume)
                    writer = await self._readers.get(core.chain(head), writes=volume)
            else:
                writer = await self._readers.get(core.chain(head), writes=volume)
        async with self._readers.using(writer):
            yield writer
