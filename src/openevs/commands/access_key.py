"""`openevs access-key`: keys to sign requests with, of the user that the environment (openrc) names."""

import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from openevs.commands.token import Login, log_in, send


def create(environ: Mapping[str, str], description: str) -> str:
    """Create a key and return it as lines for a shell. Raises Failure."""
    login = log_in(environ)
    body = {"credential": {"user_id": login.user_id, "description": description}}
    made = _call(login, "POST", "", body)["credential"]
    variables = {"HUAWEICLOUD_SDK_AK": made["access"], "HUAWEICLOUD_SDK_SK": made["secret"]}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def list_keys(environ: Mapping[str, str]) -> str:
    """Return the user's keys, one a line, without their secrets. Raises Failure."""
    keys = _call(log_in(environ), "GET", "")["credentials"]
    return "\n".join(f"{key['access']}  {key['status']:8}  {key['create_time']}  {key['description']}" for key in keys)


def delete(environ: Mapping[str, str], access: str) -> None:
    """Delete a key. Raises Failure."""
    _call(log_in(environ), "DELETE", "/" + quote(access, safe=""))


def _call(login: Login, method: str, path: str, body: object = None) -> Any:
    url = f"{login.auth_url.removesuffix('/v3')}/v3.0/OS-CREDENTIAL/credentials{path}"
    return send(url, body, method=method, token=login.token)[0]
