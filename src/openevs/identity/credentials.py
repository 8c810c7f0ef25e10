"""The files that let clients in: `clouds.yaml` for OpenStack's tools and SDK, `openrc` for a shell."""

import json
import os
import secrets
import shlex
from pathlib import Path

from openevs.identity.bootstrap import Bootstrap
from openevs.identity.port import DOMAIN_NAME


def write_credentials(folder: Path, base_url: str, made: Bootstrap) -> list[Path]:
    """Write `clouds.yaml` and `openrc` into `folder` and return their paths.

    Each appears whole or not at all, and only its owner can ever read it. Raises ValueError when `made` holds no
    passwords, that is, on a later start than the first.
    """
    if made.admin_password is None or made.demo_password is None:
        raise ValueError("there are no passwords to write: they were made by an earlier start")
    auth_url = f"{base_url.rstrip('/')}/identity/v3"
    clouds = "clouds:\n" + "".join(
        _cloud(name, auth_url, user, password, made.demo_project)
        for name, user, password in (
            ("openevs", made.demo_user, made.demo_password),
            ("openevs-admin", made.admin_user, made.admin_password),
        )
    )
    texts = {
        "clouds.yaml": clouds,
        "openrc": _openrc(auth_url, made.demo_user, made.demo_password, made.demo_project),
    }
    return [_write_secret(folder / name, text) for name, text in texts.items()]


def _cloud(name: str, auth_url: str, user: str, password: str, project: str) -> str:
    # A JSON text is a YAML text: names from the settings may hold anything.
    fields = {
        "auth_url": auth_url,
        "username": user,
        "password": password,
        "project_name": project,
        "user_domain_name": DOMAIN_NAME,
        "project_domain_name": DOMAIN_NAME,
    }
    lines = "".join(f"      {key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in fields.items())
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
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _write_secret(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # The mode is given at creation: there is no instant at which others could open it.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path
