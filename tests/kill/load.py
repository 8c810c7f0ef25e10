"""The load: workers that ask for random things, and keep the journal of what they were answered.

Whatever a worker asks, it writes into the journal before it sends the request what would follow if the answer were
lost, and after the answer what is known then.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from tests.kill.backups import BackupLoad
from tests.kill.clients import Answer, Client, HttpClient
from tests.kill.groups import GroupLoad
from tests.kill.instants import name_copies, name_snapshots
from tests.kill.journal import Grp, Slots, Snap, Vol, World, close, kept, widened
from tests.kill.writer import Writer

T = TypeVar("T")
MOST_VOLUMES: Final = 9
MOST_SNAPSHOTS: Final = 14
LARGEST_GIB: Final = 4
TYPES: Final = ("layers", "SSD", "SAS")
"""Types between which volumes change; every installation has them."""
TCP_SHARE: Final = 0.7
_PAUSE_SECONDS: Final = 0.03
_WATCH_SECONDS: Final = 0.1


@dataclass
class Tally:
    """What the requests were answered, for the table at the end."""

    sent: int = 0
    accepted: int = 0
    refused: int = 0
    lost: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers that no request may get."""

    def count(self, kind: str, answer: Answer) -> None:
        """Count one answer."""
        self.sent += 1
        if answer.accepted:
            self.accepted += 1
            self.kinds[kind] += 1
        elif answer.status is None:
            self.lost += 1
        elif answer.status in (400, 404, 409):
            self.refused += 1
        else:
            self.wrong.append(f"{kind} was answered {answer.status}: {answer.body}")


