"""Submits while the database is away or full: 503, nothing half done, and all is well when it is back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
import pytest
import sqlalchemy as sa

from callboard.core.database import Database
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, ask, eventually, running_app, say, workflow

MOST_PAGES = 2**30  # SQLite's own limit, far away


class Line:
    """A connection to a server that a test cuts and mends: a proxy on loopback."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and hang up on all that are there."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, there_writer}
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


@pytest.fixture
async def line(postgres_url: str) -> AsyncIterator[Line]:
    parts = urlsplit(postgres_url)
    line = Line(parts.hostname or "", parts.port or 5432)
    await line.mend()
    yield line
    await line.cut()


@asynccontextmanager
async def app_on(line: Line, postgres_url: str, folder: Path, fake: FakeLLM) -> AsyncIterator[Server]:
    parts = urlsplit(postgres_url)
    netloc = f"{parts.username}@127.0.0.1:{line.port}"
    url = urlunsplit(parts._replace(netloc=netloc))
    async with running_app(url, folder, llm_url=fake.ollama_url, poll_seconds=0.1) as server:
        server.files.write(workflow("echo", [say("show", "seen")]))
        server.files.write(workflow("paid", [ask("think", "[[key:k]][[delay:0.5]]"), say("show", "seen")]))
        yield server


async def set_most_pages(server: Server, pages: int) -> None:
    """Let the file of the database grow to `pages` at most; 1 means not at all."""
    async with server.services.database.transaction() as connection:
        await connection.execute(sa.text(f"PRAGMA max_page_count = {pages}"))


async def count_rows(server: Server) -> dict[str, int]:
    tables = ("llm_workflow_jobs", "job_events", "idempotency_keys")
    async with server.services.database.reads() as session:
        return {
            table: (await session.execute(sa.select(sa.func.count()).select_from(sa.table(table)))).scalar_one()
            for table in tables
        }


def assert_come_back_later(response: httpx2.Response) -> None:
    assert (response.status_code, response.json()["error"]) == (503, "database_unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["content-type"] == "application/problem+json"


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


class TestPostgresqlAway:
    async def test_refuses_submits_and_takes_them_when_it_is_back(
        self, line: Line, postgres_url: str, tmp_path: Path, fake: FakeLLM
    ) -> None:
        async with app_on(line, postgres_url, tmp_path, fake) as server:
            await line.cut()
            refused = await asyncio.gather(*[server.post_job("echo", idempotency_key=f"k{n}") for n in range(5)])
            listed = await server.client.get(f"{API}/jobs")
            health = await server.client.get("/health")
            await line.mend()
            taken = await asyncio.gather(*[server.post_job("echo", idempotency_key=f"k{n}") for n in range(5)])
            ended = [await server.ended(answer.json()["job_id"]) for answer in taken]
            page = (await server.client.get(f"{API}/jobs")).json()

        for response in (*refused, listed):
            assert_come_back_later(response)
        assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
        assert {job["status"] for job in ended} == {"completed"}
        assert len(page["jobs"]) == 5

    async def test_lets_a_running_job_wait_and_go_on_without_a_second_call(
        self, line: Line, postgres_url: str, tmp_path: Path, fake: FakeLLM
    ) -> None:
        async with app_on(line, postgres_url, tmp_path, fake) as server:
            job_id = await server.submit("paid")
            await server.until(job_id, "processing")
            await line.cut()
            await asyncio.sleep(1)  # the call ends meanwhile, with nowhere to write it
            await line.mend()
            job = await server.ended(job_id)

        assert (job["status"], fake.finished["k"]) == ("completed", 1)
        assert len(job["cost_data"]["llm_calls"]) == 1


class TestFullDisk:
    @pytest.fixture
    async def server(self, sqlite_url: str, tmp_path: Path, fake: FakeLLM) -> AsyncIterator[Server]:
        async with running_app(sqlite_url, tmp_path, llm_url=fake.ollama_url) as server:
            server.files.write(workflow("echo", [say("show", "seen")]))
            server.files.write(workflow("paid", [ask("think", "[[key:k]][[delay:0.5]]"), say("show", "seen")]))
            yield server

    async def test_refuses_submits_and_leaves_nothing_of_them(self, server: Server) -> None:
        await set_most_pages(server, 1)

        refused = await server.post_job("echo", {"text": "x" * 100_000}, idempotency_key="k")

        assert_come_back_later(refused)
        assert set((await count_rows(server)).values()) == {0}
        await set_most_pages(server, MOST_PAGES)
        taken = await server.post_job("echo", {"text": "x" * 100_000}, idempotency_key="k")
        assert (await server.ended(taken.json()["job_id"]))["status"] == "completed"

    async def test_lets_a_running_job_wait_and_go_on_without_a_second_call(self, server: Server, fake: FakeLLM) -> None:
        server.files.write(workflow("bulky", [ask("think", f"[[key:k]][[delay:0.3]][[say:{'x' * 100_000}]]")]))
        job_id = await server.submit("bulky")
        await server.until(job_id, "processing")
        await set_most_pages(server, 1)
        await eventually(lambda: server.job(job_id), until=lambda _: fake.finished["k"] > 0)
        await asyncio.sleep(0.5)  # in which its answer could be written, if there were room
        assert (await server.job(job_id))["status"] == "processing"

        await set_most_pages(server, MOST_PAGES)
        job = await server.ended(job_id)

        assert (job["status"], fake.finished["k"]) == ("completed", 1)


class TestBusySqlite:
    async def test_waits_for_its_turn(self, sqlite_url: str, tmp_path: Path) -> None:
        other = Database(sqlite_url)
        async with running_app(sqlite_url, tmp_path) as server:
            server.files.write(workflow("echo", [say("show", "seen")]))
            async with other.transaction():
                submitted = asyncio.create_task(server.post_job("echo"))
                await asyncio.sleep(0.5)
                assert not submitted.done()

            response = await submitted

        await other.close()
        assert response.status_code == 202
