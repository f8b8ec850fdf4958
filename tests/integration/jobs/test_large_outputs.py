"""Outputs too large for a journal row: kept apart, compressed and fenced, and read as if they stood in it."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from callboard.core.database import Database
from callboard.core.ids import JobId
from callboard.core.repository import TenantScope
from callboard.jobs.models import Job, JobOutput, JobStep
from callboard.jobs.repository.history import JobHistory
from callboard.jobs.repository.jobs import JobRepository
from callboard.jobs.repository.journal import load_journal, write_journal
from callboard.jobs.repository.outputs import LARGE_OUTPUT_BYTES
from callboard.jobs.repository.takeovers import take_over_jobs
from callboard.jobs.step_lists import StepCursor
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.job_rows import add_worker, claimed_job, journal_of, journal_write, kill_worker
from tests.fixtures.loop_lag import MAX_LAG_SECONDS, watched_loop
from tests.fixtures.machine_speed import slowness
from tests.fixtures.server import API, ask, eventually, running_app, say, workflow

LARGE = "A large output, says ä. " * (LARGE_OUTPUT_BYTES // 20)
LARGEST = [f"line {number}: {hash(number * 7919)}" for number in range(130_000)]  # 3.7 MiB
AT_THE_LIMIT = "x" * (LARGE_OUTPUT_BYTES - 2)  # and its two quotes


async def outputs_of(database: Database, job_id: UUID) -> dict[str, tuple[str, int, int]]:
    """Return encoding, size and stored size of each output that is kept apart, by path."""
    query = sa.select(JobOutput).where(JobOutput.job_id == job_id)
    async with database.reads() as session:
        return {row.path: (row.encoding, row.size_bytes, len(row.body)) for row in await session.scalars(query)}


class TestWriteJournal:
    async def test_keeps_a_large_output_apart_and_compressed(self, database: Database) -> None:
        job = await claimed_job(database)
        size_bytes = len(json.dumps(LARGE, ensure_ascii=False).encode())

        await write_journal(database, [journal_write(job, "small"), journal_write(job, "large", output=LARGE)])

        outputs = await outputs_of(database, job.id)
        assert await journal_of(database, job.id) == {"small": '"done"', "large": None}
        assert list(outputs) == ["large"]
        assert outputs["large"][:2] == ("zlib", size_bytes)
        assert outputs["large"][2] < size_bytes / 10

    async def test_keeps_an_output_at_the_limit_in_its_row(self, database: Database) -> None:
        job = await claimed_job(database)

        await write_journal(database, [journal_write(job, "a", output=AT_THE_LIMIT)])

        assert await outputs_of(database, job.id) == {}
        assert (await load_journal(database, job.id))["a"].output_json == json.dumps(AT_THE_LIMIT)

    async def test_leaves_nothing_of_a_late_row(self, database: Database) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)
        await kill_worker(database, worker)
        await take_over_jobs(database)

        written = await write_journal(database, [journal_write(job, "a", output=LARGE)])

        assert written == [False]
        assert await outputs_of(database, job.id) == {}

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            pytest.param(LARGE, LARGE + "!", id="large, then larger"),
            pytest.param(LARGE, "small", id="large, then small"),
            pytest.param("small", LARGE, id="small, then large"),
        ],
    )
    async def test_lets_the_first_of_two_rows_stand(self, database: Database, first: str, second: str) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", output=first)])

        assert await write_journal(database, [journal_write(job, "a", output=second)]) == [True]

        assert await output_at(database, job.id, "a") == first

    async def test_gives_a_step_that_failed_before_its_large_output(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", status="failed")])

        await write_journal(database, [journal_write(job, "a", output=LARGE)])

        assert await output_at(database, job.id, "a") == LARGE

    @pytest.mark.parametrize("table", [JobStep, Job], ids=["its step", "its job"])
    async def test_lets_it_go_with(self, database: Database, table: Any) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", output=LARGE)])

        async with database.transaction() as connection:
            await connection.execute(sa.delete(table))

        assert await outputs_of(database, job.id) == {}

    async def test_does_not_hold_the_event_loop(self, database: Database) -> None:
        job = await claimed_job(database)
        write = journal_write(job, "a", output=LARGEST)

        async with watched_loop() as lags:
            await write_journal(database, [write])
            journal = await load_journal(database, job.id)

        assert json.loads(journal["a"].output_json or "") == LARGEST
        assert max(lags) < MAX_LAG_SECONDS * slowness()


class TestJobs:
    async def test_show_large_outputs_as_they_show_small_ones(
        self, database_url: str, database: Database, tmp_path: Path
    ) -> None:
        twice = say("twice", "${input.text}${input.text}")
        async with running_app(database_url, tmp_path) as server:
            server.files.write(workflow("bulky", [twice, say("show", "seen")], outputs={"n": "${steps.twice.output}"}))
            job = await server.ended(await server.submit("bulky", {"text": LARGE}))
            steps = (await server.client.get(f"{API}/jobs/{job['job_id']}/steps")).json()["items"]
            past = await JobHistory(database).read("bulky", tenant_id="default")

        assert job["result"]["n"] == LARGE * 2
        assert {step["step_id"]: step["output"] for step in steps} == {"twice": LARGE * 2, "show": "seen"}
        assert list(await outputs_of(database, UUID(job["job_id"]))) == ["twice"]
        assert past is not None
        assert (seen := past.steps["twice"].output_chars) is not None
        assert seen.high > len(LARGE) * 2
        assert (past.steps["twice"].sample, past.steps["show"].sample) == (None, "seen")

    async def test_are_replayed_with_large_outputs_by_the_next_worker(self, database_url: str, tmp_path: Path) -> None:
        steps = [ask("write", "[[key:k]][[say:${input.text}]]"), ask("wait", "[[key:w]][[delay:1]]")]
        async with FakeLLM() as fake:
            async with running_app(database_url, tmp_path, llm_url=fake.ollama_url) as first:
                first.files.write(workflow("bulky", steps, outputs={"text": "${steps.write.content}"}))
                job_id = await first.submit("bulky", {"text": "x" * LARGE_OUTPUT_BYTES})
                await eventually(lambda: first.job(job_id), until=lambda _: fake.started["w"] > 0)
            async with running_app(database_url, tmp_path, llm_url=fake.ollama_url) as second:
                job = await second.ended(job_id)

        assert job["result"]["text"] == "x" * LARGE_OUTPUT_BYTES
        assert fake.finished["k"] == 1


class TestListSteps:
    async def test_ends_a_page_before_its_large_outputs_fill_the_memory(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, path, output="x" * 4_000_000) for path in "abcdef"])

        async with database.reads() as session:
            repository = JobRepository(session, TenantScope(job.tenant_id))
            first, has_more = await repository.list_steps(job.id, after=None, limit=50)
            cursor = StepCursor(first[-1].started_at, first[-1].path)
            rest, has_still_more = await repository.list_steps(job.id, after=cursor, limit=50)

        assert ([step.path for step in first], has_more) == (["a", "b", "c", "d"], True)  # 16 MB; 20 MB are too much
        assert ([step.path for step in rest], has_still_more) == (["e", "f"], False)
        assert {len(step.output or "") for step in [*first, *rest]} == {4_000_002}


async def output_at(database: Database, job_id: JobId, path: str) -> Any:
    return json.loads((await load_journal(database, job_id))[path].output_json or "null")