class Load:
    """Workers on one world."""

    def __init__(self, world: World, tally: Tally, rng: random.Random, *, acknowledged_is_safe: bool) -> None:
        self.world, self.tally = world, tally
        self.writers: dict[Vol, Writer] = {}
        self.records = 0
        """Written by writers that have ended."""
        self.safe = acknowledged_is_safe
        self._rng = rng
        self._stop = asyncio.Event()
        self._moves: dict[str, tuple[int, Callable[[Client], Awaitable[None]]]] = {
            "create": (5, self._create),
            "clone": (3, self._clone),
            "from snapshot": (4, self._from_snapshot),
            "snapshot": (14, self._snapshot),
            "attach": (8, self._attach),
            "detach": (4, self._detach),
            "extend": (3, self._extend),
            "put back": (5, self._put_back),
            "transfer": (3, self._transfer),
            "retype": (4, self._retype),
            "delete snapshot": (6, self._delete_snapshot),
            "delete volume": (4, self._delete_volume),
            **BackupLoad(world, tally.count, rng, MOST_VOLUMES).moves(),
            **GroupLoad(world, tally.count, rng, MOST_VOLUMES, TYPES).moves(),
        }

    def also(self, moves: dict[str, tuple[int, Callable[[Client], Awaitable[None]]]]) -> None:
        """Let workers do more."""
        self._moves |= moves

    def resume(self) -> None:
        """Let workers run again, and writers on what is attached."""
        self._stop.clear()
        for volume in self.world.live_volumes():
            if volume.uri and volume not in self.writers:
                self._write(volume)

    def stop(self) -> None:
        """Let workers end with their present request."""
        self._stop.set()

    async def pause_writers(self) -> None:
        """End all writers; what they have acknowledged is flushed if its volume is served."""
        writers, self.writers = self.writers, {}
        await asyncio.gather(*(writer.stop() for writer in writers.values()))
        self.records += sum(writer.records for writer in writers.values())

    async def work(self, client: Client) -> None:
        """One worker."""
        names, weights = list(self._moves), [weight for weight, _ in self._moves.values()]
        while not self._stop.is_set():
            name = self._rng.choices(names, weights)[0]
            await self._moves[name][1](client)
            await asyncio.sleep(self._rng.uniform(0, _PAUSE_SECONDS))

    # Volumes

    async def _create(self, client: Client) -> None:
        if len(self.world.live_volumes()) >= MOST_VOLUMES:
            return
        group = self._pick([None, *self.world.live_groups()])
        if group is None:
            await self._make(client, 1, {}, None, None)
        else:
            with kept(group):
                await self._make(client, 1, {}, None, None, group)

    async def _clone(self, client: Client) -> None:
        source = self._pick(self.world.live_volumes())
        if source and len(self.world.live_volumes()) < MOST_VOLUMES:
            await self._make(client, source.size, dict(source.slots), None, source)

    async def _from_snapshot(self, client: Client) -> None:
        snapshot = self._pick(self.world.usable_snapshots())
        if snapshot and len(self.world.live_volumes()) < MOST_VOLUMES:
            await self._make(client, snapshot.volume.size, dict(snapshot.slots), snapshot, snapshot.volume)

    async def _make(
        self,
        client: Client,
        size: int,
        slots: Slots,
        snapshot: Snap | None,
        source: Vol | None,
        group: Grp | None = None,
    ) -> None:
        made = Vol(self.world.new_name("vol"), size, slots, groups=frozenset((group,)))
        self.world.volumes.append(made)
        if source is not None and snapshot is None:
            source.taking.append(made)
        answer = await client.create_volume(
            made.name,
            size,
            snapshot.id if snapshot else None,
            source.id if source and not snapshot else None,
            group.id if group else None,
        )
        self.tally.count("create volume", answer)
        if answer.accepted:
            made.id, made.accepted = answer.body["id"], True
        elif not answer.unknown:
            self._forget(made, source)

    def _forget(self, made: Vol, source: Vol | None) -> None:
        self.world.volumes.remove(made)
        if source is not None and made in source.taking:
            source.taking.remove(made)

    async def _extend(self, client: Client) -> None:
        volume = self._pick(self.world.live_volumes())
        if volume is None or volume.size >= LARGEST_GIB:
            return
        size = volume.size + 1
        answer = await client.extend(str(volume.id), size)
        self.tally.count("extend", answer)
        if answer.accepted:
            volume.size = max(volume.size, size)

    async def _delete_volume(self, client: Client) -> None:
        detached = [one for one in self.world.live_volumes() if not one.uri and not self.world.keeps_strays(one)]
        volume = self._pick(detached if len(detached) > 2 else [])
        if volume is None:
            return
        volume.delete_sent = True
        answer = await client.delete_volume(str(volume.id), cascade=self._rng.random() < 0.5)
        self.tally.count("delete volume", answer)
        volume.deleted |= answer.accepted
        volume.delete_sent = answer.accepted or answer.unknown

    # Snapshots

    async def _snapshot(self, client: Client) -> None:
        volume = self._pick(self.world.live_volumes())
        if volume is None or len(self.world.live_snapshots()) >= MOST_SNAPSHOTS:
            return
        made = Snap(self.world.new_name("snap"), volume, dict(volume.slots))
        self.world.snapshots.append(made)
        volume.taking.append(made)
        answer = await client.create_snapshot(str(volume.id), made.name, force=self._rng.random() < 0.9)
        self.tally.count("create snapshot", answer)
        if answer.accepted:
            made.id, made.accepted = answer.body["id"], True
        elif not answer.unknown:
            self.world.snapshots.remove(made)
            volume.taking.remove(made)

    async def _delete_snapshot(self, client: Client) -> None:
        snapshot = self._pick(self.world.live_snapshots())
        if snapshot is None:
            return
        snapshot.delete_sent = True
        answer = await client.delete_snapshot(str(snapshot.id))
        self.tally.count("delete snapshot", answer)
        snapshot.deleted |= answer.accepted
        # It may have been deleted with its group snapshot before this was refused.
        snapshot.delete_sent = snapshot.deleted or answer.unknown

    async def _put_back(self, client: Client) -> None:
        snapshot = self._pick([one for one in self.world.usable_snapshots() if not one.volume.uri])
        if snapshot is None or snapshot.volume.busy:
            return
        volume, before = snapshot.volume, dict(snapshot.volume.slots)
        with kept(volume):
            # Until the answer, and for what is just being taken of the volume, both are possible.
            for one in volume.reached():
                one.slots = widened(one.slots, snapshot.slots)
            volume.overwritten()
            answer = await client.put_back(str(volume.id), str(snapshot.id))
        self.tally.count("put back", answer)
        if answer.accepted:
            volume.slots = dict(snapshot.slots)
        elif not answer.unknown:
            volume.slots = before

    async def _transfer(self, client: Client) -> None:
        """Offer a volume, and accept it into the same project or take it back: its bytes are what they were."""
        volume = self._pick([one for one in self.world.live_volumes() if not one.uri and not one.busy])
        if volume is None:
            return
        with kept(volume):
            answer = await client.transfer(str(volume.id), accept=self._rng.random() < 0.5)
        self.tally.count("transfer", answer)

    async def _retype(self, client: Client) -> None:
        """Ask for a type, which may be the one it has: the bytes are what they were, attached or not."""
        volume = self._pick([one for one in self.world.live_volumes() if not one.busy])
        if volume is None:
            return
        with kept(volume):
            answer = await client.retype(str(volume.id), self._rng.choice(TYPES))
        self.tally.count("retype", answer)

    # Attachments

    async def _attach(self, client: Client) -> None:
        volume = self._pick([one for one in self.world.live_volumes() if not one.uri and not one.busy])
        if volume is None:
            return
        # What is served over TCP cannot be frozen at one instant with others that are served.
        volume.apart = volume.groups == {None} and not volume.moving and self._rng.random() < TCP_SHARE
        with kept(volume):
            answer = await client.attach(str(volume.id), "tcp" if volume.apart else "unix")
            self.tally.count("attach over TCP" if volume.apart else "attach", answer)
            if answer.accepted:
                volume.attachment, volume.uri = answer.body
                self._write(volume)
            elif not answer.unknown:
                volume.apart = False

    async def _detach(self, client: Client) -> None:
        volume = self._pick([one for one in self.writers if one.uri and not one.busy])
        if volume is None or len(self.writers) < 3:
            return
        with kept(volume):
            writer = self.writers.pop(volume)
            await writer.stop()
            self.records += writer.records
            uri, attachment = str(volume.uri), str(volume.attachment)
            volume.uri = volume.attachment = None
            answer = await client.detach(str(volume.id), attachment)
            self.tally.count("detach", answer)
            volume.apart = volume.apart and not answer.accepted
            if not answer.accepted and not answer.unknown:
                volume.uri, volume.attachment = uri, attachment
                self._write(volume)

    async def watch(self, client: HttpClient) -> None:
        """List everything again and again, and note what has become available: what is begun later is not in it."""
        while not self._stop.is_set():
            everything: dict[str, list[Vol | Snap | Grp]] = {
                "volumes": [*self.world.volumes],
                "snapshots": [*self.world.snapshots],
                "backups": [*self.world.backups],
                "groups": [*self.world.groups],
            }
            for kind, things in everything.items():
                answer = await client.call("GET", f"{kind}/detail")
                if answer.status != 200:
                    continue
                rows = {one["id"]: one for one in answer.body[kind]}
                if kind == "volumes":
                    name_copies(self.world, rows)
                if kind == "snapshots":
                    name_snapshots(self.world, rows)
                there = {one_id: row["status"] for one_id, row in rows.items()}
                for thing in things:
                    if thing.open and there.get(str(thing.id)) in ("available", "in-use"):
                        close(thing, self.world)
            await asyncio.sleep(_WATCH_SECONDS)

    def _write(self, volume: Vol) -> None:
        rng = random.Random(self._rng.random())
        self.writers[volume] = Writer(volume, self.world.numbers, rng, acknowledged_is_safe=self.safe)

    def _pick(self, some: Sequence[T]) -> T | None:
        return self._rng.choice(some) if some else None
