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
from openevs.identity.signing import SignatureRefused


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
    412: "preconditionFailed",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}
OTHER_FAULT: Final = "computeFault"
LONGEST_MESSAGE: Final = 2000
"""Characters of a message. Many name what a client has sent, which may be as long as a body."""

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


class EvsCode(NamedTuple):
    """A refusal that Huawei's own resources answer with a code, or a status, of its own (spec 5.3, 5.4)."""

    error: type[WrongStatus]
    kind: str
    action: str
    """As in the refusal's sentence, and in the transition table (`domain/lifecycle.py`)."""
    found: str | None
    """The status that was found; None: any."""
    status: int
    code: str
    meaning: str


EVS_CODES: Final = (
    EvsCode(WrongStatus, "snapshot", "delete", "error_deleting", 500, "EVS.2019", "the snapshot is in error_deleting"),
    EvsCode(WrongStatus, "snapshot", "delete", None, 400, "EVS.1047", "the snapshot's status forbids deletion"),
    EvsCode(WrongStatus, "volume", "delete", "error_deleting", 500, "EVS.2020", "the disk is in error_deleting"),
    EvsCode(WrongStatus, "volume", "delete", "error_detaching", 500, "EVS.2021", "the disk is in error_detaching"),
    EvsCode(WrongStatus, "volume", "delete", "backing-up", 400, "EVS.2130", "the disk is being backed up"),
    EvsCode(WrongStatus, "volume", "delete", None, 400, "EVS.1046", "the disk's status forbids deletion"),
    EvsCode(WrongStatus, "volume", "extend", None, 400, "EVS.1064", "expansion needs an available or in-use disk"),
)
"""The first that fits counts. A refusal that fits none has the code of its status: EVS.5400, EVS.5404, …"""
FORBIDDEN_CODE: Final = "EVS.1027"


def fault_name(status: int) -> str:
    """Return Cinder's name for a status."""
    return FAULT_NAME.get(status, OTHER_FAULT)


def status_of(error: DomainError) -> int:
    """Return the HTTP status of a refusal."""
    if isinstance(error, HttpRefusal):
        return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def evs_code(error: DomainError) -> tuple[int, str]:
    """Return status and code of a refusal in the families of Huawei's own resources."""
    status = status_of(error)
    if error.code is not None:
        return status, error.code
    if isinstance(error, Forbidden):
        return status, FORBIDDEN_CODE
    if isinstance(error, WrongStatus):
        for row in EVS_CODES:
            if (row.kind, row.action) == (error.kind, error.action) and row.found in (None, error.found):
                return row.status, row.code
    return status, f"EVS.5{status}"


def refusal(family: Family, error: DomainError, request_id: str) -> Reply:
    """Return the answer to a request that is refused."""
    status = status_of(error)
    # A signature never reaches identity itself: it is the gateway's to judge, whatever is asked for behind it.
    if isinstance(error, SignatureRefused) or (isinstance(error, Unauthenticated) and family != "iam"):
        return gateway_refusal(str(error), request_id)
    if family == "evs":
        status, code = evs_code(error)
        reply = fault(family, status, str(error), code)
    else:
        reply = fault(family, status, str(error))
    if isinstance(error, QuotaExceeded):
        return reply._replace(headers={"Retry-After": "0"})
    return reply


def fault(family: Family, status: int, message: str, code: str | None = None) -> Reply:
    """Return an error answer in the shape of a family."""
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]}…"
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
