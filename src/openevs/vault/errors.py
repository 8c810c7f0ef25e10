"""What can go wrong in a vault, named by what the caller does next.

    VaultError
    ├── Transient  the store did not answer, or another call is in the way      → call again after a pause
    ├── NoSpace    the store is full; what was committed is whole               → tell a person, call again later
    ├── Missing    there is no such backup (or record) in this vault            → never repeat; a caller's mistake
    ├── Damaged    a chunk or an index is not what was written, or is gone      → never repeat; this backup is lost
    ├── WrongKey   the vault is encrypted with another key, or with none        → never repeat; a person must look
    └── Broken     the place is not a vault, or cannot be used as configured    → never repeat; a person must look

A vault raises nothing else of its own: no OSError and no client library's error leaves it. What the caller's own
functions raise (reading, writing, reporting) goes through unchanged.
"""


class VaultError(Exception):
    """Base of every error that a vault raises. `reason` is a sentence for a person; it holds no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Transient(VaultError):
    """The same call may succeed later."""


class NoSpace(VaultError):
    """The store is full."""


class Missing(VaultError):
    """There is no such thing in this vault."""


class Damaged(VaultError):
    """Something that a backup needs is not what was written, or is not there."""

    def __init__(self, reason: str, backup_id: str = "", chunk: str = "", offset_bytes: int = -1) -> None:
        super().__init__(reason)
        self.backup_id = backup_id
        self.chunk = chunk
        """The name of what is damaged, as it is in the store."""
        self.offset_bytes = offset_bytes
        """Where in the volume its first bytes belong; -1 if that is not known."""


class WrongKey(VaultError):
    """The key that was given is not this vault's."""


class Broken(VaultError):
    """The place cannot be used; the sentence says what to do."""
