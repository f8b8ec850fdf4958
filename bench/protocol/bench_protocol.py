"""What every contestant's program shares: marks of what ran when, and one line of JSON for each command.

`bench/contestants.py` starts a program twice: as a client, which it tells to set up and to submit, and as a
worker, which it stops and continues. Standard library only: it runs in the environment of each peer.

    {"do": "setup"}                                            {"version": "celery 5.7.0", "worker": ["-m", ...]}
    {"do": "submit", "work": "three_noops", "count": 100}      {"started_at": 12.5, "seconds": 0.2}
    {"do": "report"}                                           {"ended": 100}, or null where nothing counts ends

`work` is `three_noops` or `one_call`. Times are of the monotonic clock, which all processes of a machine share.
"""

import asyncio
import http.client
import json
import os
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MARK = struct.Struct("=di")  # when, and which
START, END = 1, 2  # the first line of a run's first step; the last line of its last one
THREE_NOOPS, ONE_CALL = "three_noops", "one_call"
LOOK_SECONDS = 0.002

DATABASE_URL = os.environ.get("BENCH_DATABASE_URL", "")
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")
PROVIDER_URL = os.environ.get("BENCH_PROVIDER_URL", "")
FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))
SLOTS = int(os.environ.get("BENCH_SLOTS", "1000"))

CALL_PATH = "/v1/chat/completions"
CALL_BODY = json.dumps({"model": "bench-model", "messages": [{"role": "user", "content": "One line about the sea."}]})
CALL_HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer bench"}

_local = threading.local()


class Marks:
    """A file to which any number of processes add marks; a mark is one write of 12 bytes."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, kind: int) -> None:
        os.write(self._file, MARK.pack(time.monotonic(), kind))

    def close(self) -> None:
        os.close(self._file)


marks = Marks(os.environ.get("BENCH_MARKS", os.devnull))


def answer_commands(
    setup: Callable[[], dict[str, Any]],
    submit: Callable[[str, int], Any],
    report: Callable[[], int | None] = lambda: None,
) -> None:
    """Do what standard input says, line by line, until it closes."""
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "setup":
            answer = setup()
        elif command["do"] == "submit":
            started_at = time.monotonic()
            submit(command["work"], command["count"])
            answer = {"started_at": started_at, "seconds": time.monotonic() - started_at}
        else:
            answer = {"ended": report()}
        print(json.dumps(answer), flush=True)


def call_blocking() -> str:
    """Make the one HTTP call, on this thread's own connection, which stays open."""
    connection = getattr(_local, "connection", None)
    if connection is None:
        address = urlsplit(PROVIDER_URL)
        connection = _local.connection = http.client.HTTPConnection(address.hostname or "", address.port)
    connection.request("POST", CALL_PATH, CALL_BODY, CALL_HEADERS)
    return text_of(connection.getresponse().read())


def text_of(answer: bytes) -> str:
    """Return the text in a provider's answer."""
    return str(json.loads(answer)["choices"][0]["message"]["content"])


def list_runs(work: str, count: int) -> None:
    """Submit for a peer that has no queue: its worker reads from a file which work to do how often."""
    with (FOLDER / "runs").open("a") as file:
        file.write(f"{work} {count}\n")


async def listed_runs() -> AsyncIterator[tuple[str, int]]:
    """Give what `list_runs` wrote, as it comes, for ever."""
    path = FOLDER / "runs"
    path.touch()
    with path.open() as file:
        while True:
            line = file.readline()
            if not line.endswith("\n"):
                await asyncio.sleep(LOOK_SECONDS)
                continue
            work, count = line.split()
            yield work, int(count)
