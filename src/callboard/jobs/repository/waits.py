"""What runs wait for: asking, answering, signals, timers. Every change is made under the job's row lock.

`jobs/parking.py` asks for runs, `jobs/approvals.py` and `jobs/signals.py` bring what ends a wait, the sweeper
wakes what is due. Since all of them lock the job first, a job is never parked past what it waits for.
Whether a time is up is judged by the database's clock: workers' clocks differ.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.bulk import insert_rows, update_rows
from callboard.core.clock import to_iso
from callboard.core.database import Database, utc_now
from callboard.core.ids import JobId, new_uuid
from callboard.core.json_values import dumps, loads
from callboard.jobs.models import JobAnswer, JobSignal, JobWait
from callboard.jobs.repository.fences import NewEvent, append_events, is_owned, lock_jobs, one_of, update_jobs
from callboard.workflows.steps.waiting import Answer, Wait, WaitEnd, WaitKind, seconds_of


class WaitStatus(StrEnum):
    """Where a wait stands."""

    OPEN = "open"
    ANSWERED = "answered"  # by people, a signal, or, of a timer, by its time
    TIMED_OUT = "timed_out"
    CLOSED = "closed"  # nobody waits any more: the job ended, or the branch was cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitAsk:
    """A run asks how the wait of one of its step instances stands. `tries` are those before a back-off.

    `is_over`: nobody waits any more, since the branch was cancelled.
    """

    job_id: JobId
    fence: int
    attempt: int
    tenant_id: str
    path: str
    wait: Wait
    tries: int = 0
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReply:
    """How a wait stands: `end`, or None while it goes on for `seconds_left` at most (infinity: for ever).

    `is_owned` is False where the job is no longer the run's that asked.
    """

    is_owned: bool
    wait_id: UUID | None = None
    end: WaitEnd | None = None
    seconds_left: float = math.inf


_LOST = WaitReply(is_owned=False)


async def ask_waits(database: Database, asks: Sequence[WaitAsk]) -> list[WaitReply]:
    """Open or read many runs' waits in one transaction and return, in order, how each stands.

    Taking a signal and noting that it ended its wait is this one transaction, too.
    """
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, (ask.job_id for ask in asks), utc_now().label("moment"))
        owned = [ask for ask in asks if is_owned(locked.get(ask.job_id), ask.fence)]
        desk = await _Desk.open(connection, owned, locked)
        replies = {id(ask): desk.answer(ask) for ask in owned}
        await desk.write(connection)
    return [replies.get(id(ask), _LOST) for ask in asks]


@dataclass(slots=True)
class _Desk:
    """What asks of one transaction find and change."""

    locked: Mapping[UUID, Any]
    rows: dict[tuple[UUID, str], dict[str, Any]]  # the newest of each step instance
    answers: Mapping[UUID, list[Answer]]
    signals: dict[tuple[UUID, str], list[Any]]  # not taken yet, the oldest first
    opened: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    changed: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    taken: list[dict[str, Any]] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)

    @classmethod
    async def open(cls, connection: AsyncConnection, asks: Sequence[WaitAsk], locked: Mapping[UUID, Any]) -> "_Desk":
        rows = await _load_rows(connection, asks)
        ended = [row["id"] for row in rows.values() if row["status"] != WaitStatus.OPEN]
        partly = [
            row["id"] for row in rows.values() if row["status"] == WaitStatus.OPEN and row["required_answers"] > 1
        ]
        signalled = {ask.job_id for ask in asks if ask.wait.kind is WaitKind.EVENT}
        return cls(
            locked, rows, await _load_answers(connection, ended + partly), await _load_signals(connection, signalled)
        )

    def answer(self, ask: WaitAsk) -> WaitReply:
        moment = self.locked[ask.job_id].moment
        if ask.is_over:
            return self._close(ask, moment)
        row = self._row_of(ask, moment)
        if row["status"] == WaitStatus.OPEN:
            self._end_if_it_has(ask, row, moment)
        if row["status"] == WaitStatus.OPEN:
            return WaitReply(is_owned=True, wait_id=row["id"], seconds_left=_seconds_left(row["wake_at"], moment))
        self._change(row, taken_at=row["taken_at"] or moment)
        return WaitReply(is_owned=True, wait_id=row["id"], end=self._end_of(row))

    def _close(self, ask: WaitAsk, moment: datetime) -> WaitReply:
        row = self.rows.get((ask.job_id, ask.path))
        if row is not None and row["status"] == WaitStatus.OPEN:
            self._change(row, status=WaitStatus.CLOSED, ended_at=moment)
        return WaitReply(is_owned=True)

    async def write(self, connection: AsyncConnection) -> None:
        await insert_rows(connection, JobWait, list(self.opened.values()))
        if self.changed:
            await _update_waits(connection, list(self.changed.values()))
        for each in self.taken:
            await connection.execute(
                sa.update(JobSignal)
                .where(JobSignal.job_id == each["job_id"], JobSignal.number == each["number"])
                .values(taken_by=each["taken_by"], taken_at=each["taken_at"])
            )
        await tell_watchers(connection, self.events, self.locked)

    def _row_of(self, ask: WaitAsk, moment: datetime) -> dict[str, Any]:
        """Return the wait's row: the one there is, opened again where nobody waited any more, or a new one."""
        row = self.rows.get((ask.job_id, ask.path))
        if row is not None and row["status"] == WaitStatus.CLOSED and row["attempt"] == ask.attempt:
            self._change(row, status=WaitStatus.OPEN, wake_at=_wake_at(ask.wait, moment), ended_at=None)
            return row
        is_over = row is not None and row["status"] != WaitStatus.ANSWERED and row["attempt"] < ask.attempt
        if row is None or is_over:  # what a person answered before the job was tried again still counts
            row = self.rows[ask.job_id, ask.path] = _new_row(ask, moment)
            self.opened[row["id"]] = row
            self.events.append(_opened_event(ask, row))
        return row

    def _end_if_it_has(self, ask: WaitAsk, row: dict[str, Any], moment: datetime) -> None:
        waiting = self.signals.get((ask.job_id, row["name"] or ""), [])
        if row["kind"] == WaitKind.EVENT and waiting:
            signal = waiting.pop(0)
            self.taken.append(
                {"job_id": ask.job_id, "number": signal.number, "taken_by": row["id"], "taken_at": moment}
            )
            self._change(row, status=WaitStatus.ANSWERED, payload=signal.payload, ended_at=signal.sent_at)
        elif row["wake_at"] is not None and row["wake_at"] <= moment:
            self._change(row, status=WaitStatus.TIMED_OUT, ended_at=row["wake_at"])

    def _change(self, row: dict[str, Any], **values: Any) -> None:
        row.update(values)
        if row["id"] not in self.opened:  # else it is inserted as it is by then
            self.changed[row["id"]] = row

    def _end_of(self, row: Mapping[str, Any]) -> WaitEnd:
        return WaitEnd(
            ended_at=row["ended_at"],
            is_timed_out=row["status"] == WaitStatus.TIMED_OUT,
            answers=tuple(self.answers.get(row["id"], ())),
            payload=None if row["payload"] is None else loads(row["payload"]),
        )


