"""What every queue keeps, whatever carries the news: one suite for the embedded one, Celery and ARQ.

Real servers and worker processes: SQLite, PostgreSQL, Redis, RabbitMQ. Where an adapter has no broker, what is done to
one is nothing, and the promise holds all the same.
"""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import sqlalchemy as sa

from callboard.jobs.models import Job
from callboard.webhooks.models import OutboxMessage
from tests.fixtures.queue_rigs import END_SECONDS, SLOTS, QueueRig, rig, rigs, until

__all__ = ["rig", "rigs"]

SOON_SECONDS = 15.0  # what takes well under a second, on a machine that does much else
CANCEL_SECONDS = 5.0  # promised is one


class TestSubmit:
    def test_runs_a_job_to_its_end(self, rig: QueueRig) -> None:
        job = rig.ended(rig.submit())

        assert (job["status"], job["attempt"]) == ("completed", 1)

    def test_gives_the_result(self, rig: QueueRig) -> None:
        key = rig.new_key()

        job = rig.ended(rig.submit(key=key))

        assert job["result"]["only"] == f"{key} only"

    def test_counts_the_cost(self, rig: QueueRig) -> None:
        job = rig.ended(rig.submit("three_calls"))

        assert (job["cost_data"]["input_tokens"], job["cost_data"]["output_tokens"]) == (300, 30)
        assert job["cost_data"]["cost_usd"] == 0.36  # 300 x 0.001 USD + 30 x 0.002 USD
        assert len(job["result"]["cost_data"]["llm_calls"]) == 3

    def test_pays_each_call_once(self, rig: QueueRig) -> None:
        key = rig.new_key()

        rig.ended(rig.submit("three_calls", key=key))

        assert rig.paid_calls(key) == {"first": 1, "second": 1, "third": 1}

    def test_begins_at_once(self, rig: QueueRig) -> None:
        rig.ended(rig.submit())  # whatever is made for the first job is made

        before = time.monotonic()
        rig.ended(rig.submit())

        assert time.monotonic() - before < SOON_SECONDS

    def test_runs_several_at_once(self, rig: QueueRig) -> None:
        rig.without_second_worker()
        before = time.monotonic()
        ids = [rig.submit(delay=2) for _ in range(SLOTS)]

        statuses = [rig.ended(job_id)["status"] for job_id in ids]

        assert statuses == ["completed"] * SLOTS
        assert time.monotonic() - before < 2 * SLOTS  # one after another

    def test_runs_more_jobs_than_there_are_slots(self, rig: QueueRig) -> None:
        ids = [rig.submit() for _ in range(3 * SLOTS)]

        assert {rig.ended(job_id)["status"] for job_id in ids} == {"completed"}

    def test_holds_no_more_runs_than_there_are_slots(self, rig: QueueRig) -> None:
        rig.without_second_worker()
        ids = [rig.submit(delay=1) for _ in range(2 * SLOTS)]
        most = 0

        while {rig.row(job_id).status for job_id in ids[-3:]} != {"completed"}:
            running = rig.read(sa.select(sa.func.count()).select_from(Job).where(Job.status == "processing"))
            most = max(most, running[0][0])

        assert 0 < most <= SLOTS

    def test_takes_submits_from_many_at_once(self, rig: QueueRig) -> None:
        with ThreadPoolExecutor(10) as callers:
            ids = list(callers.map(lambda _: rig.submit(), range(20)))

        assert len(set(ids)) == 20
        assert {rig.ended(job_id)["status"] for job_id in ids} == {"completed"}

    def test_gives_a_correlation_id_of_its_own(self, rig: QueueRig) -> None:
        ids = [rig.submit() for _ in range(2)]

        rows = rig.read(sa.select(Job.celery_task_id).where(Job.id.in_([rig.as_id(job_id) for job_id in ids])))

        assert len({row.celery_task_id for row in rows} | set(ids)) == 4


class TestEnds:
    def test_fails_when_a_call_is_refused(self, rig: QueueRig) -> None:
        job = rig.ended(rig.submit("failing"))

        assert (job["status"], job["error"]["step_id"]) == ("failed", "only")

    def test_goes_on_with_others_after_a_failure(self, rig: QueueRig) -> None:
        bad, good = rig.submit("failing"), rig.submit()

        assert [rig.ended(job_id)["status"] for job_id in (bad, good)] == ["failed", "completed"]

    def test_retries_what_may_be_retried(self, rig: QueueRig) -> None:
        job = rig.ended(rig.submit("flaky"))

        assert job["status"] == "completed"

    def test_is_told_to_who_waits(self, rig: QueueRig) -> None:
        job_id = rig.submit(delay=1)

        before = time.monotonic()
        job = rig.status(job_id, wait=SOON_SECONDS)

        assert job["status"] == "completed"
        assert time.monotonic() - before < SOON_SECONDS

    def test_is_written_with_one_outbox_row(self, rig: QueueRig) -> None:
        job_id = rig.submit()
        rig.ended(job_id)

        assert len(rig.read(sa.select(OutboxMessage.id).where(OutboxMessage.job_id == rig.as_id(job_id)))) == 1

    def test_stands_last_in_the_events(self, rig: QueueRig) -> None:
        job_id = rig.submit("three_calls")
        rig.ended(job_id)

        events = rig.events(job_id)

        assert (events[0], events[1], events[-1]) == ("job.queued", "job.started", "job.completed")
        assert events.count("step.completed") == 3

    def test_leaves_every_call_in_the_journal(self, rig: QueueRig) -> None:
        job_id = rig.submit("three_calls")
        rig.ended(job_id)

        assert set(rig.journal(job_id)) == {
            f"{step}{call}" for step in ("first", "second", "third") for call in ("", "#1")
        }


