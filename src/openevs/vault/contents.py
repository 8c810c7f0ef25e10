"""The objects of one vault by kind: chunks and segments (named by their hash), indexes and notes (named by a backup).

vault.json             format, id, mark of the key
chunks/ab/abcd…        chunks and segments
backups/<backup>       an index: the backup is there
begun/<backup>         a backup was begun; what it stored may be in no index
ended/<backup>         the index of a backup that is being removed, until what only it needed is gone

Methods block.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog

from openevs.domain.ids import BackupId, new_hex
from openevs.vault.claims import WHOLE_MAX, Claims, Hold
from openevs.vault.errors import Broken, Damaged, Missing, WrongKey
from openevs.vault.index import FORMAT, IndexFormatError, Root, Run, decode_root, decode_segment, encode_root
from openevs.vault.objects import ObjectStore
from openevs.vault.sealing import DamageError, Sealer

_log = structlog.get_logger()
_CHUNKS, _BACKUPS, _BEGUN, _ENDED = "chunks/", "backups/", "begun/", "ended/"
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DIGEST_BYTES: Final = 32
_DIGEST: Final = re.compile(f"[0-9a-f]{{{2 * _DIGEST_BYTES}}}")


class Stored(NamedTuple):
    """What came of storing bytes."""

    name: bytes
    stored_bytes: int
    """Added to the store; 0 if it was there already."""


class _VaultFile(msgspec.Struct, frozen=True):
    format: int
    vault_id: str
    chunk_names: str
    encryption: str
    key_mark: str


class Contents:
    """Everything in one store. Methods raise `VaultError`s."""

    def __init__(self, store: ObjectStore, sealer: Sealer) -> None:
        self.store = store
        self.claims = Claims()
        self.vault_id = ""
        self.collected = False
        """Whether no removed backup is known whose room is not given back yet."""
        self._sealer = sealer
        self._opening = threading.Lock()

    def open(self) -> None:
        """Make an empty place a vault; make sure that the key is the right one."""
        with self._opening:
            self.store.open()
            if not self.vault_id:
                self._identify()

    def _identify(self) -> None:
        name = "vault.json"
        if (data := self.store.get(name)) is None:
            if next(self.store.list(_CHUNKS), None) or next(self.store.list(_BACKUPS), None):
                raise Broken(f"{self.store.location} holds backups but has lost its {name}: restore that file")
            sealed = self._sealer.encrypts
            made = _VaultFile(
                FORMAT, new_hex(), "hmac-sha256" if sealed else "sha256", "aes-256-gcm" if sealed else "none",
                self._sealer.mark,
            )  # fmt: skip
            self.store.put(name, msgspec.json.encode(made) + b"\n")
            self.store.settle()
            data = self.store.get(name) or b""
        try:
            found = msgspec.json.decode(data, type=_VaultFile)
        except msgspec.DecodeError as error:
            raise Broken(f"{name} in {self.store.location} cannot be read: {error}") from None
        if found.format != FORMAT:
            raise Broken(f"the vault at {self.store.location} has format {found.format}; this version knows {FORMAT}")
        if found.key_mark != self._sealer.mark:
            raise WrongKey(_about_keys(self.store.location, found.key_mark, self._sealer.mark))
        self.vault_id = found.vault_id

    # Chunks and segments

    def put(self, plain: bytes | bytearray, hold: Hold) -> Stored:
        """Make the store hold these bytes. What is there under their name is read first: relied on unread, a chunk that
        was damaged since would spoil this backup too; written anew, it is whole again for the older ones as well."""
        name = self._sealer.name(plain)
        self.claims.claim(hold, name)
        if name in hold.whole:
            return Stored(name, 0)
        stored_bytes = 0
        if not self._is_whole(name):
            sealed = self._sealer.seal(plain, name)
            self.store.put(chunk_key(name), sealed)
            stored_bytes = len(sealed)
        if len(hold.whole) < WHOLE_MAX:
            hold.whole.add(name)
        return Stored(name, stored_bytes)

    def _is_whole(self, name: bytes) -> bool:
        try:
            if (data := self.store.get(chunk_key(name))) is None:
                return False
            self._sealer.unseal(data, name)
        except (DamageError, Damaged) as error:
            _log.warning("vault_chunk_mended", chunk=name.hex(), reason=str(error))
            return False
        return True

    def get(self, name: bytes, backup_id: BackupId, offset_bytes: int) -> tuple[bytes, int]:
        """Return the bytes of this name, and how many were read of the store. Raises Damaged."""
        if (data := self.store.get(chunk_key(name))) is None:
            raise _damaged(name, backup_id, offset_bytes, "it is not there")
        try:
            return self._sealer.unseal(data, name), len(data)
        except DamageError as error:
            raise _damaged(name, backup_id, offset_bytes, str(error)) from None

    def segment(self, name: bytes, backup_id: BackupId, offset_bytes: int) -> list[Run]:
        """Return the runs of a segment. Raises Damaged."""
        plain, _ = self.get(name, backup_id, offset_bytes)
        try:
            return decode_segment(plain)
        except IndexFormatError as error:
            raise Damaged(f"segment {name.hex()} of backup {backup_id}: {error}", backup_id, name.hex()) from None

    def chunk_names(self) -> Iterator[bytes]:
        """Yield the names of all chunks and segments that are there; what somebody else has put beside them is none."""
        for key in self.store.list(_CHUNKS):
            if _DIGEST.fullmatch(text := key.rpartition("/")[2]):
                yield bytes.fromhex(text)

    def remove(self, names: Sequence[bytes]) -> None:
        """Remove chunks and segments."""
        self.store.delete([chunk_key(name) for name in names])

    # Indexes and notes

    def put_root(self, root: Root) -> str:
        """Commit a backup; return its checksum."""
        plain = encode_root(root)
        name = self._sealer.name(plain)
        self.store.settle()
        self.store.put(_BACKUPS + root.backup_id, name + self._sealer.seal(plain, name))
        self.store.settle()
        return name.hex()

    def root(self, backup_id: BackupId) -> tuple[Root, str] | None:
        """Return a backup's root and its checksum, or None. Raises Damaged."""
        return self._root(_BACKUPS, backup_id)

    def need_root(self, backup_id: BackupId) -> tuple[Root, str]:
        """As `root`. Raises Missing."""
        if (found := self.root(backup_id)) is None:
            raise Missing(f"there is no backup {backup_id} in {self.store.location}")
        return found

    def backup_ids(self) -> list[BackupId]:
        """Return the ids of all backups that are there."""
        return self._ids(_BACKUPS)

    def note_begun(self, backup_id: BackupId) -> None:
        """Note that chunks are about to be stored."""
        check_id(backup_id)
        self.store.put(_BEGUN + backup_id, b"begun\n")
        self.store.settle()

    def begun_ids(self) -> list[BackupId]:
        """Return the ids of backups that were begun and not, as far as is noted, finished."""
        return self._ids(_BEGUN)

    def was_begun(self, backup_id: BackupId) -> bool:
        """Say whether it was begun and not, as far as is noted, finished."""
        return self.store.head(_BEGUN + backup_id) is not None

    def forget_begun(self, backup_id: BackupId) -> None:
        """Take the note away."""
        self.store.delete([_BEGUN + backup_id])

    def end(self, backup_id: BackupId) -> bool:
        """Commit that the backup is not there, but note what it needed. Returns whether it was there."""
        check_id(backup_id)
        if self.store.head(_BACKUPS + backup_id) is None:
            return False
        # Not written anew: a vault may be full, and what is removed to make room.
        self.store.copy(_BACKUPS + backup_id, _ENDED + backup_id)
        self.store.settle()
        self.store.delete([_BACKUPS + backup_id])
        self.store.settle()
        return True

    def ended_ids(self) -> list[BackupId]:
        """Return the ids of backups whose room is not given back yet."""
        return self._ids(_ENDED)

    def ended_root(self, backup_id: BackupId) -> Root | None:
        """Return what an ended backup needed, or None. Raises Damaged."""
        found = self._root(_ENDED, backup_id)
        return found[0] if found else None

    def forget_ended(self, backup_id: BackupId) -> None:
        """Take the note away: nothing is left of it."""
        self.store.delete([_ENDED + backup_id])

    def _ids(self, folder: str) -> list[BackupId]:
        """Return the ids in a folder; what cannot be one was put there by somebody else, and is none."""
        names = (key.removeprefix(folder) for key in self.store.list(folder))
        return [BackupId(name) for name in names if _SAFE_ID.fullmatch(name)]

    def _root(self, folder: str, backup_id: BackupId) -> tuple[Root, str] | None:
        check_id(backup_id)
        if (data := self.store.get(folder + backup_id)) is None:
            return None
        name = data[:_DIGEST_BYTES]
        try:
            root = decode_root(self._sealer.unseal(data[_DIGEST_BYTES:], name))
        except (DamageError, IndexFormatError) as error:
            raise Damaged(f"the index of backup {backup_id} is damaged: {error}", backup_id) from None
        if root.backup_id != backup_id:
            raise Damaged(f"the index of backup {backup_id} is that of {root.backup_id}", backup_id)
        return root, name.hex()


def chunk_key(name: bytes) -> str:
    """Return the name of a chunk's object."""
    text = name.hex()
    return f"{_CHUNKS}{text[:2]}/{text}"


def check_id(backup_id: str) -> None:
    """Refuse an id that cannot be an object's name. Raises Missing: there can be no such backup."""
    if not _SAFE_ID.fullmatch(backup_id):
        raise Missing(f"{backup_id!r} cannot be the id of a backup: letters, digits, '-' and '_' only, at most 64")


def _damaged(name: bytes, backup_id: BackupId, offset_bytes: int, how: str) -> Damaged:
    reason = f"chunk {name.hex()} of backup {backup_id}, needed at byte {offset_bytes} of the volume, is damaged: {how}"
    return Damaged(reason, backup_id, name.hex(), offset_bytes)


def _about_keys(location: str, theirs: str, ours: str) -> str:
    if not theirs:
        return f"the backups at {location} are not encrypted: take the key out of the settings, or give an empty place"
    if not ours:
        return f"the backups at {location} are encrypted: the settings must name the file that holds the key"
    return f"the backups at {location} are encrypted with another key than the one that the settings name"
