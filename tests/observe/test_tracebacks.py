"""What the log does not say."""

import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from openevs.observe.log import configure_logging
from openevs.settings import Log

def log_in(given):
    raise ValueError("no such user")

configure_logging(Log(format="{format}"))
log = structlog.get_logger()
try:
    log_in({{"user": "somebody", "key": "hunter2hunter2"}})
except ValueError:
    log.exception("request_crashed", auth_key="hunter2hunter2", path="/v3")
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_values(form: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(format=form)]
    said = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stderr
    assert "hunter2" not in said
    assert "ValueError: no such user" in said
    assert "log_in" in said
