"""Request bodies: from bytes to a struct, with errors that name the field.

A body is an envelope with one object in it: `{"snapshot": {…}}`. Its fields are declared as a msgspec struct; a field
that may be left out has the default UNSET, one that may be null says so in its type.
"""

import re
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from openevs.api.call import Call
from openevs.api.faults import HttpRefusal
from openevs.domain.errors import InvalidInput
from openevs.domain.ids import is_uuid

S = TypeVar("S", bound=msgspec.Struct)

TRUE: Final = frozenset(("1", "on", "true", "yes", "y", "t"))
FALSE: Final = frozenset(("0", "off", "false", "no", "n", "f"))
_AT = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<where>[^`]*)`)?", re.DOTALL)


def json_object(call: Call) -> dict[str, Any]:
    """Return the body as a JSON object. Raises HttpRefusal 415, InvalidInput."""
    content_type = (call.headers.text(b"content-type") or "").split(";")[0].strip().lower()
    if content_type not in ("application/json", ""):
        raise HttpRefusal(415, f"Unsupported Content-Type {content_type[:64]!r}; send application/json.")
    if not call.body:
        raise InvalidInput("body", "it is empty; a JSON object is needed.", "EVS.1052")
    try:
        document = msgspec.json.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("body", f"it is not valid JSON: {error}.", "EVS.1052") from None
    if not isinstance(document, dict):
        raise InvalidInput("body", "it must be a JSON object.", "EVS.1052")
    return document


def parse(call: Call, envelope: str, struct: type[S], beside: frozenset[str] = frozenset(), strict_since: int = 0) -> S:
    """Return the object in the envelope. `beside`: keys that may stand next to it; `strict_since`: the microversion
    from which its own unknown keys are refused. Raises InvalidInput."""
    document = json_object(call)
    if envelope not in document:
        raise InvalidInput(envelope, "it is required in the body.", "EVS.1070")
    inner = document[envelope]
    if not isinstance(inner, dict):
        raise InvalidInput(envelope, f"it must be an object, not {json_type(inner)}.", "EVS.1070")
    # What is missing or wrong goes before what is too much: a misspelt required field is both.
    body = convert(inner, struct)
    if call.strict:
        refuse_unknown("body", document.keys() - {envelope} - beside)
        if call.at_least(strict_since):
            refuse_unknown(envelope, inner.keys() - _names(struct))
    return body


@cache
def _names(struct: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(struct))


def convert(value: object, struct: type[S]) -> S:
    """Return a plain object as a struct. Raises InvalidInput naming the field."""
    try:
        return msgspec.convert(value, struct)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        where = (match["where"] or "") if match else ""
        what = match["what"] if match else str(error)
        missing = re.fullmatch(r"Object missing required field `(.*)`", what)
        if missing:
            raise InvalidInput(f"{where}.{missing[1]}".lstrip("."), "it is required.", "EVS.1070") from None
        raise InvalidInput(where.lstrip(".") or "body", f"{what[:1].lower()}{what[1:]}.", "EVS.1018") from None


def given(body: msgspec.Struct, *names: str) -> dict[str, Any]:
    """Return those of a body's fields that it has."""
    return {name: value for name in names if (value := getattr(body, name)) is not msgspec.UNSET}


def json_type(value: object) -> str:
    """Return what JSON calls the type of a value."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def refuse_unknown(where: str, names: set[str]) -> None:
    """Refuse fields that are not there. Raises InvalidInput."""
    if names:
        listed = ", ".join(repr(name[:64]) for name in sorted(names)[:5])
        raise InvalidInput(where, f"it has unknown fields: {listed}.")


def check_uuid(field: str, text: str, code: str | None = None) -> None:
    """Refuse what cannot be an id. Raises InvalidInput."""
    if not is_uuid(text):
        raise InvalidInput(field, f"{text[:64]!r} is not a UUID.", code)


def flag(field: str, value: bool | str | int | None) -> bool:
    """Return a boolean that may have been sent as text, as Cinder allows. Raises InvalidInput."""
    text = str(value).strip().lower()
    if isinstance(value, bool):
        return value
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise InvalidInput(field, f"{value!r} is not a boolean.", "EVS.1018")
