"""`openevs token`: a token for the user and project that the environment names, for use with curl.

What other commands need to speak to a service in the name of that user is here too.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

VARIABLES = ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME")


class NoToken(Exception):
    """No token could be had; the message says why."""


class Login(NamedTuple):
    """A new token and whose it is."""

    auth_url: str
    token: str
    user_id: str

    def __repr__(self) -> str:
        """Without the token."""
        return f"Login(auth_url={self.auth_url!r}, user_id={self.user_id!r})"


def get_token(environ: Mapping[str, str]) -> str:
    """Return a new token from the identity service at OS_AUTH_URL. Raises NoToken."""
    return log_in(environ).token


def log_in(environ: Mapping[str, str]) -> Login:
    """Get a token from the identity service at OS_AUTH_URL. Raises NoToken."""
    missing = [name for name in VARIABLES if not environ.get(name)]
    if missing:
        raise NoToken(f"{', '.join(missing)} not set; source the openrc file in the data folder first.")
    user_domain = {"name": environ.get("OS_USER_DOMAIN_NAME", "Default")}
    project_domain = {"name": environ.get("OS_PROJECT_DOMAIN_NAME", "Default")}
    user = {"name": environ["OS_USERNAME"], "password": environ["OS_PASSWORD"], "domain": user_domain}
    scope = {"project": {"name": environ["OS_PROJECT_NAME"], "domain": project_domain}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    request = urllib.request.Request(  # noqa: S310 - the URL is the user's own
        environ["OS_AUTH_URL"].rstrip("/") + "/auth/tokens",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            answer: dict[str, Any] = json.load(reply)
            token = str(reply.headers["X-Subject-Token"])
            return Login(environ["OS_AUTH_URL"].rstrip("/"), token, answer["token"]["user"]["id"])
    except urllib.error.HTTPError as error:
        raise NoToken(
            f"{environ['OS_AUTH_URL']} answered {error.code}: {error.read()[:300].decode(errors='replace')}"
        ) from None
    except OSError as error:
        raise NoToken(f"{environ['OS_AUTH_URL']} cannot be reached: {error}.") from None
