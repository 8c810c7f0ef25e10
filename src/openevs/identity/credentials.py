"""The files that let clients in: `clouds.yaml` for OpenStack's tools and SDK, `openrc` for a shell and Huawei's SDKs.

Once written they belong to the user, who may add to them: what has to change later, is changed line by line.
"""

import json
import os
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from openevs import durable
from openevs.identity.bootstrap import Bootstrap
from openevs.identity.port import DOMAIN_NAME

CLOUDS: Final = "clouds.yaml"
OPENRC: Final = "openrc"
_AUTH: Final = "/identity/v3"
"""What the URL of the identity service has after the service's own."""
_OWN_URL: Final = {
    CLOUDS: re.compile(r"^  openevs:\n    auth:\n      auth_url: (?P<value>.*)$", re.MULTILINE),
    OPENRC: re.compile(r"^export OS_AUTH_URL=(?P<value>.*)$", re.MULTILINE),
}
"""Where a file says for which URL it was written."""
_URL_LINE: Final = {
    CLOUDS: re.compile(r"^(?P<name> +auth_url: )(?P<value>.*)$", re.MULTILINE),
    OPENRC: re.compile(r"^(?P<name>export (?:OS_AUTH_URL|HUAWEICLOUD_SDK_[A-Z_0-9]+)=)(?P<value>.*)$", re.MULTILINE),
}
_QUOTE: Final[dict[str, Callable[[str], str]]] = {
    # A JSON text is a YAML text: names from the settings may hold anything.
    CLOUDS: lambda text: json.dumps(text, ensure_ascii=False),
    OPENRC: shlex.quote,
}


def write_credentials(folder: Path, base_url: str, region: str, made: Bootstrap) -> list[Path]:
    """Write `clouds.yaml` and `openrc` into `folder` and return their paths.

    Each appears whole or not at all, and only its owner can ever read it. Raises ValueError when `made` holds no
    passwords, that is, on a later start than the first.
    """
    if made.admin_password is None or made.demo_password is None:
        raise ValueError("there are no passwords to write: they were made by an earlier start")
    base_url = base_url.rstrip("/")
    auth_url = base_url + _AUTH
    clouds = "clouds:\n" + "".join(
        _cloud(name, auth_url, user, password, made.demo_project)
        for name, user, password in (
            ("openevs", made.demo_user, made.demo_password),
            ("openevs-admin", made.admin_user, made.admin_password),
        )
    )
    texts = {
        CLOUDS: clouds,
        OPENRC: _openrc(auth_url, made.demo_user, made.demo_password, made.demo_project)
        + _exports(_signing_variables(base_url, region, made)),
    }
    return [_write_secret(folder / name, text) for name, text in texts.items()]


def move_credentials(folder: Path, base_url: str) -> list[Path]:
    """Put the service's present URL in place of its former one in the files that are there, and return the paths of
    those that changed. Files of other users, links, and URLs of other services stay as they are."""
    return [path for name in (CLOUDS, OPENRC) if (path := _move(folder, name, base_url.rstrip("/"))) is not None]


def replace_password(folder: Path, user: str, password: str) -> list[Path]:
    """Put a user's new password into the files that are there, and return the paths of those that changed."""
    before = {
        CLOUDS: f"^(      username: {re.escape(_QUOTE[CLOUDS](user))}\n      password: ).*$",
        OPENRC: f"^(export OS_USERNAME={re.escape(_QUOTE[OPENRC](user))}\nexport OS_PASSWORD=).*$",
    }
    changed = []
    for name, pattern in before.items():
        text = _own_text(folder / name)
        new = re.sub(pattern, lambda m, name=name: m[1] + _QUOTE[name](password), text, flags=re.MULTILINE)  # type: ignore[misc]
        if new != text:
            changed.append(_write_secret(folder / name, new))
    return changed


def _move(folder: Path, name: str, base_url: str) -> Path | None:
    text = _own_text(folder / name)
    found = _OWN_URL[name].search(text)
    if found is None:
        return None
    former = _plain(found["value"]).removesuffix(_AUTH)
    if not former.startswith(("http://", "https://")):
        return None

    def moved(line: re.Match[str]) -> str:
        value = _plain(line["value"])
        if value not in (former, former + _AUTH):
            return line[0]
        return line["name"] + _QUOTE[name](base_url + value.removeprefix(former))

    new = _URL_LINE[name].sub(moved, text)
    return None if new == text else _write_secret(folder / name, new)


def _own_text(path: Path) -> str:
    """Return the text of a file of ours; nothing if there is none, or it is a link, or somebody else's."""
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        pass
    return ""


def _plain(value: str) -> str:
    """Return a quoted value without its quotes, as both a shell and YAML would for a URL; itself if it has none."""
    try:
        words = shlex.split(value)
    except ValueError:
        return value
    return words[0] if len(words) == 1 else value


def _cloud(name: str, auth_url: str, user: str, password: str, project: str) -> str:
    fields = {
        "auth_url": auth_url,
        "username": user,
        "password": password,
        "project_name": project,
        "user_domain_name": DOMAIN_NAME,
        "project_domain_name": DOMAIN_NAME,
    }
    lines = "".join(f"      {key}: {_QUOTE[CLOUDS](value)}\n" for key, value in fields.items())
    return f"  {name}:\n    auth:\n{lines}    identity_api_version: 3\n    block_storage_api_version: 3\n"


def _openrc(auth_url: str, user: str, password: str, project: str) -> str:
    variables = {
        "OS_AUTH_URL": auth_url,
        "OS_USERNAME": user,
        "OS_PASSWORD": password,
        "OS_PROJECT_NAME": project,
        "OS_USER_DOMAIN_NAME": DOMAIN_NAME,
        "OS_PROJECT_DOMAIN_NAME": DOMAIN_NAME,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_VOLUME_API_VERSION": "3",
    }
    return _exports(variables)


def _signing_variables(base_url: str, region: str, made: Bootstrap) -> dict[str, str]:
    """Return what Huawei's SDKs look for: the key, and where to find the services of the region."""
    if made.access_key is None:
        return {}
    variables = {
        "HUAWEICLOUD_SDK_AK": made.access_key.access,
        "HUAWEICLOUD_SDK_SK": made.access_key.secret,
        "HUAWEICLOUD_SDK_PROJECT_ID": made.demo_project_id or "",
        "HUAWEICLOUD_SDK_IAM_ENDPOINT": base_url,
    }
    of_region = {
        f"HUAWEICLOUD_SDK_REGION_{kind}_{region.replace('-', '_').upper()}": base_url for kind in ("EVS", "IAM")
    }
    # Not every name of a region makes the name of a variable.
    return variables | {name: value for name, value in of_region.items() if name.isascii() and name.isidentifier()}


def _exports(variables: dict[str, str]) -> str:
    return "".join(f"export {name}={_QUOTE[OPENRC](value)}\n" for name, value in variables.items())


def _write_secret(path: Path, text: str) -> Path:
    # What is put in its place is made with a mode that at no instant lets others open it.
    durable.replace_file(path, text.encode())
    return path
