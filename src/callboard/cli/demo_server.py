"""A server of its own for `callboard demo`: started on a free port, watched while it starts, always stopped.

It lives as long as the block that holds it. When this process dies without a word (kill -9), the pipe to the
server's stdin closes, and the server stops by itself.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from callboard.cli.failures import CommandError
from callboard.client.client import CallboardClient
from callboard.core.config import Settings

START_SECONDS = 60.0  # a first start on a slow machine makes the database, too
STOP_MARGIN_SECONDS = 5.0  # beyond SHUTDOWN_GRACE_SECONDS, before the server is killed
READY_POLL_SECONDS = 0.1
LOG_FILE = "demo-server.log"  # in CALLBOARD_HOME, for the owner alone: it may show a key made at first start
SHOWN_LOG_LINES = 15
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A server that takes requests."""

    url: str
    log_path: Path


@asynccontextmanager
async def demo_server(settings: Settings) -> AsyncIterator[DemoServer]:
    """Give a server that is ready; it is gone when the block ends. Raises: CommandError with the server's words."""
    log_path = settings.callboard_home / LOG_FILE
    with _open_log(log_path) as log:
        process = await _start(log)
        try:
            url = await _ready_url(process, log_path)
            yield DemoServer(url, log_path)
        finally:
            await _stop(process, settings.shutdown_grace_seconds + STOP_MARGIN_SECONDS)


async def _start(log: IO[bytes]) -> Process:
    arguments = ("serve", "--host", LOOPBACK, "--port", "0", "--worker", "--until-stdin-closes", "--json")
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "callboard.cli.main",
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=log,
        env={**os.environ, "QUEUE_BACKEND": "embedded"},  # the demo is one process, whatever the settings are
        start_new_session=True,  # Ctrl-C is for us; we then stop the server in order
    )


async def _ready_url(process: Process, log_path: Path) -> str:
    try:
        async with asyncio.timeout(START_SECONDS):
            url = await _announced_url(process, log_path)
            async with CallboardClient(url) as client:
                while not await client.is_ready():
                    if process.returncode is not None:
                        raise _died(process, {}, log_path)
                    await asyncio.sleep(READY_POLL_SECONDS)
            return url
    except TimeoutError as error:
        raise CommandError(
            f"The server did not get ready within {START_SECONDS:g} s.\n{_last_lines(log_path)}\nIts log: {log_path}",
            title="The demo's server did not start",
        ) from error


async def _announced_url(process: Process, log_path: Path) -> str:
    """Return the URL from the line that `serve --json` prints when it listens; it prints a problem otherwise."""
    assert process.stdout is not None
    said: dict[str, Any] = {}
    async for line in process.stdout:
        with suppress(ValueError):
            said = json.loads(line)
        if isinstance(said.get("url"), str):
            return str(said["url"])
    await process.wait()
    raise _died(process, said, log_path)


def _died(process: Process, said: dict[str, Any], log_path: Path) -> CommandError:
    reason = str(said["detail"]) if said.get("detail") else _last_lines(log_path)
    return CommandError(
        f"{reason or 'It said nothing.'}\n(exit code {process.returncode}; its log: {log_path})",
        title="The demo's server did not start",
    )


async def _stop(process: Process, patience_seconds: float) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), patience_seconds)
        except (TimeoutError, asyncio.CancelledError):
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _open_log(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}. Set CALLBOARD_HOME to a folder of yours."
        raise CommandError(message) from error


def _last_lines(path: Path) -> str:
    lines = path.read_text("utf-8", errors="replace").splitlines()
    return "\n".join(lines[-SHOWN_LOG_LINES:])
