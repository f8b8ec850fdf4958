"""Server-sent events, read from bytes as they come. Called by `llm/wire.py`.

Source: WHATWG HTML, "Server-sent events", the event stream format.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its data, and its name ("message" where the stream gives none)."""

    data: str
    name: str = "message"


class EventStreamReader:
    """Turns pieces of bytes, cut anywhere, into events.

    >>> reader = EventStreamReader()
    >>> list(reader.feed(b": a comment\\r\\ndata: caf\\xc3"))
    []
    >>> list(reader.feed(b"\\xa9\\r\\n\\r\\n"))
    [ServerSentEvent(data='café', name='message')]
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self._name = ""

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Yield the events that `chunk` completes."""
        *lines, self._rest = _split_lines(self._rest + chunk)
        for line in lines:
            event = self._take_line(line)
            if event is not None:
                yield event

    def finish(self) -> Iterator[ServerSentEvent]:
        """Yield the event that the end of the stream completes: some servers leave out the last blank line."""
        for line in (self._rest.rstrip(b"\r\n"), b""):
            event = self._take_line(line)
            if event is not None:
                yield event
        self._rest = b""

    def _take_line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.decode("utf-8", "replace").removeprefix("\ufeff").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        return None  # comments (an empty field name), id and retry mean nothing here

    def _dispatch(self) -> ServerSentEvent | None:
        data, name = self._data, self._name
        self._data, self._name = [], ""
        return ServerSentEvent("\n".join(data), name or "message") if data else None


async def read_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
    """Yield the events in `chunks`, each as soon as it is complete."""
    reader = EventStreamReader()
    async for chunk in chunks:
        for event in reader.feed(chunk):
            yield event
    for event in reader.finish():
        yield event


def _split_lines(data: bytes) -> list[bytes]:
    if b"\r" not in data:
        return data.split(b"\n")
    # A last "\r" may be the first half of "\r\n": keep it back until the next piece.
    held_back = b"\r" if data.endswith(b"\r") else b""
    lines = _LINE_END.split(data.removesuffix(b"\r") if held_back else data)
    lines[-1] += held_back
    return lines
