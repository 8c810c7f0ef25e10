"""Which limits can be kept to: the same for every engine, so that a request can be refused before one is asked."""

from dataclasses import asdict
from typing import Final

from openevs.engine.errors import Mismatch
from openevs.engine.port import Limits

_MOST: Final = 10**15
"""What QEMU counts up to."""


def check_limits(limits: Limits) -> None:
    """Refuse limits below 1, beyond what can be counted, or of all requests and of reads or writes at once.
    Raises Mismatch."""
    for name, value in asdict(limits).items():
        if value is not None and not 1 <= value <= _MOST:
            raise Mismatch(f"the limit {name} must be from 1 to {_MOST}", found=value)
    for total, read, write in (
        (limits.total_bytes, limits.read_bytes, limits.write_bytes),
        (limits.total_requests, limits.read_requests, limits.write_requests),
    ):
        if total is not None and (read is not None or write is not None):
            raise Mismatch("a limit of all cannot be combined with one of reads or of writes", found=limits)
