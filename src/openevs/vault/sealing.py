"""How bytes become an object and come back: named by their hash, compressed, and sealed if there is a key.

    object      = "OEV" kind body
    kind 0      body = zstd frame
    kind 1      body = nonce (12 bytes), AES-256-GCM(zstd frame), which also binds the name
    name        = SHA-256(bytes), or HMAC(key, SHA-256(bytes)) if there is a key: names then do not tell contents

The hash is of the plain bytes, so that what is checked on reading is what was read from the volume.
"""

import hashlib
import hmac
import os
import threading
from pathlib import Path
from typing import Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from openevs.vault.errors import WrongKey

KEY_BYTES: Final = 32
_MAGIC: Final = b"OEV"
_PLAIN, _SEALED = 0, 1
_NONCE_BYTES: Final = 12
_LARGEST: Final = 64 << 20
"""No object is larger when it is unpacked; a header that says so is damaged."""


class DamageError(Exception):
    """The bytes are not what was sealed; the text says what is wrong with them."""


def read_key(path: Path) -> bytes:
    """Return the key that a file holds in hexadecimal digits. Raises WrongKey."""
    make = f"make one with `(umask 077; openssl rand -hex {KEY_BYTES} > {path})`, and keep a copy elsewhere"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise WrongKey(f"the key of the backups cannot be read from {path} ({error.strerror}); {make}") from None
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise WrongKey(f"{path} does not hold {2 * KEY_BYTES} hexadecimal digits, and nothing else; {make}")
    return key


class Sealer:
    """Names, seals and unseals, with one key or none. May be used by several threads at once."""

    def __init__(self, key: bytes | None, level: int) -> None:
        self._level = level
        self._threads = threading.local()  # (de)compressors are expensive to make and not to be shared
        self._aes = None if key is None else AESGCM(_derived(key, b"openevs vault content"))
        self._name_key = None if key is None else _derived(key, b"openevs vault names")
        self.encrypts = key is not None
        """Whether there is a key."""
        self.mark = "" if key is None else _derived(key, b"openevs vault mark").hex()
        """What tells this key from others, and tells nothing else; empty if there is none."""

    def name(self, plain: bytes | bytearray) -> bytes:
        """Return the name of these bytes."""
        digest = hashlib.sha256(plain).digest()
        return digest if self._name_key is None else hmac.digest(self._name_key, digest, "sha256")

    def seal(self, plain: bytes | bytearray, name: bytes) -> bytes:
        """Return the object that holds the bytes."""
        packed = self._compressor().compress(plain)
        if self._aes is None:
            return b"%b%c%b" % (_MAGIC, _PLAIN, packed)
        nonce = os.urandom(_NONCE_BYTES)
        return b"%b%c%b%b" % (_MAGIC, _SEALED, nonce, self._aes.encrypt(nonce, packed, name))

    def unseal(self, data: bytes, name: bytes) -> bytes:
        """Return the bytes that were sealed under this name. Raises DamageError for any others."""
        if len(data) < len(_MAGIC) + 1 or not data.startswith(_MAGIC):
            raise DamageError("it does not begin as an object does")
        packed = self._decrypted(data, name)
        try:
            if not 0 <= zstandard.frame_content_size(packed) <= _LARGEST:
                raise DamageError("its size is impossible")
            plain = self._decompressor().decompress(packed)
        except zstandard.ZstdError:
            raise DamageError("it cannot be unpacked") from None
        if not hmac.compare_digest(self.name(plain), name):
            raise DamageError("its hash is another one")
        return plain

    def _decrypted(self, data: bytes, name: bytes) -> bytes:
        kind, start = data[len(_MAGIC)], len(_MAGIC) + 1
        if kind != (_PLAIN if self._aes is None else _SEALED):
            raise DamageError(f"it is of kind {kind}, which does not belong here")
        if self._aes is None:
            return data[start:]
        body = start + _NONCE_BYTES
        try:
            return self._aes.decrypt(data[start:body], data[body:], name)
        except InvalidTag:
            raise DamageError("it cannot be decrypted") from None

    def _compressor(self) -> zstandard.ZstdCompressor:
        if not hasattr(self._threads, "compressor"):
            self._threads.compressor = zstandard.ZstdCompressor(level=self._level)
        made: zstandard.ZstdCompressor = self._threads.compressor
        return made

    def _decompressor(self) -> zstandard.ZstdDecompressor:
        if not hasattr(self._threads, "decompressor"):
            self._threads.decompressor = zstandard.ZstdDecompressor()
        made: zstandard.ZstdDecompressor = self._threads.decompressor
        return made


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDFExpand(SHA256(), KEY_BYTES, purpose).derive(key)
