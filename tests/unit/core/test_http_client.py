"""The HTTP client against a real server: answers, limits, and each way in which the other side fails."""

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from callboard.core.http_client import (
    AnswerBrokenOffError,
    AnswerTooLargeError,
    CallTimeoutError,
    ConnectionFailedError,
    HttpClient,
    HttpRequest,
    InvalidUrlError,
)

MAX_BODY_BYTES = 1000


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    return web.Response(
        body=body, headers={"X-Seen": request.headers.get("X-Sent", ""), "X-Query": request.query_string}
    )


async def _slow(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b".")
        await asyncio.sleep(0.02)


async def _break_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"half")
    await asyncio.sleep(0.01)
    assert request.transport is not None
    request.transport.abort()
    return response


async def _hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _large(_: web.Request) -> web.Response:
    return web.Response(body=b"x" * (MAX_BODY_BYTES + 1))


async def _redirect(_: web.Request) -> web.Response:
    raise web.HTTPFound("/echo")


async def _peer(request: web.Request) -> web.Response:
    assert request.transport is not None
    return web.Response(text=str(request.transport.get_extra_info("peername")))


@pytest.fixture
async def server() -> AsyncIterator[str]:
    app = web.Application()
    handlers = {
        "echo": _echo,
        "slow": _slow,
        "drip": _drip,
        "break-off": _break_off,
        "hang-up": _hang_up,
        "large": _large,
        "redirect": _redirect,
        "peer": _peer,
    }
    for name, handler in handlers.items():
        app.router.add_route("*", f"/{name}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient(max_body_bytes=MAX_BODY_BYTES)
    yield client
    await client.close()


def _request(url: str, timeout_seconds: float = 5.0, body: bytes | None = None) -> HttpRequest:
    return HttpRequest(
        method="POST", url=url, headers={"X-Sent": "yes"}, params={"q": "1"}, body=body, timeout_seconds=timeout_seconds
    )


class TestSend:
    async def test_sends_headers_parameters_and_body(self, client: HttpClient, server: str) -> None:
        answer = await client.send(_request(f"{server}/echo", body=b"hello"))

        assert (answer.status, answer.body) == (200, b"hello")
        assert (answer.headers["x-seen"], answer.headers["X-Query"]) == ("yes", "q=1")

    async def test_uses_a_connection_again(self, client: HttpClient, server: str) -> None:
        peers = {(await client.send(_request(f"{server}/peer"))).body for _ in range(3)}

        assert len(peers) == 1

    async def test_follows_no_redirect(self, client: HttpClient, server: str) -> None:
        answer = await client.send(_request(f"{server}/redirect"))

        assert answer.status == 302

    async def test_reads_no_proxy_from_the_environment(
        self, client: HttpClient, server: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

        answer = await client.send(_request(f"{server}/echo"))

        assert answer.status == 200

    async def test_no_time_at_all_is_not_without_limit(self, client: HttpClient, server: str) -> None:
        with pytest.raises(CallTimeoutError):
            await client.send(_request(f"{server}/slow", timeout_seconds=0))

    @pytest.mark.parametrize("path", ["slow", "drip"], ids=["no head", "a body without end"])
    async def test_the_time_limit_covers_the_whole_answer(self, client: HttpClient, server: str, path: str) -> None:
        with pytest.raises(CallTimeoutError, match=r"127\.0\.0\.1.*0\.2 s"):
            await client.send(_request(f"{server}/{path}", timeout_seconds=0.2))

    async def test_an_answer_that_breaks_off_is_told_apart(self, client: HttpClient, server: str) -> None:
        with pytest.raises(AnswerBrokenOffError):
            await client.send(_request(f"{server}/break-off"))

    async def test_hanging_up_without_an_answer_is_a_failed_connection(self, client: HttpClient, server: str) -> None:
        with pytest.raises(ConnectionFailedError) as caught:
            await client.send(_request(f"{server}/hang-up"))

        assert not isinstance(caught.value, AnswerBrokenOffError)
        assert not caught.value.is_unpaid  # it may have worked

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"])
    async def test_sends_nothing_a_second_time(self, client: HttpClient, method: str) -> None:
        requests: list[bytes] = []

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requests.append(await reader.readline())
            writer.close()

        listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"

        with pytest.raises(ConnectionFailedError, match="hung up without an answer"):
            await client.send(HttpRequest(method=method, url=url, headers={}, timeout_seconds=5))
        listener.close()

        assert len(requests) == 1

    async def test_a_port_where_nobody_listens_is_a_failed_connection(self, client: HttpClient) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]

        with pytest.raises(ConnectionFailedError, match=f"127.0.0.1:{port}") as caught:
            await client.send(_request(f"http://127.0.0.1:{port}/"))

        assert caught.value.is_unpaid  # nothing was sent

    async def test_reads_no_more_than_the_limit(self, client: HttpClient, server: str) -> None:
        with pytest.raises(AnswerTooLargeError, match="1,000 bytes"):
            await client.send(_request(f"{server}/large"))

    @pytest.mark.parametrize("url", ["", "nonsense", "http://", "ftp://127.0.0.1/", "http://127.0.0.1:99999/"])
    async def test_refuses_what_is_no_http_url(self, client: HttpClient, url: str) -> None:
        with pytest.raises(InvalidUrlError):
            await client.send(_request(url))

    async def test_names_the_host_but_not_what_stands_in_the_query(self, client: HttpClient) -> None:
        with pytest.raises((ConnectionFailedError, InvalidUrlError)) as caught:
            await client.send(_request("http://user:secret@127.0.0.1:1/path?key=secret"))

        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/?key=secret", "http://127.0.0.1:99999/?key=secret"])
    async def test_shows_no_query_in_the_causes_of_an_error(self, url: str) -> None:
        client = HttpClient(connect_timeout_seconds=0.2)
        with socket.socket() as full, socket.socket() as waiting:
            full.bind(("127.0.0.1", 0))
            full.listen(0)  # one may wait to be accepted, and nobody ever accepts
            waiting.connect(full.getsockname())

            with pytest.raises((CallTimeoutError, InvalidUrlError)) as caught:
                await client.send(_request(url.format(port=full.getsockname()[1])))
        await client.close()

        assert "secret" not in "".join(traceback.format_exception(caught.value))

    async def test_opens_nothing_after_close(self, client: HttpClient, server: str) -> None:
        await client.close()

        with pytest.raises(ConnectionFailedError, match="stopping"):
            await client.send(_request(f"{server}/echo"))


class TestHttpRequest:
    def test_shows_no_header_parameter_or_body(self) -> None:
        request = HttpRequest(
            method="GET",
            url="http://127.0.0.1/",
            headers={"Authorization": "secret"},
            params={"key": "secret"},
            body=b"secret",
            timeout_seconds=1,
        )

        assert "secret" not in repr(request)


class TestOpen:
    async def test_gives_the_body_as_it_comes(self, client: HttpClient, server: str) -> None:
        async with client.open(_request(f"{server}/drip")) as stream:
            async for chunk in stream.chunks():
                first = chunk
                break

        assert first.startswith(b".")

    async def test_draining_ignores_what_becomes_of_the_rest(self, client: HttpClient, server: str) -> None:
        for path in ("break-off", "large"):
            async with client.open(_request(f"{server}/{path}")) as stream:
                await stream.drain()

            assert stream.status == 200

    async def test_draining_gives_up_on_a_body_without_end(self, client: HttpClient, server: str) -> None:
        async with asyncio.timeout(2):
            async with client.open(_request(f"{server}/drip")) as stream:
                await stream.drain()
