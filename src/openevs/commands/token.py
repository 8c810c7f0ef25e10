"""`openevs token`: a token for the user and project that the environment names, for use with curl.

What other commands need to speak to a service in the name of that user is here too.
"""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPMessage
from typing import Any, NamedTuple

from openevs.commands.failure import Failure

VARIABLES = ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME")


class Login(NamedTuple):
    """A new token and whose it is."""

    auth_url: str
    token: str
    user_id: str

    def __repr__(self) -> str:
        """Without the token."""
        return f"Login(auth_url={self.auth_url!r}, user_id={self.user_id!r})"


def get_token(environ: Mapping[str, str]) -> str:
    """Return a new token from the identity service at OS_AUTH_URL. Raises Failure."""
    return log_in(environ).token


def log_in(environ: Mapping[str, str]) -> Login:
    """Get a token from the identity service at OS_AUTH_URL. Raises Failure."""
    missing = [name for name in VARIABLES if not environ.get(name)]
    if missing:
        raise Failure(f"{', '.join(missing)} not set; source the openrc file in the data folder first.")
    user_domain = {"name": environ.get("OS_USER_DOMAIN_NAME", "Default")}
    project_domain = {"name": environ.get("OS_PROJECT_DOMAIN_NAME", "Default")}
    user = {"name": environ["OS_USERNAME"], "password": environ["OS_PASSWORD"], "domain": user_domain}
    scope = {"project": {"name": environ["OS_PROJECT_NAME"], "domain": project_domain}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    auth_url = environ["OS_AUTH_URL"].rstrip("/")
    answer, headers = send(f"{auth_url}/auth/tokens", body)
    try:
        return Login(auth_url, headers["X-Subject-Token"], answer["token"]["user"]["id"])
    except (KeyError, TypeError):
        raise Failure(f"{auth_url} is no identity service's: its answer has no token.") from None


def send(url: str, body: object = None, *, method: str = "POST", token: str = "") -> tuple[Any, HTTPMessage]:
    """Send a request and return its answer, which is JSON or empty, and the headers of that. Raises Failure."""
    headers = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - the URL is the user's own
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return json.loads(reply.read() or b"null"), reply.headers
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            text = json.loads(text)["error"]["message"]
        raise Failure(f"{url} answered {error.code}: {text[:300]}") from None
    except OSError as error:
        raise Failure(f"{url} cannot be reached: {error}.") from None
    except ValueError as error:  # what is no URL, or no JSON
        raise Failure(f"{url} is no service's: {error}.") from None
