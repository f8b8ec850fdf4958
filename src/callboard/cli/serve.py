"""`callboard serve`: the API, with a worker inside, through uvicorn. `main.create_app` is what it serves."""

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import typer
import uvicorn

from callboard.cli.connection import find_key, url_of
from callboard.cli.database_access import run_on_database
from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.core.config import Settings, load_settings
from callboard.core.logging import configure_service_logging
from callboard.main import create_app
from callboard.wiring import Services, serving

REQUEST_GRACE_SECONDS = 3  # for requests in flight when stopping; those held by ?wait= are then let go
BACKLOG = 2048  # connections that the system keeps for us; uvicorn's own default

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:\n\ncallboard serve\n\ncallboard serve --host 0.0.0.0 --port 9000\n\n"
    "callboard serve --no-worker    (jobs run in `callboard worker` processes)"
)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: the setting HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. Default: PORT.")
    ] = None,
    worker: Annotated[
        bool | None, typer.Option("--worker/--no-worker", help="Run jobs too. Default: EMBEDDED_WORKER.")
    ] = None,
    until_stdin_closes: Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)] = False,
    is_json: JsonOption = False,
) -> None:
    """Start the API with a worker inside.

    It runs until Ctrl-C or SIGTERM. With --json one line tells where it listens, when it does; the log goes to stderr.
    """
    output = open_output(is_json=is_json, is_stream=True)
    with reporting(output):
        given = {"host": host, "port": port, "embedded_worker": worker}
        settings = load_settings(**{name: value for name, value in given.items() if value is not None})
        with _listen(settings.host, settings.port) as listener:
            run_on_database(output, _serve(output, settings, listener, until_stdin_closes=until_stdin_closes))


class _Server(uvicorn.Server):
    """uvicorn, which also says when it takes requests."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


async def _serve(output: Output, settings: Settings, listener: socket.socket, *, until_stdin_closes: bool) -> None:
    configure_service_logging("api", settings)
    # The services are opened here and not by the application, so that what is wrong with them is said in
    # words: uvicorn would print a traceback. They are closed here too, after the last request.
    async with serving(settings) as services:

        @asynccontextmanager
        async def opened(_settings: Settings) -> AsyncIterator[Services]:
            yield services

        config = uvicorn.Config(
            create_app(settings, opened),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the application reads them, by TRUSTED_PROXIES
            timeout_graceful_shutdown=REQUEST_GRACE_SECONDS,
        )
        server = _Server(config, lambda: _announce(output, settings, listener))
        if until_stdin_closes:
            threading.Thread(target=_stop_at_end_of_stdin, args=(server,), daemon=True).start()
        with _signals_end_quietly():
            await server.serve(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises: CommandError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # Each connection inherits it; without it a small answer may wait 44 ms for the one before it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"Something listens on {url_of(host, port)} already. Stop it, or take --port 0 for a free port."
            raise CommandError(message, title="The port is taken") from error
        raise CommandError(
            f"Cannot listen on {host} port {port}: {error.strerror or error}.", exit_code=ExitCode.USAGE
        ) from error


def _announce(output: Output, settings: Settings, listener: socket.socket) -> None:
    url = url_of(settings.host, listener.getsockname()[1])
    key_source = find_key(settings, is_own_server=True).source
    if output.is_json:
        output.document({"url": url, "docs_url": f"{url}/docs", "api_key_source": key_source})
        return
    output.say(f"Callboard listens on {url}")
    output.say(f"  docs   {url}/docs")
    output.say(f"  key    {key_source}")
    output.say(f"  jobs   {'run here' if settings.runs_jobs_in_server else f'wait for `{settings.worker_command}`'}")
    output.say("  stop   Ctrl-C")


def _stop_at_end_of_stdin(server: uvicorn.Server) -> None:
    """Stop when whoever started us is gone, in whatever way: the system then closes our stdin."""
    while os.read(sys.stdin.fileno(), 4096):  # not sys.stdin: its lock, held here, would crash the interpreter's end
        continue
    server.should_exit = True


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Let SIGINT and SIGTERM stop uvicorn and nothing else.

    uvicorn raises them once more when it has stopped, which would end the process before the worker has
    handed its jobs back.
    """

    def ignore(_number: int, _frame: Any) -> None:
        return

    before = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
