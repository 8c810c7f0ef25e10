"""docs/errors.md, made from the tables of `faults.py`, so that it says what the code does."""

from typing import Final

from openevs.api.faults import EVS_CODES, FAULT_NAME, FORBIDDEN_CODE, OTHER_FAULT, STATUS, fault_name
from openevs.domain.errors import Forbidden

CODES: Final = {
    "APIGW.0301": "no valid token or signature (in every family but identity's)",
    "Common.0011": "no such job in this project",
    "EVS.0001": "the project of the URL is not the project of the token",
    "EVS.1002": "a volume id is not a UUID",
    "EVS.1003": "a volume's name is not valid",
    "EVS.1004": "a volume's description is not valid",
    "EVS.1005": "metadata of 1 MiB or more",
    "EVS.1007": "a volume's update has neither name nor description",
    "EVS.1010": "a volume's size is not valid",
    "EVS.1015": "the new size is not larger than the old one",
    "EVS.1016": "more than one source for a volume",
    "EVS.1018": "a field has the wrong type",
    "EVS.1020": "there is no such volume type",
    "EVS.1021": "the number of volumes to create is not valid",
    "EVS.1022": "size smaller than the backup",
    "EVS.1023": "`limit` is no number from 1 on",
    "EVS.1024": "`marker` is not a UUID",
    "EVS.1025": "a metadata filter cannot be read",
    "EVS.1027": "the caller's roles do not allow this",
    "EVS.1039": "`sort_key` is not valid",
    "EVS.1040": "`sort_dir` is neither asc nor desc",
    "EVS.1043": "metadata that a volume from a snapshot takes from there",
    "EVS.1046": "the volume's status forbids deletion",
    "EVS.1047": "the snapshot's status forbids deletion",
    "EVS.1052": "the body is no JSON object",
    "EVS.1057": "`hw:passthrough` is not valid",
    "EVS.1063": "`full_clone` is not valid",
    "EVS.1064": "the volume's status forbids extending it",
    "EVS.1070": "something required is missing in the body",
    "EVS.2019": "the snapshot is in error_deleting",
    "EVS.2020": "the volume is in error_deleting",
    "EVS.2021": "the volume is in error_detaching",
    "EVS.2043": "the source snapshot is neither available nor backing-up",
    "EVS.2047": "this metadata cannot be set",
    "EVS.2053": "there is no such availability zone",
    "EVS.2130": "the volume is being backed up",
    "EVS.2142": "`limit` is above 1000",
    "EVS.2218": "`X-Client-Token` has no or too many characters",
    "EVS.2219": "`X-Client-Token` was used with another request",
    "EVS.5500": "an unexpected error",
}
"""Every code that is not made from the status alone; a test finds one that is used and not here."""

_HEAD = """# Errors

Made from the tables in `src/openevs/api/faults.py` and `error_docs.py`; a test fails when this text is another.

Every message names the field or the resource, what was found and what would be allowed. What belongs to another project
does not exist (404). Every answer carries `X-Request-Id`, under which the log says more. An unexpected error is a 500
with a fixed sentence.

## Forms

| family | where | body |
|---|---|---|
| native | `/v2\\|v3/{project_id}/…`, Cinder's resources | `{"itemNotFound": {"message": "…", "code": 404}}` |
| EVS | Huawei's own resources, `cloudsnapshots` and its like | `{"error": {"message": "…", "code": "EVS.5404"}}` |
| gateway | 401 in both of them | `{"error_msg": "…", "error_code": "APIGW.0301", "request_id": "…"}` |
| identity | `/identity/v3/…`, `/v3/auth/…` | `{"error": {"message": "…", "code": 404, "title": "Not Found"}}` |
| flat | backups, older tag resources, health | `{"message": "…", "code": 404}` |

A 413 of the native family has `retryAfter` beside the message, and every 413 for a quota a header `Retry-After: 0`.
"""


def render_errors() -> str:
    """Return docs/errors.md."""
    parts = [_HEAD, "## Refusals\n", "| refusal | meaning | status | native | EVS |", "|---|---|---|---|---|"]
    for error, status in STATUS.items():
        meaning = (error.__doc__ or "").splitlines()[0]
        code = FORBIDDEN_CODE if error is Forbidden else f"EVS.5{status}"
        parts.append(f"| {error.__name__} | {meaning} | {status} | `{fault_name(status)}` | {code} |")
    parts += ["", "The EVS column holds unless one of the codes below fits better.", "", "## Fault names", ""]
    parts += ["| status | name |", "|---|---|"]
    parts += [f"| {status} | `{name}` |" for status, name in FAULT_NAME.items()]
    parts += [f"| any other (406, 408, 414, 431, 500 …) | `{OTHER_FAULT}` |", ""]
    parts += ["## By what was tried", "", "| tried | status found | answer | meaning |", "|---|---|---|---|"]
    for row in EVS_CODES:
        found = row.found or "any other"
        parts.append(f"| {row.action} {row.kind} | {found} | {row.status} {row.code} | {row.meaning} |")
    parts += ["", "In the native family these are all 400 `badRequest`.", "", "## Codes", ""]
    parts += ["| code | meaning |", "|---|---|"]
    parts += [f"| {code} | {meaning} |" for code, meaning in CODES.items()]
    parts.append("| EVS.5*nnn* | any other refusal with HTTP status *nnn* |")
    return "\n".join(parts) + "\n"
