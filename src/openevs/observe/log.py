"""Logging: constant event names with fields, to standard error; request, operation and project ids are bound once."""

import logging
import sys
from contextvars import ContextVar
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from openevs.observe.stream import Unhindered
from openevs.settings import Log

REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""Of the request that is being answered; every line that is logged meanwhile has it. Not bound in structlog's own way,
which takes a microsecond of each request, whether a line is logged or not."""
SECRET_WORDS = ("password", "secret", "token", "psk", "auth_key", "openrc")


def hide_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace the value of every field whose name says that it is a secret. A net under the rule, not the rule: code
    does not log secrets in the first place."""
    for name in event:
        if name != "event" and any(word in name.lower() for word in SECRET_WORDS):
            event[name] = "***"
    return event


def add_request_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Add the request's id, where there is one and nobody has said otherwise (operations name the one they are of)."""
    request_id = REQUEST_ID.get(None)
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def configure_logging(settings: Log) -> None:
    """Set up logging for this process."""
    text = settings.format == "text" or (settings.format == "auto" and sys.stderr is not None and sys.stderr.isatty())
    out = Unhindered(sys.stderr)
    # Plain tracebacks: those with local variables show tokens and passwords.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer: Processor = console if text else structlog.processors.JSONRenderer()

    def add_losses(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if out.lost:
            event["lines_lost_before"] = out.lost
        return event

    stamps: list[Processor] = [structlog.processors.add_log_level, structlog.processors.TimeStamper("iso", utc=True)]
    ends: list[Processor] = [
        add_losses,
        hide_secrets,
        *([] if text else [structlog.processors.format_exc_info]),
        renderer,
    ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, add_request_id, *stamps, *ends],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, out)),
        cache_logger_on_first_use=True,
    )
    # Libraries log by the standard means; their lines look like ours.
    handler = logging.StreamHandler(cast(TextIO, out))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *stamps],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
