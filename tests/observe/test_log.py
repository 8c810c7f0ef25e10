"""Every line that is logged for a request names it."""

import asyncio
import json

import pytest
import structlog

from openevs.observe.log import REQUEST_ID, configure_logging
from openevs.settings import Log


def test_lines_name_the_request_or_what_was_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Log(level="info", format="json"))
    try:
        log = structlog.get_logger()

        async def request() -> None:
            REQUEST_ID.set("req-1")
            log.info("answered")
            with structlog.contextvars.bound_contextvars(request_id="req-0"):
                log.info("worked")

        log.info("began")
        asyncio.run(request())
        log.info("ended")
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("request_id")) for line in lines] == [
        ("began", None),
        ("answered", "req-1"),
        ("worked", "req-0"),
        ("ended", None),
    ]
