"""What a watcher sees of a job, in which order, and what it waits for."""

from collections.abc import AsyncIterator, Iterator

import pytest

from callboard.client import client as client_module
from callboard.client.client import CallboardClient
from callboard.client.errors import CallboardApiError, ServerAwayError
from callboard.client.watching import JobSeen, ServerGone, Sight, StepSeen, watch
from tests.fixtures.fake_callboard import (
    JOB_ID,
    KEY,
    Answer,
    FakeCallboard,
    fake_callboard,
    job,
    problem,
    step,
    usage_row,
)

STATUS = f"GET /api/v1/status/{JOB_ID}"
STEPS = f"GET /api/v1/jobs/{JOB_ID}/steps"


@pytest.fixture
def server() -> Iterator[FakeCallboard]:
    with fake_callboard() as fake:
        yield fake


@pytest.fixture
async def client(server: FakeCallboard, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CallboardClient]:
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 0.01)
    async with CallboardClient(server.url, KEY) as opened:
        yield opened


def _steps(*steps: dict[str, object]) -> Answer:
    return Answer({"items": list(steps), "next_cursor": None})


async def _collect(sights: AsyncIterator[Sight], seen: list[Sight]) -> None:
    """Keep what came before an error, too."""
    async for sight in sights:
        seen += [sight]


class TestWatch:
    async def test_gives_each_step_once_and_the_end_last(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.has_job(job("processing"), job("processing"), job("completed"))
        server.on(STEPS, _steps(), _steps(step("a")), _steps(step("a"), step("b")))

        sights = [sight async for sight in watch(client, JOB_ID)]

        assert [sight.step["path"] for sight in sights if isinstance(sight, StepSeen)] == ["a", "b"]
        assert isinstance(sights[-1], JobSeen)
        assert sights[-1].job["status"] == "completed"

    async def test_gives_steps_in_the_order_in_which_they_ended(
        self, server: FakeCallboard, client: CallboardClient
    ) -> None:
        late = step("began-first", completed_at="2026-11-20T10:00:09Z")
        server.has_job(job(), steps=[late, step("ended-first")])

        paths = [sight.step["path"] async for sight in watch(client, JOB_ID) if isinstance(sight, StepSeen)]

        assert paths == ["ended-first", "began-first"]

    async def test_leaves_out_a_step_that_still_runs(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.has_job(job("processing"), job())
        server.on(STEPS, _steps(step("a", "running")), _steps(step("a")))

        statuses = [sight.step["status"] async for sight in watch(client, JOB_ID) if isinstance(sight, StepSeen)]

        assert statuses == ["succeeded"]

    async def test_gives_a_step_the_calls_that_it_paid_for(
        self, server: FakeCallboard, client: CallboardClient
    ) -> None:
        rows = [usage_row("a"), usage_row("a#2"), usage_row("b")]
        server.has_job(job(), steps=[step("a")], usage=rows)

        (seen,) = [sight async for sight in watch(client, JOB_ID) if isinstance(sight, StepSeen)]

        assert [row["path"] for row in seen.usage] == ["a", "a#2"]

    async def test_waits_for_a_server_that_restarts(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.has_job(job("processing"))
        server.on(
            STATUS,
            Answer(job("processing")),
            Answer(is_broken=True),
            problem(503, "Starting"),
            Answer(job("completed")),
        )

        sights = [sight async for sight in watch(client, JOB_ID)]

        assert [type(sight) for sight in sights] == [JobSeen, ServerGone, JobSeen]

    async def test_loses_patience(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.has_job(job("processing"))
        server.on(STATUS, Answer(job("processing")), Answer(is_broken=True))

        with pytest.raises(ServerAwayError):
            [sight async for sight in watch(client, JOB_ID, patience_seconds=0.05)]

    async def test_does_not_wait_for_a_server_that_never_answered(
        self, server: FakeCallboard, client: CallboardClient
    ) -> None:
        server.on(STATUS, Answer(is_broken=True))
        sights: list[Sight] = []

        with pytest.raises(ServerAwayError):
            await _collect(watch(client, JOB_ID), sights)

        assert sights == []

    async def test_does_not_repeat_what_is_refused(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on(STATUS, problem(404, "Not found"))

        with pytest.raises(CallboardApiError):
            [sight async for sight in watch(client, JOB_ID)]

        assert len(server.requests) == 1
