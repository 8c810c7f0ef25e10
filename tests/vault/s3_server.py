"""A real S3 server for tests: JuiceFS's gateway, on a folder."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from openevs.vault.s3 import S3Store
from tests.ports import own_port

ACCESS_KEY: Final = "tests"
SECRET_KEY: Final = "a-secret-of-tests"
BUCKET: Final = "vault"
_START_SECONDS: Final = 30.0


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Give the endpoint of a server that keeps its objects in the folder."""
    program = Path(sys.executable).parent / "juicefs"
    meta = f"sqlite3://{folder}/meta.db"
    content = f"{folder}/content/"
    subprocess.run(
        [program, "format", "--no-update", "--storage", "file", "--bucket", content, meta, BUCKET],
        check=True, capture_output=True,
    )  # fmt: skip
    port = own_port()
    secrets = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, "gateway", "--no-usage-report", "--cache-dir", folder / "cache", "--cache-size", "64",
             meta, f"127.0.0.1:{port}"],
            env=os.environ | secrets, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/minio/health/live", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def bucket(endpoint: str, prefix: str, name: str = BUCKET, secret: str = SECRET_KEY) -> S3Store:
    """A store on that server."""
    return S3Store(
        name, prefix, endpoint=endpoint, region="us-east-1", access_key=ACCESS_KEY, secret_key=secret, connections=4
    )


def _wait(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx.get(url).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start:\n{log.read_text()[-2000:]}")
