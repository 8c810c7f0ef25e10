"""Giving back the room that only a removed backup took.

    1. the backup's index is noted as ended, and removed: from here on the backup does not exist
    2. its segments that no index names are read: their chunks may go, unless
    3. a segment that is still named names them too, or a backup under way holds or claims them (`claims.py`)
    4. the chunks are removed, then the segments; then the note, unless 3 kept something that a backup under way may in
       the end not need: it is looked at again when that backup has ended

Killed anywhere it is done again from 2: a segment stays until all that it names is gone. A backup that was begun and
never finished has no index; what it stored is found by looking at every chunk that is there. So is what an attempt
that was interrupted had stored, and the one that succeeded did not need.

If an index or a segment that is still needed cannot be read, nobody knows what it needs: nothing is removed then.
Blocking; one collection at a time.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from openevs.domain.ids import BackupId
from openevs.vault.contents import Contents
from openevs.vault.errors import Damaged
from openevs.vault.index import Root

_log = structlog.get_logger()
_BATCH: Final = 500
"""Chunks removed at a time; nobody can claim one of them meanwhile."""


def remove_backup(contents: Contents, backup_id: BackupId) -> None:
    """Make the backup not exist, and collect. May be called again."""
    was_there = contents.end(backup_id)
    unfinished = contents.was_begun(backup_id) and not was_there and backup_id not in contents.ended_ids()
    try:
        collect(contents)
        if unfinished:
            sweep(contents)
    except Damaged as error:
        _log.error("vault_room_kept", backup_id=backup_id, reason=error.reason)
        return
    contents.forget_begun(backup_id)
    contents.store.settle()


def collect(contents: Contents) -> None:
    """Give back the room of every backup that was removed, as far as nothing else needs it. Raises Damaged."""
    done = True
    for ended in contents.ended_ids():
        done &= _collect(contents, ended)
    contents.collected = done


def _collect(contents: Contents, ended: BackupId) -> bool:
    """Collect what one backup needed; say whether nothing of it is left for later."""
    try:
        root = contents.ended_root(ended)
    except Damaged as error:  # nobody can say what it needed; the rest of the vault is not affected
        _log.error("vault_room_lost", backup_id=ended, reason=error.reason)
        root = None
    if root is not None:
        with contents.claims.collecting() as held:
            if not _collect_root(contents, root, held):
                return False
    contents.forget_ended(ended)
    return True


def _collect_root(contents: Contents, root: Root, held: set[bytes]) -> bool:
    backup_id = BackupId(root.backup_id)
    named = _named_segments(contents)
    needed = held | named
    segments = list(dict.fromkeys(ref.name for ref in root.segments if ref.name not in needed))
    chunks: set[bytes] = set()
    for segment in segments:
        try:
            chunks.update(run.chunk for run in contents.segment(segment, backup_id, 0))
        except Damaged as error:  # gone already, or its chunks are lost
            _log.info("vault_segment_skipped", backup_id=backup_id, reason=error.reason)
    if chunks:
        for segment in needed:
            chunks.difference_update(run.chunk for run in contents.segment(segment, backup_id, 0))
    if not _remove(contents, chunks):
        return False  # the segments must stay, or nobody knows of these chunks
    return _remove(contents, segments) and not any(ref.name in held - named for ref in root.segments)


def sweep(contents: Contents) -> None:
    """Remove every chunk and segment that nothing names. Raises Damaged."""
    with contents.claims.collecting() as held:
        # What is there is listed first: what comes later is claimed, and noted.
        there = set(contents.chunk_names())
        needed = held | _named_segments(contents)
        there -= needed
        for segment in needed:
            there.difference_update(run.chunk for run in contents.segment(segment, BackupId("?"), 0))
        _remove(contents, there)


def _named_segments(contents: Contents) -> set[bytes]:
    named: set[bytes] = set()
    for backup_id in contents.backup_ids():
        if found := contents.root(backup_id):
            named.update(ref.name for ref in found[0].segments)
    return named


def _remove(contents: Contents, names: Iterable[bytes]) -> bool:
    """Remove what nobody claims; say whether that was all."""
    left, done = list(names), True
    for start in range(0, len(left), _BATCH):
        batch: Sequence[bytes] = left[start : start + _BATCH]
        with contents.claims.removing(batch) as free:
            contents.remove(free)
            done &= len(free) == len(batch)
    contents.store.settle()
    return done
