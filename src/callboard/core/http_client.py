"""Outgoing HTTP: one pool of connections for language models and outside services.

`wiring.py` builds one `HttpClient` per process and hands it to the adapters in `llm` and `integrations`.
Nothing of aiohttp leaves this module: callers see the responses and errors that are defined here. It
never retries, follows no redirect and reads no proxy from the environment. URLs that the operator's settings
name are called as they are; a client for URLs that somebody else chose is given a `UrlGuard`, and keeps its
connections to itself, since those of another client were made without asking it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from callboard.core.errors import PermanentError, TemporaryError
from callboard.core.url_guard import UrlGuard

CONNECT_TIMEOUT_SECONDS = 10.0  # a host that does not even accept will not answer within a call either
MAX_BODY_BYTES = 32 * 1024 * 1024  # the longest model answer is near 1 MB; more is a fault of the other side
MAX_CONNECTIONS = 4000  # one worker holds thousands of runs; more would meet the limit of open files
CHUNK_BYTES = 64 * 1024
SHORTEST_TIMEOUT_SECONDS = 0.001  # aiohttp takes 0 for "no limit"
DRAIN_SECONDS = 0.25  # a new connection costs about as much


class ConnectionFailedError(TemporaryError):
    """The other side could not be reached, or hung up before it answered."""

    code = "connection_failed"
    category = "service"


class AnswerBrokenOffError(ConnectionFailedError):
    """The other side hung up in the middle of its answer."""

    code = "answer_broken_off"


class CallTimeoutError(TemporaryError):
    """The other side did not finish its answer in time."""

    code = "call_timeout"
    category = "timeout"


class AnswerTooLargeError(PermanentError):
    """The other side sent more than is read."""

    code = "answer_too_large"
    category = "service"


class InvalidUrlError(PermanentError):
    """The address of the other side is no valid HTTP URL."""

    code = "invalid_url"
    category = "service"
    is_unpaid = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One call. `timeout_seconds` covers all of it: waiting for a connection, sending, and the whole answer.

    `max_body_bytes` is what is read of the answer, the client's own limit at most. Keys travel in `headers` and
    `params`, so neither is shown in the repr.
    """

    method: str
    url: str
    timeout_seconds: float
    headers: Mapping[str, str] = field(repr=False)
    params: Mapping[str, str] | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    max_body_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A whole answer, whatever its status. `headers` are found in any case of their names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpStream:
    """An answer whose head is here and whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse, max_body_bytes: int) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._max_body_bytes = max_body_bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, decompressed. Raises the errors of this module."""
        received = 0
        async for chunk in self._response.content.iter_chunked(CHUNK_BYTES):
            received += len(chunk)
            if received > self._max_body_bytes:
                raise AnswerTooLargeError(
                    f"{self._response.url.host} sent more than {self._max_body_bytes:,} bytes; the rest was not read."
                )
            yield chunk

    async def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def drain(self) -> None:
        """Read and drop what little may be left, so that the connection can serve another call.

        For when the answer is complete by its own words: whatever happens to the rest is no failure.
        """
        with suppress(TimeoutError, aiohttp.ClientError, OSError, AnswerTooLargeError):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in self.chunks():
                    pass


