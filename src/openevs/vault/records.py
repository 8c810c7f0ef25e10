"""The text by which a backup is found again in its vault: what Cinder's export gives and its import takes.

It names the vault, the backup and the checksum of its index; it holds no key, and nothing of the contents.
"""

import base64

import msgspec

from openevs.domain.ids import BackupId
from openevs.vault.errors import Missing


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the text says."""

    vault_id: str
    backup_id: BackupId
    size_bytes: int
    checksum: str
    format: int = 1


def encode(record: Record) -> str:
    """Return the text."""
    return base64.urlsafe_b64encode(msgspec.json.encode(record)).decode()


def decode(text: str) -> Record:
    """Return what the text says. Raises Missing if it is no record: there is nothing that such a text can name."""
    try:
        return msgspec.json.decode(base64.b64decode(text, altchars=b"-_", validate=True), type=Record)
    except (ValueError, msgspec.DecodeError):
        raise Missing("this is no record of a backup: give the text that its export gave, unchanged") from None
