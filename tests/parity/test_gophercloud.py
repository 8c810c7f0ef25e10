"""The whole life of a snapshot with gophercloud, the library under Terraform's provider, unmodified, and real bytes."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import IO, Final

import pytest
import yaml

from openevs.demo.service import Service
from tests.parity.disk import read_at, write_at

LIBRARY: Final = Path("/usr/share/gocode")
"""Where Debian's package of the library is."""
PROGRAM: Final = Path(__file__).parent / "gophercloud" / "life.go"
_SECONDS: Final = 120


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built without a network."""
    if not os.environ.get("CI") and (shutil.which("go") is None or not LIBRARY.is_dir()):
        pytest.skip("needs golang-go and golang-github-gophercloud-gophercloud-dev")
    folder = tmp_path_factory.mktemp("go")
    # A folder of its own for everything that Go keeps; the cache is worth keeping, a build from nothing takes a minute.
    environ = {**os.environ, "GOPATH": str(LIBRARY), "GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", folder / "life", PROGRAM], env=environ, check=True, cwd=folder)
    return folder / "life"


@pytest.mark.slow
def test_snapshot_life(service: Service, program: Path) -> None:
    auth = yaml.safe_load((service.folder / "clouds.yaml").read_text())["clouds"]["openevs"]["auth"]
    environ = {
        "OS_AUTH_URL": auth["auth_url"],
        "OS_USERNAME": auth["username"],
        "OS_PASSWORD": auth["password"],
        "OS_PROJECT_NAME": auth["project_name"],
        "OS_DOMAIN_NAME": auth["user_domain_name"],
    }
    with subprocess.Popen(
        [program], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdin is not None
            assert running.stdout is not None
            uri = told(running.stdout, "attached")
            write_at(uri, 0, b"first" * 100)
            say(running.stdin)
            told(running.stdout, "taken")
            write_at(uri, 0, b"later" * 100)
            say(running.stdin)
            assert read_at(told(running.stdout, "attached"), 0, 500) == b"first" * 100
            say(running.stdin)
            told(running.stdout, "done")
            assert running.wait(_SECONDS) == 0
        except AssertionError:
            running.kill()
            print(running.communicate()[1])  # noqa: T201 - what it said is why
            raise


def told(output: IO[str], word: str) -> str:
    """Return what the program says after a word."""
    line = output.readline().split()
    assert line[:1] == [word], line
    return line[-1]


def say(to: IO[str]) -> None:
    """Let the program go on."""
    to.write("\n")
    to.flush()
