"""The files that Tempest reads: what it may expect here, and as whom."""

import configparser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import yaml

from openevs.domain.backends import PROTOCOL, VENDOR
from tests.environments import site_packages
from tests.tempest.cloud import Account, Cloud

MODES: Final = ("preprovisioned", "dynamic")
"""`preprovisioned`: Tempest finds its accounts in a file. `dynamic`: it makes them by the identity API."""

SKIPPED_WITHOUT: Final = {"service_available": {"neutron": "true", "glance": "true"}}
"""Some classes ask for a network and others for an image service and call neither. Only where accounts are given can
both be claimed: Tempest's own accounts would get networks."""


def write(folder: Path, environment: Path, cloud: Cloud, mode: str, accounts: Iterable[Account]) -> Path:
    """Write tempest.conf and accounts.yaml into `folder` and return the path of the first."""
    sections = _sections(folder, cloud)
    if mode == "preprovisioned":
        path = folder / "accounts.yaml"
        path.write_text(yaml.safe_dump([_entry(account) for account in accounts], sort_keys=False))
        sections["auth"] |= {"use_dynamic_credentials": "false", "test_accounts_file": str(path)}
        for name, options in SKIPPED_WITHOUT.items():
            sections[name] |= options
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(sections)
    config = folder / "tempest.conf"
    with config.open("w") as file:
        parser.write(file)
    packages = site_packages(environment)
    (folder / ".stestr.conf").write_text(
        "[DEFAULT]\n"
        f"test_path={packages}/tempest/test_discover\n"
        f"top_dir={packages}\n"
        r"group_regex=([^\.]*\.)*" + "\n"  # a class runs in one worker: it has accounts and things of its own
    )
    return config


def _entry(account: Account) -> Mapping[str, object]:
    return {
        "username": account.user,
        "password": account.password,
        "project_name": account.project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "domain_name": "Default",
        "roles": [account.role],
        **({"types": ["admin"]} if account.role == "admin" else {}),
    }


def _sections(folder: Path, cloud: Cloud) -> dict[str, dict[str, str]]:
    return {
        "DEFAULT": {"log_file": "tempest.log", "log_dir": str(folder)},
        "oslo_concurrency": {"lock_path": str(folder / "locks")},
        "auth": {
            "use_dynamic_credentials": "true",
            "admin_username": cloud.admin.user,
            "admin_password": cloud.admin.password,
            "admin_project_name": cloud.admin.project,
            "admin_domain_name": "Default",
            "tempest_roles": "member",
        },
        "identity": {
            "auth_version": "v3",
            "uri_v3": cloud.auth_url,
            "region": cloud.region,
            "v3_endpoint_type": "public",
        },
        "identity-feature-enabled": {"api_v3": "true", "api_v2": "false"},
        "service_available": dict.fromkeys(("nova", "glance", "swift", "neutron", "horizon"), "false")
        | {"cinder": "true"},
        "compute": {"compute_volume_common_az": "nova", "image_ref": ""},
        "volume": {
            "min_microversion": "3.0",
            "max_microversion": "latest",
            "backend_names": ",".join(cloud.backends),
            "manage_volume_ref": ",".join(cloud.manage_volume_ref),
            "manage_snapshot_ref": ",".join(cloud.manage_snapshot_ref),
            "storage_protocol": PROTOCOL,
            "vendor_name": VENDOR,
            "build_timeout": "60",
        },
        "volume-feature-enabled": dict.fromkeys(
            (
                "backup",
                "clone",
                "consistency_group",
                "extend_attached_volume",
                "extend_volume_with_snapshot",
                "manage_snapshot",
                "manage_volume",
                "multi_backend",
                "snapshot",
                "volume_revert",
            ),
            "true",
        ),
    }
