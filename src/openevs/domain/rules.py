"""Rules of the API that need nothing but the values themselves.

Sources: spec 2.2 and 2.3 (limits; EVS counts *bytes*), 2.8 (metadata keys), 3.4 (`force`), 3.7 (reserved prefixes).
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

from openevs.domain.errors import InvalidInput

NAME_MAX_BYTES: Final = 255
METADATA_MAX_BYTES: Final = 1_048_576
IMAGE_VALUE_MAX_BYTES: Final = 65_535
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


def check_name(name: str) -> str:
    """Return the name of something that must have one, as it will be stored. Raises InvalidInput."""
    checked = check_text("name", name)
    if not checked:
        raise InvalidInput("name", "it may not be empty.")
    return checked


def byte_length(field: str, text: str) -> int:
    """Return the length of a text in UTF-8; raises InvalidInput for text that has no UTF-8 form (lone surrogates)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(field, "it is not valid Unicode text.") from None


def check_metadata(
    metadata: Mapping[str, object], *, slash: bool = True, value_max: int = NAME_MAX_BYTES
) -> dict[str, str]:
    """Return metadata as it will be stored. Keys are 1 to 255 of `a-z A-Z 0-9 - _ : . space` (and `/` where `slash`),
    values are texts of at most `value_max` bytes, and all together are under 1 MiB (EVS.1005). Raises InvalidInput."""
    total = 0
    for key, value in metadata.items():
        if not _METADATA_KEY.fullmatch(key) or (not slash and "/" in key):
            raise InvalidInput(
                "metadata", f"the key {key[:64]!r} must be 1 to 255 letters, digits, spaces or any of - _ : ."
            )
        if not isinstance(value, str):
            raise InvalidInput(f"metadata[{key!r}]", "the value must be a string.")
        size = byte_length(f"metadata[{key!r}]", value)
        if size > value_max:
            raise InvalidInput(f"metadata[{key!r}]", f"the value has {size} bytes, but may have at most {value_max}.")
        total += len(key) + size
    if total >= METADATA_MAX_BYTES:
        raise InvalidInput(
            "metadata", f"it has {total} bytes, but must have fewer than {METADATA_MAX_BYTES}.", "EVS.1005"
        )
    return {key: str(value) for key, value in metadata.items()}


def is_reserved_name(name: str | None) -> bool:
    """Say whether a snapshot's name is one that only backup services should give."""
    return name is not None and name.startswith(RESERVED_PREFIXES)


SHOWN_METADATA: Final = frozenset({"readonly", "attached_mode"})
"""Volume metadata that is shown while a volume is attached, and cannot be set (spec 4.4)."""
NOT_WITH_SNAPSHOT: Final = ("__system__encrypted", "__system__cmkid", "hw:passthrough")
"""Volume metadata that a volume made from a snapshot takes from it (spec 3.6)."""
_WORDS: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "hw:passthrough": (frozenset({"true", "false"}), "EVS.1057"),
    "full_clone": (frozenset({"0", "1"}), "EVS.1063"),
    "__system__encrypted": (frozenset({"0", "1"}), "EVS.1018"),
}
"""Volume metadata with a meaning: its values, and the code for others."""


def check_volume_metadata(metadata: Mapping[str, object], *, slash: bool = True) -> dict[str, str]:
    """Return a volume's metadata as it will be stored. Raises InvalidInput also for keys that are only shown."""
    checked = check_metadata(metadata, slash=slash)
    for key in sorted(SHOWN_METADATA & checked.keys()):
        raise InvalidInput(
            f"metadata[{key!r}]", "it is shown while the volume is attached, and cannot be set.", "EVS.2047"
        )
    return checked


def check_new_metadata(metadata: Mapping[str, object], *, has_source: bool) -> dict[str, str]:
    """Return the metadata of a volume that is to be created, from a snapshot if `has_source`. Raises InvalidInput."""
    checked = check_volume_metadata(metadata)
    for key in NOT_WITH_SNAPSHOT:
        if has_source and key in checked:
            raise InvalidInput(f"metadata[{key!r}]", "a volume made from a snapshot takes it from there.", "EVS.1043")
    for key, (words, code) in _WORDS.items():
        if key in checked and checked[key] not in words:
            raise InvalidInput(f"metadata[{key!r}]", f"it must be {' or '.join(sorted(words))}.", code)
    if checked.get("__system__encrypted") == "1":
        # Taking it and storing plain bytes would be a promise broken.
        raise InvalidInput("metadata['__system__encrypted']", "this service does not encrypt volumes.")
    return checked
