"""Passwords: kept as scrypt hashes, checked off the event loop and never more than two at a time.

One check takes the memory that `identity.password_hash_mib` says, which is what makes guessing dear; so the number of
checks at a time is what bounds the memory that strangers can make the service use.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from openevs.domain.errors import InvalidInput, Unavailable

T = TypeVar("T")

MAX_BYTES: Final = 1024
_AT_A_TIME: Final = 2
_MOST_WAITING: Final = 256
_BLOCK: Final = 8
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_NEW_BYTES: Final = 18
_KEPT: Final = re.compile(r"\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")


class _Cost(NamedTuple):
    log2_n: int
    r: int
    p: int


class Passwords:
    """Makes and checks password hashes. `close` it when the service ends."""

    def __init__(self, hash_mib: int) -> None:
        self._hash_mib = hash_mib
        # Belongs to no password: checking against it takes as long as against a real one, and always fails.
        self._nobody = _encode(cost_of(hash_mib), secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_HASH_BYTES))
        self._threads = ThreadPoolExecutor(_AT_A_TIME, "password")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the text to keep instead of `password`. Raises Unavailable when too many are waiting."""
        return await self._run(lambda: make_hash(password, self._hash_mib))

    async def matches(self, password: str, kept: str | None) -> bool:
        """Say whether `kept` was made from `password`. Without `kept` the answer is no, after the same work.
        Raises Unavailable when too many are waiting."""
        return await self._run(lambda: check_hash(password, kept or self._nobody))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= _MOST_WAITING:
            raise Unavailable("Too many logins at a time; try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Wait for the checks under way and end the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def new_password() -> str:
    """Return a password that nobody will guess, and that can be copied by a double click."""
    return secrets.token_hex(_NEW_BYTES)


def check_password(field: str, password: str) -> str:
    """Return a password that a user may be given; raises InvalidInput for an empty or an overlong one."""
    if not password:
        raise InvalidInput(field, "it must not be empty.")
    if len(_bytes(password)) > MAX_BYTES:
        raise InvalidInput(field, f"it may have at most {MAX_BYTES} bytes in UTF-8.")
    return password


def cost_of(hash_mib: int) -> _Cost:
    """Return the scrypt parameters that take `hash_mib` MiB, rounded down to a power of two."""
    return _Cost(log2_n=(hash_mib * (1 << 20) // (128 * _BLOCK)).bit_length() - 1, r=_BLOCK, p=1)


def make_hash(password: str, hash_mib: int) -> str:
    """Return the text to keep instead of `password`; takes tens of milliseconds of one CPU."""
    cost, salt = cost_of(hash_mib), secrets.token_bytes(_SALT_BYTES)
    return _encode(cost, salt, _scrypt(password, cost, salt))


def check_hash(password: str, kept: str) -> bool:
    """Say whether `kept` was made from `password`; takes as long as making it did."""
    cost, salt, expected = _decode(kept)
    return hmac.compare_digest(_scrypt(password, cost, salt), expected)


def _scrypt(password: str, cost: _Cost, salt: bytes) -> bytes:
    n = 1 << cost.log2_n
    return hashlib.scrypt(
        _bytes(password),
        salt=salt,
        n=n,
        r=cost.r,
        p=cost.p,
        # What OpenSSL takes for these parameters, with some room for its own bookkeeping.
        maxmem=128 * cost.r * (n + cost.p + 2) + 4096,
        dklen=_HASH_BYTES,
    )


def _bytes(password: str) -> bytes:
    # JSON can carry lone surrogates: whatever they are, they are the same at the next login.
    return password.encode("utf-8", "surrogatepass")


def _encode(cost: _Cost, salt: bytes, digest: bytes) -> str:
    texts = (base64.b64encode(part).decode().rstrip("=") for part in (salt, digest))
    return f"$scrypt$ln={cost.log2_n},r={cost.r},p={cost.p}$" + "$".join(texts)


def _decode(kept: str) -> tuple[_Cost, bytes, bytes]:
    form = _KEPT.fullmatch(kept)
    if form is None:
        # Without the text itself: it would end in a log.
        raise ValueError("a stored password hash has a form that this version does not know")
    log2_n, r, p, salt, digest = form.groups()
    return _Cost(int(log2_n), int(r), int(p)), _unbase64(salt), _unbase64(digest)


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
