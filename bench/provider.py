"""A language model provider that is no bottleneck: every POST is answered after a fixed time, in OpenAI's form.

    python -m bench.provider --seconds 1.0       one JSON line with its URL; ends when standard input closes

    GET /counts     {"answered": 1000, "peak": 998} since the last reset      GET /reset    forget the counts

One bare asyncio protocol for each connection: no framework, no parsing beyond the length of the body.
`in_flight.py` and `pools.py` start it, in a process of its own.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import uvloop

from callboard.core.process_limits import raise_open_file_limit

BACKLOG = 10_000
LOOK_SECONDS = 0.01
ANSWER = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1,
    "model": "bench-model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "A line."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
}


class ProviderError(Exception):
    """The provider is gone."""


class Counts:
    """How many calls are open, were at most, and were answered."""

    def __init__(self) -> None:
        self.open = 0
        self.peak = 0
        self.answered = 0

    def begin(self) -> None:
        self.open += 1
        self.peak = max(self.peak, self.open)

    def end(self) -> None:
        self.open -= 1
        self.answered += 1

    def reset(self) -> None:
        self.peak, self.answered = self.open, 0


class ProviderConnection(asyncio.Protocol):
    """One keep-alive connection; a client sends its next request when it has the answer to its last one."""

    def __init__(self, counts: Counts, seconds: float) -> None:
        self._counts = counts
        self._seconds = seconds
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length_in(head):
            return
        self._received = b""
        self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"POST"):
            self._counts.begin()
            asyncio.get_running_loop().call_later(self._seconds, self._answer_call)
        elif head.startswith(b"GET /reset"):
            self._counts.reset()
            self._send(b"{}")
        else:
            self._send(json.dumps({"answered": self._counts.answered, "peak": self._counts.peak}).encode())

    def _answer_call(self) -> None:
        self._counts.end()
        self._send(_ANSWER_BYTES)

    def _send(self, body: bytes) -> None:
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )


_ANSWER_BYTES = json.dumps(ANSWER).encode()


def _length_in(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(seconds: float) -> None:
    """Serve on a free port of loopback until standard input closes."""
    raise_open_file_limit()
    loop, counts = asyncio.get_running_loop(), Counts()
    server = await loop.create_server(lambda: ProviderConnection(counts, seconds), "127.0.0.1", 0, backlog=BACKLOG)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


class Provider:
    """A provider in a process of its own, seen from the bench."""

    def __init__(self, url: str, http: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self._http = http
        self._process = process

    async def reset(self) -> None:
        await self._get("/reset")

    async def peak(self) -> int:
        """Return how many calls were open at once since the last reset, at most."""
        return int((await self._get("/counts"))["peak"])

    async def wait_answered(self, count: int) -> None:
        """Return when it has answered `count` calls since the last reset."""
        while (await self._get("/counts"))["answered"] < count:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(LOOK_SECONDS)

    async def _get(self, path: str) -> dict[str, Any]:
        try:
            async with self._http.get(self.url + path) as answer:
                counts: dict[str, Any] = await answer.json()
        except aiohttp.ClientError as error:
            state = "runs" if self._process.returncode is None else f"ended with {self._process.returncode}"
            raise ProviderError(f"The provider does not answer: {error!r}; its process {state}.") from error
        return counts


@asynccontextmanager
async def started_provider(seconds: float) -> AsyncIterator[Provider]:
    """Give a provider that answers after so many seconds, and end it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.provider", "--seconds", str(seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = json.loads(await process.stdout.readline())["url"]
        async with aiohttp.ClientSession() as http:
            yield Provider(url, http, process)
    finally:
        process.stdin.close()
        await process.wait()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description="A provider that answers every call after a fixed time.")
    parser.add_argument("--seconds", type=float, default=1.0)
    uvloop.run(serve(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
