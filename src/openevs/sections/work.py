"""Settings of durable work."""

from typing import Annotated

import msgspec
from msgspec import Meta


class Operations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Durable work."""

    workers: Annotated[int, Meta(ge=1, description="Operations at a time; they mostly wait for storage.")] = 16
    lease_seconds: Annotated[
        float,
        Meta(gt=0, description="A node that does not renew for this long has lost its work; renewed at a third of it."),
    ] = 30.0
    scan_seconds: Annotated[
        float, Meta(gt=0, description="Pause between two looks for work that no bell announced.")
    ] = 2.0
    retry_seconds: Annotated[
        float,
        Meta(gt=0, description="Pause before the first repeat of a failed step; doubled each time, up to a minute."),
    ] = 0.5
    attempts: Annotated[
        int, Meta(ge=1, description="Tries of a step before the operation fails (forward-only kinds never give up).")
    ] = 8
    sweep_seconds: Annotated[
        float, Meta(gt=0, description="Pause between two comparisons of storage with the database.")
    ] = 300.0
    keep_days: Annotated[
        float,
        Meta(
            gt=0,
            description="How long finished operations are kept. What a sweep may delete it must find here, so rather longer than anybody is away.",
        ),
    ] = 30.0
    keep_events_days: Annotated[
        float, Meta(gt=0, description="How long the history of resources is kept: a quarter, for whoever looks back.")
    ] = 90.0
