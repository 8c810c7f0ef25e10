"""`openevs token`: a token for the user and project that the environment names, for use with curl."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping

VARIABLES = ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME")


class NoToken(Exception):
    """No token could be had; the message says why."""


def get_token(environ: Mapping[str, str]) -> str:
    """Return a new token from the identity service at OS_AUTH_URL. Raises NoToken."""
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
            return str(reply.headers["X-Subject-Token"])
    except urllib.error.HTTPError as error:
        raise NoToken(
            f"{environ['OS_AUTH_URL']} answered {error.code}: {error.read()[:300].decode(errors='replace')}"
        ) from None
    except OSError as error:
        raise NoToken(f"{environ['OS_AUTH_URL']} cannot be reached: {error}.") from None
