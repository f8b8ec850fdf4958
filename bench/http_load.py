"""An HTTP client that costs the measured server little: prepared bytes over kept connections, answers barely read.

`tables/submits.py` calls this. aiohttp as a client takes as long for a request as the server does; this takes
a tenth of it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

ANSWER_SECONDS = 30.0


class LoadError(Exception):
    """The server answered something other than what was wanted."""


class Connection(asyncio.Protocol):
    """One kept connection with one request on its way at most."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = bytes(self._received).partition(b"\r\n\r\n")
        if not end or len(body) < _length_in(head) or self._answer is None:
            return
        self._received.clear()
        self._answer.set_result(head)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LoadError("The server hung up."))

    async def send(self, request: bytes) -> float:
        """Return how long the whole answer took, in seconds. Raises: LoadError, when it is not 202."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self._transport.write(request)
        head = await self._answer
        seconds = time.perf_counter() - started
        if not head.startswith(b"HTTP/1.1 202"):
            raise LoadError(f"The server answered {head.splitlines()[0].decode()}.")
        return seconds

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def prepare_post(base_url: str, path: str, body: Any, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a POST of `body` as JSON."""
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(base_url).netloc}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(content)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


@asynccontextmanager
async def connected(base_url: str, count: int) -> AsyncIterator[list[Connection]]:
    """Give `count` open connections."""
    address, loop = urlsplit(base_url), asyncio.get_running_loop()
    host, port = address.hostname or "", address.port or 80
    connections = [(await loop.create_connection(Connection, host, port))[1] for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def send_in_turn(base_url: str, request: bytes, *, clients: int, calls: int) -> tuple[list[float], float]:
    """Have `clients` send one request after the other, `calls` in all: each one's seconds, and the seconds for all."""
    times: list[float] = []

    async def client(connection: Connection, share: int) -> None:
        for _ in range(share):
            seconds = await connection.send(request)
            times.append(seconds)

    async with connected(base_url, clients) as connections:
        started = time.perf_counter()
        await asyncio.gather(*(client(one, (calls + n) // clients) for n, one in enumerate(connections)))
        return times, time.perf_counter() - started


async def send_at_pace(
    base_url: str, request: bytes, *, per_second: float, seconds: float, connections: int
) -> list[tuple[float, float]]:
    """Send a request every 1 / `per_second`, whatever the answers do; return when each was due and how long it took.

    That counts from when it was due: a server that falls behind is charged for the wait of those behind, too.
    Times are seconds from the start.
    """
    async with connected(base_url, connections) as opened:
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for connection in opened:
            free.put_nowait(connection)
        started = time.perf_counter()

        async def send(due: float) -> tuple[float, float]:
            connection = await free.get()
            await connection.send(request)
            free.put_nowait(connection)
            return due, time.perf_counter() - started - due

        sending = []
        for number in range(int(per_second * seconds)):
            due = number / per_second
            await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
            sending.append(asyncio.ensure_future(send(due)))
        async with asyncio.timeout(ANSWER_SECONDS):
            return list(await asyncio.gather(*sending))


def _length_in(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
