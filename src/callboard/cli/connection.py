"""Which server a command talks to, with which key, and how its failures reach people.

Called by every command that speaks HTTP.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import TypeVar

import typer

from callboard.cli.failures import reporting
from callboard.cli.output import Output
from callboard.client.client import CallboardClient
from callboard.core.config import Settings, load_settings

KEY_FILE = "api_key"  # in CALLBOARD_HOME, made at the first start in development
CALLER_KEYS = ("llm_microservice_api_key", "admin_api_key")  # settings, in the order in which a key is looked for
OPERATOR_KEYS = ("admin_api_key",)  # the other one lacks the scope
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Connection:
    """A server and the key for it; `key_source` says where the key came from, for the error when it is refused."""

    url: str
    api_key: str | None = field(repr=False)
    key_source: str


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, if any; `source` says where it came from, `in_shell` how a shell command writes it."""

    key: str | None = field(repr=False)
    source: str
    in_shell: str


def find_connection(url: str | None, api_key: str | None, *, key_settings: Sequence[str] = CALLER_KEYS) -> Connection:
    """Return where to connect, by options and environment first, then by settings and the key file.

    The settings' own keys are sent to the settings' own server only, never to a `url` that was given.
    Raises: SettingsError.
    """
    if url is not None and api_key is not None:
        return Connection(url, api_key, "--api-key or CALLBOARD_API_KEY")
    settings = load_settings()
    target = url or url_of(settings.host, settings.port)
    if api_key is not None:
        return Connection(target, api_key, "--api-key or CALLBOARD_API_KEY")
    found = find_key(settings, is_own_server=url is None, key_settings=key_settings)
    return Connection(target, found.key, found.source)


def find_key(settings: Settings, *, is_own_server: bool, key_settings: Sequence[str] = CALLER_KEYS) -> FoundKey:
    """Return a key for the server of these settings and where it came from, or that there is none."""
    if is_own_server:
        for name in key_settings:
            if (secret := getattr(settings, name)) is not None:
                return FoundKey(secret.get_secret_value(), f"the setting {name.upper()}", f"${name.upper()}")
    path = settings.callboard_home / KEY_FILE
    try:
        return FoundKey(path.read_text("utf-8").strip() or None, f"the file {path}", f"$(cat {quote(str(path))})")
    except FileNotFoundError:
        return FoundKey(None, f"nowhere: no --api-key, no CALLBOARD_API_KEY, no file {path}", "$CALLBOARD_API_KEY")
    except OSError as error:
        return FoundKey(None, f"nowhere: {path} cannot be read ({error.strerror})", "$CALLBOARD_API_KEY")


def url_of(host: str, port: int) -> str:
    """Return the URL at which a server that listens on `host` is reached from this machine.

    >>> url_of("0.0.0.0", 8000), url_of("::", 80)
    ('http://127.0.0.1:8000', 'http://[::1]:80')
    """
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def ask(
    output: Output,
    url: str | None,
    api_key: str | None,
    work: Callable[[CallboardClient], Awaitable[Answer]],
    *,
    key_settings: Sequence[str] = CALLER_KEYS,
) -> Answer:
    """Return what `work` gets from the server; a failure is shown and ends the command with its exit code."""
    with reporting(output):
        connection = find_connection(url, api_key, key_settings=key_settings)
        try:
            client = CallboardClient(connection.url, connection.api_key)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--url / CALLBOARD_URL") from error
        with reporting(output, key_source=connection.key_source):
            return asyncio.run(_with_client(client, work))


async def _with_client(client: CallboardClient, work: Callable[[CallboardClient], Awaitable[Answer]]) -> Answer:
    async with client:
        return await work(client)