async def close_waits(connection: AsyncConnection, job_ids: Iterable[UUID], *, but: Iterable[UUID] = ()) -> None:
    """Close what is open of jobs that this transaction has locked, `but` those."""
    ids, kept = list(job_ids), list(but)
    if not ids:
        return
    statement = sa.update(JobWait).where(
        one_of(connection, JobWait.job_id, ids), JobWait.status == sa.literal_column("'open'")
    )
    if kept:
        statement = statement.where(~one_of(connection, JobWait.id, kept))
    await connection.execute(statement.values(status=WaitStatus.CLOSED, ended_at=utc_now()))


@dataclass(frozen=True, slots=True)
class ParkedUntil:
    """What a job that is to be parked waits for: `has_news` where one of it has come already."""

    has_news: bool
    wake_at: datetime | None


async def look_before_parking(
    connection: AsyncConnection, waits: Mapping[UUID, Sequence[UUID]], locked: Mapping[UUID, Any]
) -> dict[UUID, ParkedUntil]:
    """Return, for jobs that this transaction has locked (with `moment`), whether there is news of their `waits`."""
    ids = [wait_id for wanted in waits.values() for wait_id in wanted]
    columns = (JobWait.job_id, JobWait.status, JobWait.kind, JobWait.name, JobWait.wake_at)
    rows: dict[UUID, list[Any]] = defaultdict(list)
    if ids:
        for row in await connection.execute(sa.select(*columns).where(one_of(connection, JobWait.id, ids))):
            rows[row.job_id].append(row)
    signals = await _load_signals(
        connection, {row.job_id for each in rows.values() for row in each if row.kind == WaitKind.EVENT}
    )
    found = {}
    for job_id in waits:
        times = [row.wake_at for row in rows[job_id] if row.wake_at is not None]
        wake_at = min(times, default=None)
        is_due = wake_at is not None and wake_at <= locked[job_id].moment
        has_news = is_due or any(
            row.status != WaitStatus.OPEN or (job_id, row.name or "") in signals for row in rows[job_id]
        )
        found[job_id] = ParkedUntil(has_news, wake_at)
    return found


async def load_tries(database: Database, job_id: JobId, attempt: int) -> dict[str, int]:
    """Return how often each step of this attempt was tried before the back-off that its run was parked in."""
    query = sa.select(JobWait.path, JobWait.tries).where(
        JobWait.job_id == job_id, JobWait.attempt == attempt, JobWait.kind == WaitKind.BACK_OFF
    )
    tries: dict[str, int] = {}
    async with database.reads() as session:
        for row in await session.execute(query):
            step_path = row.path.rpartition("!")[0]
            tries[step_path] = max(row.tries, tries.get(step_path, 0))
    return tries


