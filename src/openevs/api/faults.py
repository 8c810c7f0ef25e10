"""The one place where a refusal becomes HTTP: per error a status and, per family, its name or code (spec 5.1, 5.2)."""

from typing import Any, Final, NamedTuple

from openevs.api.call import Family, Reply
from openevs.domain.errors import (
    Conflict,
    DomainError,
    Forbidden,
    InUse,
    InvalidInput,
    NotFound,
    NotSupported,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
    WrongStatus,
)


class HttpRefusal(DomainError):
    """A refusal that only HTTP knows: no such path, a method that is not there, a body that is too large."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


STATUS: Final[dict[type[DomainError], int]] = {
    InvalidInput: 400,
    WrongStatus: 400,
    InUse: 400,
    NotSupported: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    QuotaExceeded: 413,
    Unavailable: 503,
}

FAULT_NAME: Final[dict[int, str]] = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}
OTHER_FAULT: Final = "computeFault"

IAM_TITLE: Final[dict[int, str]] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Rule(NamedTuple):
    """What the documentation says of one kind of refusal (`docs/errors.md` is made from these)."""

    error: type[DomainError]
    status: int
    fault: str
    evs_code: str


def rules() -> list[Rule]:
    """Return the table of refusals."""
    return [Rule(error, code, fault_name(code), f"EVS.5{code}") for error, code in STATUS.items()]


def fault_name(status: int) -> str:
    """Return Cinder's name for a status."""
    return FAULT_NAME.get(status, OTHER_FAULT)


def status_of(error: DomainError) -> int:
    """Return the HTTP status of a refusal."""
    if isinstance(error, HttpRefusal):
        return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def refusal(family: Family, error: DomainError, request_id: str) -> Reply:
    """Return the answer to a request that is refused."""
    status = status_of(error)
    if isinstance(error, Unauthenticated) and family != "iam":
        return gateway_refusal(str(error), request_id)
    reply = fault(family, status, str(error), error.code)
    if isinstance(error, QuotaExceeded):
        return reply._replace(headers={"Retry-After": "0"})
    return reply


def fault(family: Family, status: int, message: str, code: str | None = None) -> Reply:
    """Return an error answer in the shape of a family."""
    body: dict[str, Any]
    if family == "evs":
        body = {"error": {"message": message, "code": code or f"EVS.5{status}"}}
    elif family == "iam":
        body = {"error": {"message": message, "code": status, "title": IAM_TITLE.get(status, "Error")}}
    elif family == "flat":
        body = {"message": message, "code": status}
    else:
        detail: dict[str, Any] = {"message": message, "code": status}
        if status == 413:
            detail["retryAfter"] = "0"
        body = {fault_name(status): detail}
    return Reply(body, status)


def gateway_refusal(reason: str, request_id: str) -> Reply:
    """Return the gateway's answer to a request without valid credentials (spec 1.4.4)."""
    message = f"Incorrect IAM authentication information: {reason}"
    return Reply({"error_msg": message, "error_code": "APIGW.0301", "request_id": request_id}, 401)
