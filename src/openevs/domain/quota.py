"""What counts against a project's quotas (spec 3.5, 4.7)."""

from typing import Final

UNLIMITED: Final = -1
COUNTED: Final = ("volumes", "snapshots", "gigabytes")
"""Resources that exist in total and per volume type (`volumes_layers`, …)."""
STATED: Final = ("backups", "backup_gigabytes", "groups", "per_volume_gigabytes")
"""Resources that exist only in total."""


def volume_usage(size_gib: int, volume_type: str) -> dict[str, int]:
    """Return what one volume uses."""
    return {
        "volumes": 1,
        f"volumes_{volume_type}": 1,
        "gigabytes": size_gib,
        f"gigabytes_{volume_type}": size_gib,
    }


def snapshot_usage(size_gib: int, volume_type: str) -> dict[str, int]:
    """Return what one snapshot uses; it counts the volume's full size, whatever it occupies."""
    return {
        "snapshots": 1,
        f"snapshots_{volume_type}": 1,
        "gigabytes": size_gib,
        f"gigabytes_{volume_type}": size_gib,
    }


def growth_usage(by_gib: int, volume_type: str) -> dict[str, int]:
    """Return what extending a volume adds."""
    return {"gigabytes": by_gib, f"gigabytes_{volume_type}": by_gib}
