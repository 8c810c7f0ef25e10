"""Reading snapshots and detached volumes as any client can: through the API alone.

A snapshot is read through a volume made from it, which is attached, read over NBD, and deleted.
"""

import asyncio
import time
from typing import Final

from tests.kill.clients import HttpClient
from tests.kill.journal import RECORD_BYTES, SLOTS, Slots, Snap, Vol, WrongBytes, check_slots
from tests.kill.writer import Stuck, read_slots

_SECONDS: Final = 20.0
_AT_A_TIME: Final = 3


class Reader:
    """Reads and compares; counts what was compared."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._room = asyncio.Semaphore(_AT_A_TIME)
        self.snapshots = 0
        self.volumes = 0
        self.bytes = 0

    async def attached(self, volume: Vol) -> list[str]:
        """Compare a volume that is being served."""
        wrong, volume.slots = await self._compare(str(volume.uri), volume.slots, f"volume {volume.id}, attached")
        self.volumes += 1
        return wrong

    async def detached(self, volume: Vol) -> list[str]:
        """Compare a volume that is not attached; it is not attached afterwards."""
        async with self._room:
            wrong, volume.slots = await self._through(str(volume.id), volume.slots, f"volume {volume.id}, detached")
            self.volumes += 1
            return wrong

    async def snapshot(self, snapshot: Snap) -> list[str]:
        """Compare a snapshot."""
        what = f"snapshot {snapshot.id} ({snapshot.name}, read {snapshot.times_read} times before)"
        async with self._room:
            shown = (await self._client.get(f"snapshots/{snapshot.id}"))["snapshot"]
            made = await self._client.create_volume(f"check-{snapshot.id}", shown["size"], str(snapshot.id))
            if not made.accepted:
                return [f"{what}: no volume can be made from it: {made}"]
            volume_id = str(made.body["id"])
            wrong = await self._until(volume_id, "available")
            if not wrong:
                wrong, snapshot.slots = await self._through(volume_id, snapshot.slots, what)
                snapshot.times_read += 1
                self.snapshots += 1
            gone = await self._client.delete_volume(volume_id, cascade=False)
            if not gone.accepted:
                return [*wrong, f"{what}: the volume made from it cannot be deleted: {gone}"]
            return wrong + await self._until(volume_id, "gone")

    async def _through(self, volume_id: str, slots: Slots, what: str) -> tuple[list[str], Slots]:
        attached = await self._client.attach(volume_id)
        if not attached.accepted:
            return [f"{what}: cannot be attached: {attached}"], slots
        attachment_id, uri = attached.body
        wrong, slots = await self._compare(uri, slots, what)
        detached = await self._client.detach(volume_id, attachment_id)
        if not detached.accepted:
            wrong.append(f"{what}: cannot be detached: {detached}")
        return wrong, slots

    async def _compare(self, uri: str, slots: Slots, what: str) -> tuple[list[str], Slots]:
        try:
            found = await read_slots(uri)
        except (Stuck, WrongBytes) as error:
            return [f"{what}: {error}"], slots
        self.bytes += SLOTS * RECORD_BYTES
        # What has been read, and flushed, is what is there from now on.
        return check_slots(slots, found, what), {slot: frozenset((number,)) for slot, number in found.items()}

    async def _until(self, volume_id: str, status: str) -> list[str]:
        until = time.monotonic() + _SECONDS
        while True:
            answer = await self._client.call("GET", f"volumes/{volume_id}")
            found = "gone" if answer.status == 404 else answer.body["volume"]["status"]
            if found == status:
                return []
            if found.startswith("error") or time.monotonic() > until:
                return [f"volume {volume_id} is {found}, not {status}: {answer.body}"]
            await asyncio.sleep(0.01)