class HttpClient:
    """A pool of connections, opened on the event loop of the first call and kept until `close`."""

    def __init__(
        self,
        *,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_connections: int = MAX_CONNECTIONS,
        guard: UrlGuard | None = None,
    ) -> None:
        self._connect_timeout_seconds = connect_timeout_seconds
        self._max_body_bytes = max_body_bytes
        self._max_connections = max_connections
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the whole answer to `request`, whatever its status.

        Raises: ConnectionFailedError, AnswerBrokenOffError, CallTimeoutError, AnswerTooLargeError, InvalidUrlError;
        with a guard UrlRefusedError, before anything is connected.
        """
        async with self.open(request) as stream:
            return HttpResponse(status=stream.status, headers=stream.headers, body=await stream.read())

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[HttpStream]:
        """Give the answer to `request` as soon as its head is here; leaving the block gives up the rest.

        Raises: the same as `send`, also while the body is read inside the block.
        """
        has_head = False
        url = request.url if self._guard is None else self._guard.check(request.url).url
        host = _host_of(url)
        try:
            async with self._open_session().request(
                request.method,
                url,
                headers=request.headers,
                params=request.params,
                data=request.body,
                timeout=self._timeout(request.timeout_seconds),
                allow_redirects=False,
            ) as response:
                has_head = True
                yield HttpStream(response, min(self._max_body_bytes, request.max_body_bytes or self._max_body_bytes))
        # The texts of aiohttp's errors for these two hold the whole URL, with the keys in its query: no `from error`.
        except TimeoutError as error:
            raise _timeout_error(error, host, request.timeout_seconds) from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise InvalidUrlError(f"The address of {host or 'the other side'} is no valid HTTP URL.") from None
        except _BrokenOnceError as error:
            raise _connection_error(error.reason, host, has_head=has_head) from error.reason
        except (aiohttp.ClientError, OSError) as error:
            raise _connection_error(error, host, has_head=has_head) from error

    async def close(self) -> None:
        """Close every connection. A closed client opens none again."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._is_closed:
            closed = ConnectionFailedError("This process is stopping: its HTTP connections are closed.")
            closed.is_unpaid = True
            raise closed
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._build_connector(),
                cookie_jar=aiohttp.DummyCookieJar(),  # a vendor's cookie would tie unrelated calls together
                trust_env=False,
                middlewares=(_send_once,),
            )
        return self._session

    def _build_connector(self) -> aiohttp.TCPConnector:
        if self._guard is None:
            return aiohttp.TCPConnector(limit=self._max_connections)
        # Without a cache of names: each new connection is checked by the addresses that it is made to.
        return aiohttp.TCPConnector(
            limit=self._max_connections, resolver=_GuardedResolver(self._guard), use_dns_cache=False
        )

    def _timeout(self, seconds: float) -> aiohttp.ClientTimeout:
        seconds = max(seconds, SHORTEST_TIMEOUT_SECONDS)
        return aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, self._connect_timeout_seconds))


class _BrokenOnceError(aiohttp.ClientError):
    """A connection broke, for `reason`, and the request is not to be sent on another one."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason
        super().__init__()


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    # aiohttp sends a GET, PUT or DELETE whose connection broke a second time, and says nothing: a call that costs
    # would be paid twice and counted once. It does so for these errors alone (aiohttp 3.14, ClientSession._request).
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenOnceError(error) from error


class _GuardedResolver(AbstractResolver):
    """Finds the addresses of a name, and hands out none unless the guard accepts them all.

    It is not asked about addresses: those stand in the URL, which the guard has checked before.
    """

    def __init__(self, guard: UrlGuard) -> None:
        self._guard = guard
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        self._guard.check_addresses(host, port, [ipaddress.ip_address(item["host"]) for item in found])
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _host_of(url: str) -> str:
    # Never the whole URL: some services take their key as a query parameter.
    without_scheme = url.partition("://")[2] or url
    return without_scheme.partition("/")[0].rpartition("@")[2].partition("?")[0]


def _timeout_error(error: TimeoutError, host: str, timeout_seconds: float) -> CallTimeoutError:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        timeout = CallTimeoutError(f"{host} did not accept a connection in time.")
        timeout.is_unpaid = True
        return timeout
    return CallTimeoutError(f"{host} did not finish its answer within {timeout_seconds:g} s.")


def _connection_error(error: Exception, host: str, *, has_head: bool) -> ConnectionFailedError:
    if has_head:
        return AnswerBrokenOffError(f"{host} hung up in the middle of its answer.")
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError | BrokenPipeError):
        return ConnectionFailedError(f"{host} hung up without an answer.")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        failed = ConnectionFailedError(f"The TLS certificate of {host} was not accepted: {error.certificate_error}.")
        failed.is_unpaid = True
        return failed
    reason = error.os_error.strerror if isinstance(error, aiohttp.ClientConnectorError) else None
    failed = ConnectionFailedError(f"{host} could not be reached ({reason or type(error).__name__}).")
    failed.is_unpaid = isinstance(error, aiohttp.ClientConnectorError)  # no connection: nothing was sent
    return failed
