"""QoS specs: what the volumes of a type may do, as an administrator writes it and as an engine keeps to it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

Consumer = Literal["front-end", "back-end", "both"]
CONSUMERS: Final[tuple[Consumer, ...]] = ("front-end", "back-end", "both")
ENFORCED: Final = frozenset({"front-end", "both"})
"""Consumers whose specs limit what the clients of an attached volume may do."""


class QosSpecs(NamedTuple):
    """Named specs, which volume types refer to."""

    id: str
    name: str
    consumer: str
    specs: dict[str, str]
    created_at: datetime


_LIMITS: Final[Mapping[str, str]] = {
    "total_bytes_sec": "total_bytes",
    "read_bytes_sec": "read_bytes",
    "write_bytes_sec": "write_bytes",
    "total_iops_sec": "total_requests",
    "read_iops_sec": "read_requests",
    "write_iops_sec": "write_requests",
}
"""Key in the specs (Cinder's words for front-end limits) → field of `engine.port.Limits`."""
MOST: Final = 10**15
"""The greatest limit there is; more would not be one on any hardware, and storage daemons take no more."""


def limits_of(qos: QosSpecs | None, size_gib: int) -> dict[str, int]:
    """Return the limits of a volume of this size, by field of `engine.port.Limits`: none for specs that are the
    back-end's alone. A key may end in `_per_gb`, and its least value then in `_per_gb_min`."""
    if qos is None or qos.consumer not in ENFORCED:
        return {}
    found: dict[str, int] = {}
    for key, field in _LIMITS.items():
        fixed, each = _number(qos.specs.get(key)), _number(qos.specs.get(f"{key}_per_gb"))
        if fixed is not None:
            found[field] = fixed
        elif each is not None:
            found[field] = min(max(each * size_gib, _number(qos.specs.get(f"{key}_per_gb_min")) or 0), MOST)
    return found


def shown_specs(qos: QosSpecs | None) -> dict[str, str] | None:
    """Return the specs that a client is told when it connects."""
    return dict(qos.specs) if qos is not None and qos.consumer in ENFORCED else None


def bad_limit(specs: Mapping[str, str]) -> str | None:
    """Return the first key that is a limit and has no number for a value, if there is one."""
    for key, value in specs.items():
        base = key.removesuffix("_min").removesuffix("_per_gb")
        if base in _LIMITS and _number(value) is None:
            return key
    return None


def clash(qos: QosSpecs) -> str | None:
    """Return the limit of all that stands beside one of reads or of writes, if there is one: no volume of a type with
    such specs could be attached."""
    if qos.consumer not in ENFORCED:
        return None
    given = {key.removesuffix("_min").removesuffix("_per_gb") for key in qos.specs}
    for what in ("bytes_sec", "iops_sec"):
        if f"total_{what}" in given and not given.isdisjoint({f"read_{what}", f"write_{what}"}):
            return f"total_{what}"
    return None


def _number(text: str | None) -> int | None:
    number = int(text) if text is not None and text.isascii() and text.isdigit() else 0
    return number if 0 < number <= MOST else None
