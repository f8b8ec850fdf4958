"""P8: a budget is never passed. What calls can cost is reserved before, what they did cost is settled after, once."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callboard.core.database import Database
from callboard.core.errors import PermanentError, TemporaryError
from callboard.core.ids import new_uuid
from callboard.core.json_values import dumps, loads
from callboard.jobs.budget_scopes import Account, BudgetScope, Limit, Period
from callboard.jobs.models import BudgetAccount, BudgetReservation
from callboard.jobs.repository.budgets import (
    ReserveAsk,
    ReserveOutcome,
    ReserveReply,
    Settlement,
    SettlementKind,
    reserve_calls,
)
from callboard.jobs.repository.claims import ClaimedJob, claim_jobs
from callboard.jobs.repository.finishes import Finish, write_finishes
from callboard.jobs.repository.journal import JournalWrite, write_journal
from callboard.jobs.repository.spending import LimitRow, put_limit
from callboard.jobs.repository.takeovers import take_over_jobs
from callboard.jobs.spending_limits import DefaultLimits
from callboard.jobs.status import JobStatus
from tests.fixtures.job_rows import add_jobs, add_worker, claimed_job, kill_worker, read_job, usage_row
from tests.fixtures.scripted_steps import World
from tests.fixtures.scripted_worker import GatedWorld, scripted_worker

ZERO = Decimal(0)
CENT = Decimal("0.01")  # what a call of the scripted world costs
JOB, USER_DAY, TENANT_MONTH = Decimal(10), Decimal(14), Decimal(20)


def call(step_id: str, *, upper_usd: str | None = "0.01", **more: Any) -> dict[str, Any]:
    """Return a step that makes one call for a cent, and can cost up to `upper_usd`."""
    return {"id": step_id, "type": "call", "config": {"value": step_id, "upper_usd": upper_usd}, **more}


def at_once(count: int, **options: Any) -> dict[str, Any]:
    """Return so many calls in branches beside each other; one that fails leaves the others alone."""
    branches = {f"b{n}": [call(f"c{n}", error_mode="continue", **options)] for n in range(count)}
    return {"id": "all", "type": "parallel", "config": {"branches": branches}}


async def reserve(
    database: Database, job: ClaimedJob, amount: str | Decimal, *limits: Limit, fence: int | None = None
) -> tuple[UUID, ReserveReply]:
    ask = ReserveAsk(
        reservation_id=new_uuid(),
        job_id=job.id,
        fence=job.fence if fence is None else fence,
        path="a",
        call=1,
        amount_usd=Decimal(amount),
        limits=limits,
    )
    (reply,) = await reserve_calls(database, [ask])
    return ask.reservation_id, reply


async def settle(
    database: Database, job: ClaimedJob, reservation_id: UUID, kind: SettlementKind, cost: str | Decimal = "0"
) -> None:
    """Settle as a run does: in the journal, a paid call with its usage row."""
    usage = None
    if kind is SettlementKind.PAID:
        usage = usage_row(job, str(reservation_id), fence=job.fence) | {"cost_usd": Decimal(cost)}
    settlement = Settlement(reservation_id=reservation_id, kind=kind, cost_usd=Decimal(cost))
    await write_journal(database, [JournalWrite(job_id=job.id, fence=job.fence, usage=usage, settlement=settlement)])


async def account(database: Database, scope: BudgetScope = BudgetScope.JOB) -> tuple[Decimal, Decimal, Decimal]:
    """Return what is spent, reserved and unconfirmed in the one account of `scope`."""
    async with database.reads() as session:
        row = (await session.scalars(sa.select(BudgetAccount).where(BudgetAccount.scope == scope))).one()
    return row.spent_usd, row.reserved_usd, row.unconfirmed_usd


def job_limit(job: ClaimedJob, limit: str | Decimal = "1") -> Limit:
    return Limit.of_job(job.id, job.tenant_id, Decimal(limit))


def limit_of(scope: BudgetScope, limit: Decimal, *, tenant_id: str = "default", subject: str = "") -> Limit:
    return Limit(scope=scope, tenant_id=tenant_id, subject=subject, limit_usd=limit)


class TestReserveCalls:
    async def test_grants_what_fits_and_says_what_stands_in_the_way_of_more(self, database: Database) -> None:
        job = await claimed_job(database)
        limit = job_limit(job)
        first, granted = await reserve(database, job, "0.7", limit)
        _, busy = await reserve(database, job, "0.4", limit)
        await settle(database, job, first, SettlementKind.PAID, "0.7")

        _, refused = await reserve(database, job, "0.4", limit)

        outcomes = [reply.outcome for reply in (granted, busy, refused)]
        assert outcomes == [ReserveOutcome.GRANTED, ReserveOutcome.BUSY, ReserveOutcome.REFUSED]
        assert refused.state is not None
        assert refused.state.refuse("gpt-4o").message == (
            "A call to gpt-4o could cost up to $0.4; the budget of this run is $1: $0.7 spent, $0 reserved."
        )

    async def test_refuses_a_run_that_has_lost_its_job(self, database: Database) -> None:
        job = await claimed_job(database)

        _, reply = await reserve(database, job, "0.1", job_limit(job), fence=job.fence - 1)

        assert reply.outcome is ReserveOutcome.LOST

    async def test_reserves_once_what_is_asked_twice(self, database: Database) -> None:
        job = await claimed_job(database)
        ask = ReserveAsk(
            reservation_id=new_uuid(),
            job_id=job.id,
            fence=job.fence,
            path="a",
            call=1,
            amount_usd=CENT,
            limits=(job_limit(job),),
        )

        replies = [(await reserve_calls(database, [ask]))[0].outcome for _ in range(2)]

        assert replies == [ReserveOutcome.GRANTED] * 2
        assert await account(database) == (ZERO, CENT, ZERO)

    async def test_counts_what_was_spent_before_a_limit_was_set(self, database: Database) -> None:
        job = await claimed_job(database, user_id="ada")
        usage = usage_row(job, "early", fence=1) | {"cost_usd": Decimal("0.9"), "user_id": "ada"}
        await write_journal(database, [JournalWrite(job_id=job.id, fence=job.fence, usage=usage)])

        _, reply = await reserve(database, job, "0.2", limit_of(BudgetScope.USER_DAY, Decimal(1), subject="ada"))

        assert reply.outcome is ReserveOutcome.REFUSED
        assert reply.state is not None
        assert reply.state.to_json()["resets_at"] > datetime.now(UTC).isoformat()

    async def test_never_passes_a_limit_that_processes_share(self, database: Database, database_url: str) -> None:
        worker = await add_worker(database, slots=100)
        await add_jobs(database, 4)
        jobs = await claim_jobs(database, worker, 4)
        limit = limit_of(BudgetScope.TENANT_DAY, CENT * 10)
        others = [Database(database_url) for _ in range(2)]

        replies = await asyncio.gather(
            *(reserve(others[n % 2], jobs[n % 4], CENT, limit) for n in range(24)), return_exceptions=True
        )
        for other in others:
            await other.close()

        granted = [each for each in replies if not isinstance(each, BaseException)]
        assert [reply.outcome for _, reply in granted].count(ReserveOutcome.GRANTED) == 10
        assert await account(database, BudgetScope.TENANT_DAY) == (ZERO, CENT * 10, ZERO)


class TestSettlement:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            (SettlementKind.PAID, ("0.3", "0", "0")),
            (SettlementKind.RELEASED, ("0", "0", "0")),
            (SettlementKind.UNCONFIRMED, ("0", "0", "0.5")),
        ],
        ids=["paid", "released", "unconfirmed"],
    )
    async def test_counts_once_however_often_it_is_written(
        self, database: Database, kind: SettlementKind, expected: Sequence[str]
    ) -> None:
        job = await claimed_job(database)
        reservation_id, _ = await reserve(database, job, "0.5", job_limit(job))

        for _ in range(2):
            await settle(database, job, reservation_id, kind, "0.3" if kind is SettlementKind.PAID else "0")

        assert await account(database) == tuple(map(Decimal, expected))

    async def test_counts_a_call_that_cost_more_than_its_bound(self, database: Database) -> None:
        job = await claimed_job(database)
        reservation_id, _ = await reserve(database, job, "0.9", job_limit(job))

        await settle(database, job, reservation_id, SettlementKind.PAID, "1.2")

        assert await account(database) == (Decimal("1.2"), ZERO, ZERO)
        assert (await reserve(database, job, "0", job_limit(job)))[1].outcome is ReserveOutcome.REFUSED

    async def test_counts_a_call_in_the_day_it_was_made_in(self, database: Database) -> None:
        job = await claimed_job(database)
        limit = limit_of(BudgetScope.TENANT_DAY, Decimal(1))
        reservation_id, _ = await reserve(database, job, "0.8", limit)
        yesterday = Account(scope=BudgetScope.TENANT_DAY, tenant_id="default", subject="", period="2026-01-31")
        async with database.transaction() as connection:  # midnight passes
            await connection.execute(sa.update(BudgetAccount).values(key=yesterday.key, period=yesterday.period))
            await connection.execute(sa.update(BudgetReservation).values(accounts=dumps([yesterday.key])))

        _, today = await reserve(database, job, "0.8", limit)
        await settle(database, job, reservation_id, SettlementKind.PAID, "0.8")

        assert today.outcome is ReserveOutcome.GRANTED
        async with database.reads() as session:
            query = sa.select(BudgetAccount.spent_usd, BudgetAccount.reserved_usd).order_by(BudgetAccount.period)
            assert [tuple(row) for row in await session.execute(query)] == [
                (Decimal("0.8"), 0),
                (0, Decimal("0.8")),
            ]


class TestDeadWorker:
    async def test_leaves_its_reservations_unconfirmed_until_its_late_usage_comes(self, database: Database) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)
        reservation_id, _ = await reserve(database, job, "0.5", job_limit(job))
        await kill_worker(database, worker)

        await take_over_jobs(database)
        lost = await account(database), (await read_job(database, job.id)).unconfirmed_usd
        for _ in range(2):
            await settle(database, job, reservation_id, SettlementKind.PAID, "0.2")

        assert lost == ((ZERO, ZERO, Decimal("0.5")), Decimal("0.5"))
        assert await account(database) == (Decimal("0.2"), ZERO, ZERO)
        assert (await read_job(database, job.id)).unconfirmed_usd == 0

    async def test_counts_what_it_may_have_paid_against_the_budget(self, database: Database) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)
        await reserve(database, job, "0.5", job_limit(job))
        await kill_worker(database, worker)
        await take_over_jobs(database)
        (again,) = await claim_jobs(database, await add_worker(database), 1)

        _, reply = await reserve(database, again, "0.6", job_limit(again))

        assert reply.outcome is ReserveOutcome.REFUSED
        assert reply.state is not None
        assert "$0.5 perhaps spent" in reply.state.refuse("m").message

    async def test_leaves_nothing_open_when_its_job_ends(self, database: Database) -> None:
        job = await claimed_job(database)
        await reserve(database, job, "0.5", job_limit(job))

        end = Finish(job_id=job.id, fence=job.fence, status=JobStatus.COMPLETED, has_reserved=True)
        await write_finishes(database, [end])

        assert await account(database) == (ZERO, ZERO, Decimal("0.5"))
        row = await read_job(database, job.id)
        assert loads(row.result_data or "")["cost_data"]["unconfirmed_usd"] == 0.5


@dataclass
class Model:
    """What the accounts should hold: a reservation is (job, amount, is_open)."""

    limits: dict[str, Decimal]
    spent: dict[str, Decimal] = field(default_factory=dict)
    held: dict[UUID, tuple[int, Decimal, bool]] = field(default_factory=dict)

    def keys(self, job: int) -> list[str]:
        return [f"job{job}", f"user{job % 2}", "tenant"]

    def sum_of(self, key: str, *, is_open: bool) -> Decimal:
        amounts = [amount for job, amount, still in self.held.values() if key in self.keys(job) and still == is_open]
        return sum(amounts, Decimal(0))

    def judge(self, job: int, amount: Decimal) -> ReserveOutcome:
        outcome = ReserveOutcome.GRANTED
        for key in self.keys(job):
            used = self.spent.get(key, Decimal(0)) + self.sum_of(key, is_open=False)
            if used + amount > self.limits[key]:
                return ReserveOutcome.REFUSED
            if used + self.sum_of(key, is_open=True) + amount > self.limits[key]:
                outcome = ReserveOutcome.BUSY
        return outcome

    def settle(self, reservation_id: UUID, kind: SettlementKind, cost: Decimal) -> None:
        if reservation_id not in self.held:
            return
        job, amount, _ = self.held.pop(reservation_id)
        if kind is SettlementKind.UNCONFIRMED:
            self.held[reservation_id] = (job, amount, False)
            return
        for key in self.keys(job):
            self.spent[key] = self.spent.get(key, Decimal(0)) + cost


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 2), st.integers(1, 8)),
        st.tuples(st.sampled_from(list(SettlementKind)), st.integers(0, 9), st.integers(0, 8)),
        st.tuples(st.just("cut_off"), st.integers(0, 2), st.just(0)),
    ),
    max_size=25,
)


class TestAccounting:
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(moves=MOVES)
    def test_keeps_every_account_as_a_plain_sum_would(self, database_url: str, moves: Sequence[Any]) -> None:
        asyncio.run(_play(database_url, moves))


async def _play(database_url: str, moves: Sequence[Any]) -> None:
    database = Database(database_url)
    tenant_id = str(new_uuid())
    await add_jobs(database, 3, tenant_id=tenant_id)
    jobs = await claim_jobs(database, await add_worker(database), 3)
    model = Model({**{f"job{n}": JOB for n in range(3)}, "user0": USER_DAY, "user1": USER_DAY, "tenant": TENANT_MONTH})
    asked: list[tuple[int, UUID]] = []
    try:
        for move, which, number in moves:
            if move == "reserve":
                expected = model.judge(which, Decimal(number))
                reservation_id, reply = await reserve(
                    database, jobs[which], Decimal(number), *_limits_of(jobs[which], which, tenant_id)
                )
                assert reply.outcome is expected
                asked.append((which, reservation_id))
                if expected is ReserveOutcome.GRANTED:
                    model.held[reservation_id] = (which, Decimal(number), True)
            elif move == "cut_off":
                await _hand_back_and_claim(database, jobs, which)
                for key, (job, amount, _) in list(model.held.items()):
                    if job == which:
                        model.held[key] = (job, amount, False)
            elif asked:
                job, reservation_id = asked[which % len(asked)]
                cost = Decimal(number) if move is SettlementKind.PAID else Decimal(0)
                held = model.held.get(reservation_id)
                cost = min(cost, held[1]) if held else cost
                await settle(database, jobs[job], reservation_id, move, cost)
                model.settle(reservation_id, move, cost)
            await _compare(database, tenant_id, jobs, model)
    finally:
        await database.close()


def _limits_of(job: ClaimedJob, which: int, tenant_id: str) -> list[Limit]:
    return [
        job_limit(job, JOB),
        limit_of(BudgetScope.USER_DAY, USER_DAY, tenant_id=tenant_id, subject=f"u{which % 2}"),
        limit_of(BudgetScope.TENANT_MONTH, TENANT_MONTH, tenant_id=tenant_id),
    ]


async def _hand_back_and_claim(database: Database, jobs: list[ClaimedJob], which: int) -> None:
    """Have the run of a job cut off, and the job claimed again."""
    back = Finish(job_id=jobs[which].id, fence=jobs[which].fence, status=JobStatus.QUEUED, has_reserved=True)
    await write_finishes(database, [back])
    (jobs[which],) = await claim_jobs(database, await add_worker(database), 1)


async def _compare(database: Database, tenant_id: str, jobs: Sequence[ClaimedJob], model: Model) -> None:
    names = {str(job.id): f"job{n}" for n, job in enumerate(jobs)} | {"u0": "user0", "u1": "user1", "": "tenant"}
    async with database.reads() as session:
        rows = list(await session.scalars(sa.select(BudgetAccount).where(BudgetAccount.tenant_id == tenant_id)))
    for row in rows:
        key = names[row.subject]
        assert row.reserved_usd == model.sum_of(key, is_open=True)
        assert row.unconfirmed_usd == model.sum_of(key, is_open=False)
        assert row.spent_usd == model.spent.get(key, 0)
        assert row.spent_usd + row.reserved_usd + row.unconfirmed_usd <= model.limits[key]


class TestRun:
    async def test_makes_as_many_parallel_calls_as_the_budget_pays(self, database: Database) -> None:
        world = World()
        async with scripted_worker(database, world) as worker:
            job = await worker.ended(await worker.submit([at_once(50)], columns={"budget_usd": CENT * 10}))

        assert job.status == "completed"
        assert sum(world.finished.values()) == 10
        assert job.cost_usd == CENT * 10
        assert await account(database) == (CENT * 10, ZERO, ZERO)

    async def test_waits_for_calls_that_may_need_less_than_they_reserved(self, database: Database) -> None:
        world = World()
        async with scripted_worker(database, world) as worker:
            steps = [at_once(12, upper_usd="0.05")]
            job = await worker.ended(await worker.submit(steps, columns={"budget_usd": CENT * 10}))

        # while 0.05 is left: at 0, 0.01, ... 0.05 spent
        assert sum(world.finished.values()) == 6
        assert job.cost_usd == CENT * 6

    async def test_tells_what_a_refused_call_could_have_cost(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            steps = [call("first"), call("second", upper_usd="0.05")]
            job = await worker.ended(await worker.submit(steps, columns={"budget_usd": Decimal("0.05")}))

        error = loads(job.error or "")
        assert (error["type"], error["category"], error["step_id"]) == ("budget_exceeded", "cost", "second")
        assert error["message"].endswith(
            "A call to scripted could cost up to $0.05; the budget of this run is $0.05: $0.01 spent, $0 reserved."
        )
        assert error["details"] == {
            "scope": "job",
            "limit_usd": 0.05,
            "spent_usd": 0.01,
            "reserved_usd": 0,
            "unconfirmed_usd": 0,
            "asked_usd": 0.05,
        }

    async def test_refuses_a_call_whose_price_nobody_knows(self, database: Database) -> None:
        world = World()
        async with scripted_worker(database, world) as worker:
            limited = await worker.submit([call("a", upper_usd=None)], columns={"budget_usd": CENT})
            free = await worker.submit([call("a", upper_usd=None)])
            error = loads((await worker.ended(limited)).error or "")

            assert error["type"] == "budget_price_unknown"
            assert (await worker.ended(free)).status == "completed"
        assert world.finished == {"a": 1}

    @pytest.mark.parametrize(
        "error",
        [TemporaryError("timed out"), PermanentError("unreadable")],
        ids=["time-out", "answer that cannot be read"],
    )
    async def test_counts_a_call_that_may_have_been_paid(self, database: Database, error: Exception) -> None:
        async with scripted_worker(database, World({"a": [error]})) as worker:
            job = await worker.ended(await worker.submit([call("a")], columns={"budget_usd": CENT}))

        assert (job.status, job.unconfirmed_usd) == ("failed", CENT)
        assert await account(database) == (ZERO, ZERO, CENT)

    async def test_gives_back_what_a_refused_call_had_reserved(self, database: Database) -> None:
        no = TemporaryError("too fast")
        no.is_unpaid = True
        step = call("a", retry={"max_attempts": 2, "delay_seconds": 0.01})
        async with scripted_worker(database, World({"a": [no, None]})) as worker:
            job = await worker.ended(await worker.submit([step], columns={"budget_usd": CENT}))

        assert (job.status, job.cost_usd, job.unconfirmed_usd) == ("completed", CENT, ZERO)

    async def test_counts_a_call_that_a_cancel_cut_off(self, database: Database) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([call("a")], columns={"budget_usd": CENT})
            await world.is_reached()
            worker.runner.cancel(job_id)
            job = await worker.ended(job_id)

        assert (job.status, job.unconfirmed_usd) == ("cancelled", CENT)
        assert await account(database) == (ZERO, ZERO, CENT)

    async def test_limits_the_jobs_of_a_user_together(self, database: Database) -> None:
        world = World()
        columns = {"user_id": "ada"}
        async with scripted_worker(database, world, limits=DefaultLimits(user_day=CENT * 3)) as worker:
            ada = [await worker.submit([call("a")], columns=columns) for _ in range(5)]
            bob = await worker.submit([call("a")], columns={"user_id": "bob"})
            jobs = [await worker.ended(job_id) for job_id in ada]

            assert (await worker.ended(bob)).status == "completed"
        assert sorted(job.status for job in jobs) == ["completed"] * 3 + ["failed"] * 2
        refused = next(loads(job.error or "") for job in jobs if job.status == "failed")
        assert refused["details"]["scope"] == "user_day"
        assert 'the limit of user "ada" for a day is $0.03' in refused["message"]

    async def test_heeds_a_limit_that_is_set_while_it_runs(self, database: Database) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([call("a"), call("b")], columns={"user_id": "ada"})
            await world.is_reached()
            row = LimitRow(tenant_id="default", user_id="ada", period=Period.MONTH, limit_usd=Decimal("0.005"))
            await put_limit(database, row)
            await worker.budgets.limits.refresh()
            world.gate.set()
            job = await worker.ended(job_id)

        assert (job.status, world.finished) == ("failed", {"a": 1})
        assert loads(job.error or "")["details"]["scope"] == "user_month"

    async def test_asks_the_database_nothing_more_where_nothing_limits_it(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            with statements(database) as seen:
                await worker.ended(await worker.submit([call("a"), call("b")], columns={"user_id": "ada"}))

        assert any("llm_provider_usage" in statement for statement in seen)
        assert not [each for each in seen if "budget_" in each.replace("budget_usd", "")]


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Collect every statement that `database` is sent while the block lasts."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engines = [database._read_engine.sync_engine, database._write_engine.sync_engine]
    for engine in engines:
        sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines:
        sa.event.remove(engine, "before_cursor_execute", note)