class TestIdempotency:
    def test_makes_one_job_of_two_submits_with_one_key(self, rig: QueueRig) -> None:
        key, name = rig.new_key(), rig.new_key()

        first, second = (rig.submit(key=key, idempotency_key=name) for _ in range(2))
        rig.ended(first)

        assert first == second
        assert rig.paid_calls(key) == {"only": 1}


class TestPriority:
    def test_starts_the_most_urgent_next_behind_many_others(self, rig: QueueRig) -> None:
        blocking = rig.fill_slots()
        others = [rig.submit() for _ in range(2 * SLOTS)]
        urgent = rig.submit(priority=10)

        for job_id in blocking:
            rig.cancel(job_id)
        for job_id in (*others, urgent):
            rig.ended(job_id)

        assert rig.row(urgent).started_at <= min(rig.row(job_id).started_at for job_id in others)

    def test_starts_older_jobs_first_among_equals(self, rig: QueueRig) -> None:
        blocking = rig.fill_slots()
        ids = [rig.submit() for _ in range(2 * SLOTS)]

        for job_id in blocking:
            rig.cancel(job_id)
        for job_id in ids:
            rig.ended(job_id)

        started: list[datetime] = [rig.row(job_id).started_at for job_id in ids]
        assert started == sorted(started)

    @pytest.mark.parametrize("priority", [0, 1, 5, 9, 10])
    def test_takes_every_priority(self, rig: QueueRig, priority: int) -> None:
        assert rig.ended(rig.submit(priority=priority))["status"] == "completed"


class TestCancel:
    def test_ends_a_queued_job_before_it_runs(self, rig: QueueRig) -> None:
        blocking = rig.fill_slots()
        key = rig.new_key()
        job_id = rig.submit(key=key)

        rig.cancel(job_id)

        assert rig.status(job_id)["status"] == "cancelled"
        for hanging in blocking:
            rig.cancel(hanging)
        assert {rig.ended(hanging)["status"] for hanging in blocking} == {"cancelled"}
        assert rig.paid_calls(key) == {}

    def test_aborts_a_running_call(self, rig: QueueRig) -> None:
        job_id = rig.submit("hanging")
        rig.until_status(job_id, "processing")

        before = time.monotonic()
        rig.cancel(job_id)
        job = rig.ended(job_id)

        assert job["status"] == "cancelled"
        assert time.monotonic() - before < CANCEL_SECONDS

    def test_makes_room_for_the_next(self, rig: QueueRig) -> None:
        blocking = rig.fill_slots()
        job_id = rig.submit()

        for hanging in blocking:
            rig.cancel(hanging)

        assert rig.ended(job_id)["status"] == "completed"

    def test_changes_nothing_after_the_end(self, rig: QueueRig) -> None:
        job_id = rig.submit()
        rig.ended(job_id)

        rig.cancel(job_id)

        assert rig.status(job_id)["status"] == "completed"


class TestTokens:
    def test_that_are_too_many_run_nothing_twice(self, rig: QueueRig) -> None:
        key = rig.new_key()

        rig.ring(5)
        job_id = rig.submit("three_calls", key=key)
        rig.ring(5)

        assert rig.ended(job_id)["status"] == "completed"
        assert rig.paid_calls(key) == {"first": 1, "second": 1, "third": 1}
        assert rig.row(job_id).fence == 1

    def test_without_a_job_leave_the_worker_as_it_was(self, rig: QueueRig) -> None:
        rig.ring(3 * SLOTS)

        assert rig.ended(rig.submit())["status"] == "completed"

    def test_that_come_before_the_commit_delay_a_job_only(self, rig: QueueRig) -> None:
        rig.ring()
        job_id = rig.add_silently()

        assert rig.ended(job_id)["status"] == "completed"

    def test_that_never_come_delay_a_job_only(self, rig: QueueRig) -> None:
        job_id = rig.add_silently()

        assert rig.ended(job_id)["status"] == "completed"

    def test_that_never_come_for_many_delay_them_only(self, rig: QueueRig) -> None:
        ids = [rig.add_silently() for _ in range(5)]

        assert {rig.ended(job_id)["status"] for job_id in ids} == {"completed"}

    def test_that_are_none_are_dropped(self, rig: QueueRig) -> None:
        rig.send_rubbish()

        assert rig.ended(rig.submit())["status"] == "completed"
        assert rig.ended(rig.submit())["status"] == "completed"

    def test_tell_what_became_of_their_job(self, rig: QueueRig) -> None:
        job_id = rig.submit()
        rig.ended(job_id)

        if rig.keeps_results:
            until(lambda: bool(rig.told_of(job_id)))
            assert rig.told_of(job_id) == [{"workflow": "one_call", "job_id": job_id, "status": "completed"}]
        assert rig.row(job_id).status == "completed"

    def test_tell_when_their_job_failed(self, rig: QueueRig) -> None:
        job_id = rig.submit("failing")
        rig.ended(job_id)

        if rig.keeps_results:
            until(lambda: bool(rig.told_of(job_id)))
            assert rig.told_of(job_id) == [{"workflow": "failing", "job_id": job_id, "status": "failed"}]
        assert rig.row(job_id).status == "failed"


