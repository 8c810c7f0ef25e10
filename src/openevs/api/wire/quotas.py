"""Quotas as the API writes them. A quota set has keys that depend on the volume types, so it is a plain object."""

from typing import Annotated

from msgspec import Meta, Struct


class Used(Struct):
    """One quota with what is used of it."""

    in_use: int
    limit: int
    reserved: int


class QuotaSetBody(Struct):
    """The body of a change; -1 is no limit."""

    quota_set: dict[str, Annotated[int, Meta(ge=-1, le=2**31 - 1)]]


class QuotaClassBody(Struct):
    """The body of a change of a class; -1 is no limit."""

    quota_class_set: dict[str, Annotated[int, Meta(ge=-1, le=2**31 - 1)]]


class QuotaSetShown(Struct):
    """Quotas of a project, and its id."""

    quota_set: dict[str, str | int | Used]


class QuotaClassShown(Struct):
    """Quotas of a class of projects, and its name."""

    quota_class_set: dict[str, str | int]


class Limits(Struct):
    """Quotas and usage."""

    rate: list[str]
    absolute: dict[str, int]


class LimitsShown(Struct):
    """Quotas and usage in Cinder's older form."""

    limits: Limits
