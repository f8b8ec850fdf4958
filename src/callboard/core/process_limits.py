"""What the system lets this process do. Called once at start by `worker.py` and `main.py`."""

import resource

import structlog

log = structlog.get_logger(__name__)


def raise_open_file_limit() -> int:
    """Allow as many open files as the system lets us raise to, and return that number.

    Every call in flight is a connection, and a connection is a file: with the usual soft limit of 1,024 the
    next one would look like a provider that refuses connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        log.debug("process.open_files", before=soft, now=hard)
    return hard
