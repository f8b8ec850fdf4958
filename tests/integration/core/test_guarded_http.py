"""The HTTP client with a URL guard: not one hostile URL leads to a connection, whatever names resolve to."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from callboard.core.http_client import AnswerTooLargeError, ConnectionFailedError, HttpClient, HttpRequest
from callboard.core.url_guard import AllowedHosts, UrlGuard, UrlRefusedError
from tests.fixtures.hostile_urls import HOSTILE_URLS


class Listener:
    """Counts the connections that arrive on loopback, on every address of it, and answers each request."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        server = await asyncio.start_server(self._serve, "0.0.0.0", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._servers = [server]
        if socket.has_ipv6:
            self._servers.append(await asyncio.start_server(self._serve, "::1", self.port))

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    await listener.start()
    yield listener
    await listener.stop()


@pytest.fixture
async def open_client() -> AsyncIterator[Callable[..., HttpClient]]:
    clients: list[HttpClient] = []

    def build(*allowed: str, only_allowed: bool = True) -> HttpClient:
        guard = UrlGuard(AllowedHosts.parse(allowed), setting="HTTP_ALLOWED_HOSTS", only_allowed=only_allowed)
        clients.append(HttpClient(guard=guard))
        return clients[-1]

    yield build
    for client in clients:
        await client.close()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make names resolve to what a test says, in the place of the system's own resolver."""
    answers: dict[str, list[str]] = {}

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in answers[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def name(host: str, *addresses: str) -> None:
        answers[host] = list(addresses)

    return name


def get(url: str, **more: Any) -> HttpRequest:
    return HttpRequest(method="GET", url=url, timeout_seconds=5, headers={}, **more)


class TestHostileUrls:
    @pytest.mark.parametrize("only_allowed", [True, False], ids=["only allowed hosts", "any public host"])
    async def test_lead_to_no_connection(
        self, listener: Listener, open_client: Callable[..., HttpClient], only_allowed: bool
    ) -> None:
        client = open_client("api.example.com", "*.example.org", only_allowed=only_allowed)

        for url in HOSTILE_URLS:
            with pytest.raises(UrlRefusedError):
                await client.send(get(url.format(port=listener.port)))

        assert listener.connections == 0

    async def test_would_be_seen_here_if_one_did(self, listener: Listener) -> None:
        unguarded = HttpClient()

        for host in ("127.0.0.1", "127.0.0.2", "[::1]", "localhost"):
            assert (await unguarded.send(get(f"http://{host}:{listener.port}/"))).body == b"ok"
        await unguarded.close()

        assert listener.connections == 4


class TestNames:
    @pytest.mark.parametrize(
        "addresses",
        [
            pytest.param(["127.0.0.1"], id="loopback"),
            pytest.param(["::1"], id="loopback by IPv6"),
            pytest.param(["::ffff:127.0.0.1"], id="mapped"),
            pytest.param(["169.254.169.254"], id="metadata"),
            pytest.param(["10.0.0.1"], id="private"),
            pytest.param(["93.184.216.34", "127.0.0.1"], id="public and loopback"),
            pytest.param(["127.0.0.1", "93.184.216.34"], id="loopback and public"),
            pytest.param(["2606:4700::1", "127.0.0.1"], id="public by IPv6 and loopback"),
        ],
    )
    async def test_that_lead_inside_are_refused(
        self,
        listener: Listener,
        open_client: Callable[..., HttpClient],
        resolve: Callable[..., None],
        addresses: list[str],
    ) -> None:
        resolve("a.example.org", *addresses)
        client = open_client("*.example.org")

        with pytest.raises(UrlRefusedError, match=r"a\.example\.org leads to"):
            await client.send(get("https://a.example.org/"))

        assert listener.connections == 0

    async def test_that_are_named_may_lie_inside(
        self, listener: Listener, open_client: Callable[..., HttpClient], resolve: Callable[..., None]
    ) -> None:
        resolve("intranet.example", "127.0.0.1")
        client = open_client(f"intranet.example:{listener.port}")

        assert (await client.send(get(f"http://intranet.example:{listener.port}/"))).body == b"ok"

    async def test_are_looked_up_and_checked_for_each_connection(
        self, listener: Listener, open_client: Callable[..., HttpClient], resolve: Callable[..., None]
    ) -> None:
        client = open_client(f"intranet.example:{listener.port}")
        request = get(f"http://intranet.example:{listener.port}/")
        resolve("intranet.example", "127.0.0.1")
        await client.send(request)

        resolve("intranet.example", "169.254.169.254")
        with pytest.raises(UrlRefusedError, match="metadata service"):
            await client.send(request)

        assert listener.connections == 1

    async def test_that_nobody_knows_are_a_failure_that_may_pass(
        self, open_client: Callable[..., HttpClient], resolve: Callable[..., None]
    ) -> None:
        client = open_client("api.example.com")

        with pytest.raises(ConnectionFailedError, match=r"api\.example\.com could not be reached"):
            await client.send(get("https://api.example.com/"))


class TestEnvironment:
    async def test_names_no_proxy(
        self, listener: Listener, open_client: Callable[..., HttpClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
        client = open_client("127.0.0.1:9")

        with pytest.raises(ConnectionFailedError):
            await client.send(get("http://127.0.0.1:9/"))

        assert listener.connections == 0


class TestSize:
    async def test_of_one_answer_can_be_limited(
        self, listener: Listener, open_client: Callable[..., HttpClient]
    ) -> None:
        client = open_client(f"127.0.0.1:{listener.port}")

        with pytest.raises(AnswerTooLargeError, match="more than 1 bytes"):
            await client.send(get(f"http://127.0.0.1:{listener.port}/", max_body_bytes=1))
