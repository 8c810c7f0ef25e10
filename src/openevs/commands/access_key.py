"""`openevs access-key`: keys to sign requests with, of the user that the environment (openrc) names."""

import json
import shlex
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from openevs.commands.token import log_in


class Refused(Exception):
    """The service does not do what was asked; the message says why."""


def create(environ: Mapping[str, str], description: str) -> str:
    """Create a key and return it as lines for a shell. Raises Refused, NoToken."""
    made = _call(environ, "POST", "", {"credential": {"user_id": None, "description": description}})["credential"]
    variables = {"HUAWEICLOUD_SDK_AK": made["access"], "HUAWEICLOUD_SDK_SK": made["secret"]}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def list_keys(environ: Mapping[str, str]) -> str:
    """Return the user's keys, one a line, without their secrets. Raises Refused, NoToken."""
    keys = _call(environ, "GET", "")["credentials"]
    return "\n".join(f"{key['access']}  {key['status']:8}  {key['create_time']}  {key['description']}" for key in keys)


def delete(environ: Mapping[str, str], access: str) -> None:
    """Delete a key. Raises Refused, NoToken."""
    _call(environ, "DELETE", "/" + quote(access, safe=""))


def _call(environ: Mapping[str, str], method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    login = log_in(environ)
    if body is not None:
        body["credential"]["user_id"] = login.user_id
    request = urllib.request.Request(  # noqa: S310 - the URL is the user's own
        login.auth_url.removesuffix("/v3") + "/v3.0/OS-CREDENTIAL/credentials" + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-Auth-Token": login.token},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return json.loads(reply.read() or b"null")
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            text = json.loads(text)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            text = text[:300]
        raise Refused(f"The service answered {error.code}: {text}") from None
    except OSError as error:
        raise Refused(f"{login.auth_url} cannot be reached: {error}.") from None
