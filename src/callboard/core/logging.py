"""Logs: one event per line with fields, JSON or readable, and never a secret.

`main`, `worker` and `cli` call `configure_service_logging` once per process. Everything that logs through the
standard library (uvicorn, SQLAlchemy) comes out in the same form. `bind` gives the lines that follow in
this task a request, job, workflow or step.
"""

import logging
import logging.config
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from callboard.core.config import Settings
from callboard.core.log_files import LogFiles, Service

MASK = "***"

# Chatty below this level, and of no use to an operator: SQL echoes, pool events, every finished request.
QUIET_LOGGERS = {
    "aiosqlite": "WARNING",
    "alembic": "WARNING",
    "arq.worker": "WARNING",  # two lines for each token; the job has its own
    "asyncio": "WARNING",
    "celery.app.trace": "WARNING",
    "celery.worker.strategy": "WARNING",
    "markdown_it": "WARNING",
    "sqlalchemy": "WARNING",
    "uvicorn.access": "WARNING",  # http_middleware logs each request, with its id
}
UVICORN_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access")

_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:key|keys|secret|token|jwt|authorization|auth|password|passwd|credentials?|cookie)$", re.IGNORECASE
)
_SECRET_TEXTS = (
    re.compile(r"\bcb_[A-Za-z0-9_-]{16,}"),  # ours
    re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}"),  # OpenAI, OpenRouter, Anthropic
    re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"),  # Google
    re.compile(r"\bwhsec_[A-Za-z0-9+/=]{16,}"),  # Standard Webhooks
    re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"),  # JWT
    re.compile(r"(?<=[Bb]earer )[^\s\"',]+"),
    re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"),  # user:password@ in a URL
)


def configure_service_logging(service: Service, settings: Settings, *, level: str | None = None) -> None:
    """Set up the logs of this process as the settings say: standard error, and files where LOG_DIR is set.

    `level` stands for LOG_LEVEL where it is given.
    """
    level = level or settings.log_level
    files = None
    if settings.log_dir is not None:
        least = logging.getLevelNamesMapping()[level]
        files = LogFiles(settings.log_dir, service, level=least, keep_days=settings.log_keep_days)
    configure_logging(level, json=settings.logs_json, files=files)


def configure_logging(level: str, *, json: bool, files: LogFiles | None = None) -> None:
    """Send every log line of this process to standard error, from `level` on, as JSON or readable text.

    `files` get the same lines, always as JSON. Calling it again replaces what an earlier call set up.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a second call must reach the loggers that exist already
    )
    handlers: list[logging.Handler] = [_StandardError()]
    handlers[0].setFormatter(_formatter(json=json))
    if files is not None:
        files.setFormatter(_formatter(json=True))
        handlers.append(files)
    for handler in handlers:
        handler.addFilter(_is_no_repetition)
    root = logging.getLogger()
    earlier = [handler for handler in root.handlers if isinstance(handler, _StandardError | LogFiles)]
    root.handlers = [*(handler for handler in root.handlers if handler not in earlier), *handlers]
    for handler in earlier:
        handler.close()
    root.setLevel(level)
    _quiet_the_others()


class _StandardError(logging.Handler):
    """Writes to what standard error is at that moment, not to what it was at start."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except (OSError, ValueError):  # closed, or its reader is gone
            self.handleError(record)


def _formatter(*, json: bool) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last_processors(json=json)],
    )


def shows_debug() -> bool:
    """Return whether lines of the level DEBUG go anywhere: where many would be made for nothing, ask first."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def bind(**fields: object) -> None:
    """Add `fields` (request_id, job_id, workflow_name, step ...) to every later line of this task."""
    structlog.contextvars.bind_contextvars(**fields)


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return `event` without secrets: fields with a telling name are masked, key-like text anywhere is too."""
    return {name: _mask(name, value) for name, value in event.items()}


def mask_text(text: str) -> str:
    """Return `text` with everything masked that looks like a key, a token or a password in a URL.

    >>> mask_text("connect to postgresql://app:hunter2@db/callboard failed")
    'connect to postgresql://***@db/callboard failed'
    """
    for pattern in _SECRET_TEXTS:
        text = pattern.sub(MASK, text)
    return text


def _mask(name: str, value: Any) -> Any:
    if value is not None and _SECRET_NAME.search(name):
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {key: _mask(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mask("", item) for item in value]
    return value


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        _drop_terminal_text,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,  # plain: a traceback with local variables would show secrets
        structlog.processors.UnicodeDecoder(),
    ]


def _drop_terminal_text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out the second, coloured copy of its message that uvicorn gives each line."""
    event.pop("color_message", None)
    return event


def _last_processors(*, json: bool) -> list[Processor]:
    if json:
        return [mask_secrets, structlog.processors.JSONRenderer(default=str)]
    return [
        mask_secrets,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=28
        ),
    ]


def _quiet_the_others() -> None:
    for name in UVICORN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    for name, level in QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)


def _is_no_repetition(record: logging.LogRecord) -> bool:
    # core.problems has logged the exception already, with its request; uvicorn would print it once more.
    return not (record.name == "uvicorn.error" and str(record.msg).startswith("Exception in ASGI application"))
