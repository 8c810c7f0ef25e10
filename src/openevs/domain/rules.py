"""Rules of the API that need nothing but the values themselves.

Sources: spec 2.2 and 2.3 (limits; EVS counts *bytes*), 2.8 (metadata keys), 3.4 (`force`), 3.7 (reserved prefixes).
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

from openevs.domain.errors import InvalidInput

NAME_MAX_BYTES: Final = 255
METADATA_MAX_BYTES: Final = 1_048_576
BACKUP_SNAPSHOT_PREFIX: Final = "autobk_snapshot_"
RESERVED_PREFIXES: Final = (BACKUP_SNAPSHOT_PREFIX, "manualbk_snapshot_vbs_", "manualbk_snapshot_csbs_")
"""Names that only backup services give. `autobk_snapshot_vbs_` and `autobk_snapshot_csbs_` fall under the first."""

Force = Literal["no", "yes", "implied"]
SNAPSHOTTABLE: Final[Mapping[Force, frozenset[str]]] = {
    "no": frozenset({"available"}),
    "yes": frozenset({"available", "in-use", "attaching"}),
    "implied": frozenset({"available", "in-use"}),
}
"""Volume statuses from which a snapshot may be taken: without `force`, with it, and where the API has no `force`
(microversion 3.66 and up, v5). The reading of the seed page's "attaching" is argued in spec 3.4."""

_METADATA_KEY = re.compile(r"[a-zA-Z0-9\-_:. /]{1,255}")


def check_text(field: str, text: str | None, code: str | None = None) -> str | None:
    """Return a name or description as it will be stored: stripped, at most 255 bytes of UTF-8, null allowed."""
    if text is None:
        return None
    text = text.strip()
    size = byte_length(field, text)
    if size > NAME_MAX_BYTES:
        raise InvalidInput(field, f"it has {size} bytes in UTF-8, but may have at most {NAME_MAX_BYTES}.", code)
    if "\x00" in text:
        raise InvalidInput(field, "it contains a NUL character.", code)
    return text


def byte_length(field: str, text: str) -> int:
    """Return the length of a text in UTF-8; raises InvalidInput for text that has no UTF-8 form (lone surrogates)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(field, "it is not valid Unicode text.") from None


def check_metadata(metadata: Mapping[str, object], *, slash: bool = True) -> dict[str, str]:
    """Return metadata as it will be stored. Keys are 1 to 255 of `a-z A-Z 0-9 - _ : . space` (and `/` where `slash`),
    values are texts of at most 255 bytes, and all together are under 1 MiB (EVS.1005)."""
    total = 0
    for key, value in metadata.items():
        if not _METADATA_KEY.fullmatch(key) or (not slash and "/" in key):
            raise InvalidInput(
                "metadata", f"the key {key[:64]!r} must be 1 to 255 letters, digits, spaces or any of - _ : ."
            )
        if not isinstance(value, str):
            raise InvalidInput(f"metadata[{key!r}]", f"the value must be a string, not {type(value).__name__}.")
        size = byte_length(f"metadata[{key!r}]", value)
        if size > NAME_MAX_BYTES:
            raise InvalidInput(
                f"metadata[{key!r}]", f"the value has {size} bytes, but may have at most {NAME_MAX_BYTES}."
            )
        total += len(key) + size
    if total >= METADATA_MAX_BYTES:
        raise InvalidInput(
            "metadata", f"it has {total} bytes, but must have fewer than {METADATA_MAX_BYTES}.", "EVS.1005"
        )
    return {key: str(value) for key, value in metadata.items()}


def is_reserved_name(name: str | None) -> bool:
    """Say whether a snapshot's name is one that only backup services should give."""
    return name is not None and name.startswith(RESERVED_PREFIXES)