async def list_news(database: Database, job_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of `job_ids` that have an answer or a signal which their run was not told of."""
    ids = list(job_ids)
    answered = sa.select(JobWait.job_id).where(
        JobWait.job_id.in_(ids), JobWait.status == WaitStatus.ANSWERED, JobWait.taken_at.is_(None)
    )
    signalled = (
        sa.select(JobSignal.job_id)
        .join(JobWait, sa.and_(JobWait.job_id == JobSignal.job_id, JobWait.name == JobSignal.name))
        .where(JobSignal.job_id.in_(ids), JobSignal.taken_by.is_(None), JobWait.status == WaitStatus.OPEN)
    )
    async with database.reads() as session:
        return set((await session.scalars(sa.union(answered, signalled))).all())


async def tell_watchers(connection: AsyncConnection, events: Sequence[NewEvent], locked: Mapping[UUID, Any]) -> None:
    """Append `events` to jobs that this transaction has locked and changes no further."""
    if events:
        last_events = await append_events(connection, events, locked)
        changed = sorted({event.job_id for event in events})
        await update_jobs(
            connection,
            [{"job_id": key, "last_event_id": last_events[key], "updated_at": locked[key].moment} for key in changed],
        )


async def _load_rows(connection: AsyncConnection, asks: Sequence[WaitAsk]) -> dict[tuple[UUID, str], dict[str, Any]]:
    if not asks:
        return {}
    table = JobWait.__table__
    query = (
        sa.select(table)
        .where(
            one_of(connection, JobWait.job_id, {ask.job_id for ask in asks}),
            JobWait.path.in_(sorted({ask.path for ask in asks})),
        )
        .order_by(JobWait.attempt)
    )
    return {(row.job_id, row.path): dict(row._mapping) for row in await connection.execute(query)}  # noqa: SLF001 - Row's documented mapping


async def _load_answers(connection: AsyncConnection, wait_ids: Collection[UUID]) -> dict[UUID, list[Answer]]:
    answers: dict[UUID, list[Answer]] = defaultdict(list)
    if wait_ids:
        query = sa.select(JobAnswer).where(one_of(connection, JobAnswer.wait_id, wait_ids)).order_by(JobAnswer.number)
        for row in await connection.execute(query.with_only_columns(*JobAnswer.__table__.c)):
            given = Answer(value=loads(row.answer), answered_by=row.answered_by, answered_at=row.answered_at)
            answers[row.wait_id].append(given)
    return answers


async def _load_signals(connection: AsyncConnection, job_ids: Iterable[UUID]) -> dict[tuple[UUID, str], list[Any]]:
    """Return the signals that nobody has taken, by job and name, the oldest first."""
    ids = list(job_ids)
    signals: dict[tuple[UUID, str], list[Any]] = defaultdict(list)
    if ids:
        query = (
            sa.select(JobSignal.job_id, JobSignal.number, JobSignal.name, JobSignal.payload, JobSignal.sent_at)
            .where(one_of(connection, JobSignal.job_id, ids), JobSignal.taken_by.is_(None))
            .order_by(JobSignal.job_id, JobSignal.number)
        )
        for row in await connection.execute(query):
            signals[row.job_id, row.name].append(row)
    return signals


async def _update_waits(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    changing = ("status", "payload", "wake_at", "ended_at", "taken_at")
    changed = [{"wait_id": row["id"], **{name: row[name] for name in changing}} for row in rows]
    await update_rows(connection, JobWait, changed, key="id", key_name="wait_id")


def _new_row(ask: WaitAsk, moment: datetime) -> dict[str, Any]:
    wait = ask.wait
    return {
        "id": new_uuid(),
        "job_id": ask.job_id,
        "tenant_id": ask.tenant_id,
        "path": ask.path,
        "step_id": wait.step_id,
        "kind": wait.kind,
        "attempt": ask.attempt,
        "status": WaitStatus.OPEN,
        "name": wait.name,
        "title": wait.title or None,
        "instructions": wait.instructions or None,
        "form_schema": None if wait.form_schema is None else dumps(wait.form_schema),
        "required_answers": wait.required_answers,
        "tries": ask.tries,
        "payload": None,
        "wake_at": _wake_at(wait, moment),
        "opened_at": moment,
        "ended_at": None,
        "taken_at": None,
    }


def _wake_at(wait: Wait, moment: datetime) -> datetime | None:
    if wait.until is not None:
        return wait.until
    seconds = seconds_of(wait, moment)
    return None if math.isinf(seconds) else moment + timedelta(seconds=seconds)


def _seconds_left(wake_at: datetime | None, moment: datetime) -> float:
    return math.inf if wake_at is None else max(0.0, (wake_at - moment).total_seconds())


def _opened_event(ask: WaitAsk, row: Mapping[str, Any]) -> NewEvent:
    wake_at: datetime | None = row["wake_at"]
    data = {
        "path": ask.path,
        "kind": ask.wait.kind,
        "wait_id": str(row["id"]),
        "title": row["title"],
        "name": row["name"],
        "wake_at": None if wake_at is None else to_iso(wake_at),
    }
    return NewEvent(ask.job_id, "step.waiting", {name: value for name, value in data.items() if value is not None})
