"""`scripts/setup` where something is missing and cannot be installed: it says what, and stops."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL = ("sh", "dirname")


def setup(tools: Path) -> subprocess.CompletedProcess[str]:
    """Run it for a user who has only these tools, and those of the system's that only root has in PATH."""
    for name in SHELL:
        (tools / name).symlink_to(Path("/bin", name))
    return subprocess.run(
        ["/bin/sh", ROOT / "scripts" / "setup", "run"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(tools)},
        timeout=60,
    )


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("sudo", "prefix", "who"), [(True, "sudo ", ""), (False, "", " as root")])
def test_a_user_who_may_not_install_is_given_the_command(tmp_path: Path, sudo: bool, prefix: str, who: str) -> None:
    program(tmp_path / "id", "echo 1000")
    program(tmp_path / "apt-get", "echo must not be called; exit 1")
    if sudo:
        program(tmp_path / "sudo", "exit 1")
    done = setup(tmp_path)
    assert done.returncode == 1
    first, command = done.stderr.splitlines()
    assert f"Install them{who}, then" in first
    assert command.startswith(
        f"  {prefix}apt-get update && {prefix}apt-get install --no-install-recommends -y qemu-utils qemu-system-common"
    )
    # It is there, though not in the user's PATH.
    assert "e2fsprogs" not in command
    assert "curl" in command


def test_another_system_is_told_the_packages(tmp_path: Path) -> None:
    done = setup(tmp_path)
    assert done.returncode == 1
    assert "install the packages that hold them: qemu-utils qemu-system-common curl" in done.stderr