class TestHealth:
    def test_shows_the_queue_and_its_workers(self, rig: QueueRig) -> None:
        services = rig.health()["services"]

        assert (services["queue"], services["database"]) == ("healthy", "healthy")
        assert services["workers"]["count"] >= 1

    def test_shows_the_broker(self, rig: QueueRig) -> None:
        assert rig.health()["services"]["broker"] == ("healthy" if rig.broker.url else "not_configured")


class TestTheBroker:
    def test_may_be_away_at_a_submit(self, rig: QueueRig) -> None:
        rig.broker.stop()
        try:
            before = time.monotonic()
            job_id = rig.submit()
            seconds = time.monotonic() - before
        finally:
            rig.broker.start()

        assert seconds < SOON_SECONDS
        assert rig.ended(job_id)["status"] == "completed"

    def test_may_be_away_while_jobs_run(self, rig: QueueRig) -> None:
        key = rig.new_key()
        job_id = rig.submit("three_calls", key=key, delay=1)
        rig.until_status(job_id, "processing")

        rig.broker.stop()
        try:
            job = rig.ended(job_id)
        finally:
            rig.broker.start()

        assert job["status"] == "completed"
        assert rig.paid_calls(key) == {"first": 1, "second": 1, "third": 1}
        assert rig.ended(rig.submit())["status"] == "completed"

    def test_may_cut_every_connection(self, rig: QueueRig) -> None:
        running = rig.submit("three_calls", delay=0.5)

        rig.broker.cut_connections()
        later = rig.submit()

        assert [rig.ended(job_id)["status"] for job_id in (running, later)] == ["completed"] * 2

    def test_may_lose_everything(self, rig: QueueRig) -> None:
        rig.without_second_worker()
        blocking = [rig.submit(delay=1) for _ in range(SLOTS)]
        waiting = [rig.submit() for _ in range(4)]

        rig.broker.wipe()
        later = rig.submit()

        assert {rig.ended(job_id)["status"] for job_id in (*blocking, *waiting, later)} == {"completed"}


class TestWorkers:
    def test_share_many_jobs(self, rig: QueueRig) -> None:
        rig.second_worker()
        ids = [rig.submit(delay=0.1) for _ in range(100)]

        assert {rig.ended(job_id)["status"] for job_id in ids} == {"completed"}
        assert {rig.row(job_id).fence for job_id in ids} == {1}

    def test_take_over_from_one_that_is_killed(self, rig: QueueRig) -> None:
        second = rig.second_worker()
        keys = [rig.new_key() for _ in range(2 * SLOTS)]
        ids = [rig.submit("three_calls", key=key, delay=1) for key in keys]
        until(lambda: len(rig.owners()) == 2)

        second.kill()
        second.wait(END_SECONDS)
        jobs = [rig.ended(job_id) for job_id in ids]

        assert {job["status"] for job in jobs} == {"completed"}
        assert all(set(rig.paid_calls(key).values()) <= {1, 2} for key in keys)  # a call in flight may repeat

    def test_hand_back_when_they_are_told_to_stop(self, rig: QueueRig) -> None:
        second = rig.second_worker()
        keys = [rig.new_key() for _ in range(2 * SLOTS)]
        ids = [rig.submit("three_calls", key=key, delay=1) for key in keys]
        until(lambda: len(rig.owners()) == 2)

        second.send_signal(signal.SIGTERM)
        code = second.wait(END_SECONDS)
        jobs = [rig.ended(job_id) for job_id in ids]

        assert code == 0
        assert {job["status"] for job in jobs} == {"completed"}
        assert all(set(rig.paid_calls(key).values()) == {1} for key in keys)  # calls in flight were let finish

    def test_are_replaced_one_by_one_without_loss(self, rig: QueueRig) -> None:
        rig.second_worker()
        ids = [rig.submit("three_calls", delay=0.5) for _ in range(SLOTS)]

        rig.without_second_worker()
        ids += [rig.submit("three_calls", delay=0.1) for _ in range(SLOTS)]

        assert {rig.ended(job_id)["status"] for job_id in ids} == {"completed"}
        assert len(rig.living_workers()) == 1

    def test_leave_no_job_behind(self, rig: QueueRig) -> None:
        rig.ended(rig.submit())

        until(lambda: not rig.owners())
        states = {row.status for row in rig.read(sa.select(Job.status).distinct())}

        assert states <= {"completed", "failed", "cancelled"}
