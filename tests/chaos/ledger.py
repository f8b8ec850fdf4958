"""What has to be true after every scenario, read from the database and from the provider's counts.

A scenario has the ledger look before each fault; `broken_promises` then compares the end with what was seen.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa

from callboard.jobs.models import BudgetAccount, BudgetReservation, Job, JobAnswer, JobEvent, JobStep, JobWait
from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage
from tests.chaos.workflows import expected_result, expected_status, paid_keys

FINAL = ("completed", "failed", "cancelled")
END_EVENTS = tuple(f"job.{status}" for status in FINAL)
SHOWN = 5  # of many breaches of one promise
_CONTENT = re.compile(r'"content"\s*:\s*"([^"]*)"')


class Books(Protocol):
    """Where the ledger reads: the database, and the provider's counts of finished calls by key."""

    def read(self, query: Any) -> list[Any]: ...
    def paid(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What stood in the database, and what had been paid, at one moment."""

    journaled: frozenset[str]
    paid: Mapping[str, int]
    fences: Mapping[UUID, int]


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What a scenario has seen of its jobs, and what its faults may have cost."""

    stand: Books
    faults: int = 0
    excused: int = 0  # calls that were in flight at the faults
    accepted: dict[UUID, tuple[str, str]] = field(default_factory=dict)  # workflow and key by job; a key has no hyphen
    cancelled: set[UUID] = field(default_factory=set)  # those that somebody asked to cancel
    has_usage_of_all: bool = True  # False: a process was killed, with what it had not written
    remarks: list[str] = field(default_factory=list)  # promises that the scenario itself saw broken
    _sights: list[Sight] = field(default_factory=list)

    def look(self) -> None:
        """Remember what stands in the journal now, what was paid, and the fences."""
        journaled = frozenset(self._journaled_calls())
        fences = {row.id: row.fence for row in self.stand.read(sa.select(Job.id, Job.fence))}
        self._sights.append(Sight(journaled=journaled, paid=self.stand.paid(), fences=fences))

    def open_jobs(self) -> int:
        """Return how many jobs have not ended."""
        query = sa.select(sa.func.count()).select_from(Job).where(Job.status.not_in(FINAL))
        return int(self.stand.read(query)[0][0])

    def calls_beyond(self) -> int:
        """Return how many calls were paid more than once."""
        return sum(count - 1 for count in self.stand.paid().values())

    def broken_promises(self) -> list[str]:
        """Return what was broken, in words; nothing when every promise was kept."""
        broken = [*self.remarks, *self._of_jobs(), *self._of_calls(), *self._of_ends(), *self._of_money()]
        return [*broken, *self._of_fences()]

    def _of_jobs(self) -> Iterator[str]:
        query = sa.select(Job.id, Job.status, Job.owner, Job.result_data, Job.error)
        rows = {row.id: row for row in self.stand.read(query)}
        yield from _told("accepted, but not in the database", set(self.accepted) - set(rows))
        yield from _told("in the database twice, or never accepted", set(rows) - set(self.accepted))
        yield from _told("still owned", [each for each, row in rows.items() if row.owner is not None])
        yield from _told("not at their end", [each for each, row in rows.items() if row.status not in FINAL])
        yield from _told("ended otherwise than they should", list(self._wrong_ends(rows)))

    def _wrong_ends(self, rows: Mapping[UUID, Any]) -> Iterator[str]:
        for job_id, row in rows.items():
            workflow, key = self.accepted.get(job_id, ("three_calls", ""))
            right = {expected_status(workflow)} | ({"cancelled"} if job_id in self.cancelled else set())
            if row.status not in right:
                yield f"{workflow} {job_id} is {row.status}: {row.error}"
            if row.status == "completed":
                expected = expected_result(workflow, key)
                result = json.loads(row.result_data)
                if {name: result.get(name) for name in expected} != expected:
                    yield f"{workflow} {job_id} gave {result}"

    def _of_calls(self) -> Iterator[str]:
        paid, calls = self.stand.paid(), self._journaled_calls()
        journaled = Counter(calls)
        yield from _told("calls journaled twice", [each for each, count in journaled.items() if count > 1])
        yield from _told("calls journaled and not paid", set(journaled) - set(paid))
        wanted = {each for job_id in self._completed() for each in paid_keys(*self.accepted[job_id])}
        yield from _told("calls of completed jobs that are not journaled", wanted - set(journaled))
        again = {
            each for sight in self._sights for each in sight.journaled if paid.get(each, 0) != sight.paid.get(each, 0)
        }
        yield from _told("calls paid again after they were journaled", again)
        if self.calls_beyond() > self.excused:
            yield f"{self.calls_beyond()} calls were paid beyond, and at most {self.excused} were in flight at faults"

    def _of_ends(self) -> Iterator[str]:
        ended = sa.select(JobEvent.job_id).where(JobEvent.event.in_(END_EVENTS))
        for what, query in (("end events", ended), ("outbox rows", sa.select(OutboxMessage.job_id))):
            counts = Counter(row.job_id for row in self.stand.read(query))
            yield from _told(f"not exactly one of {what}", [each for each in self.accepted if counts[each] != 1])
        numbers = sa.select(
            JobEvent.job_id, sa.func.count().label("events"), sa.func.max(JobEvent.event_id).label("last")
        ).group_by(JobEvent.job_id)
        gaps = [row.job_id for row in self.stand.read(numbers) if row.events != row.last]
        yield from _told("gaps in the numbers of events", gaps)
        is_open = sa.select(JobWait.id).where(JobWait.status == "open")
        yield from _told("still asked for, of jobs that ended", [row.id for row in self.stand.read(is_open)])
        answers = sa.select(JobAnswer.wait_id).group_by(JobAnswer.wait_id).having(sa.func.count() > 1)
        yield from _told("approvals answered twice", [row.wait_id for row in self.stand.read(answers)])

    def _of_money(self) -> Iterator[str]:
        usage = Counter(row.job_id for row in self.stand.read(sa.select(ProviderUsage.job_id)))
        paid = self.stand.paid()
        paid_by_key: Counter[str] = Counter()
        for call, count in paid.items():
            paid_by_key[call.partition("-")[0]] += count
        journaled = Counter(
            row.job_id for row in self.stand.read(sa.select(JobStep.job_id).where(JobStep.step_type == "call"))
        )
        wrong = [
            f"{job_id}: {journaled[job_id]} journaled, {usage[job_id]} usage rows, {paid_by_key[key]} paid"
            for job_id, (_, key) in self.accepted.items()
            if not journaled[job_id] <= usage[job_id] <= paid_by_key[key]
        ]
        yield from _told("usage rows that do not stand for calls", wrong)
        if self.has_usage_of_all and usage.total() != sum(paid.values()):
            yield f"{usage.total()} usage rows for {sum(paid.values())} calls, though no process was killed"
        is_open = sa.select(BudgetReservation.id).where(BudgetReservation.state == "open")
        yield from _told("reservations still open", [row.id for row in self.stand.read(is_open)])
        reserved = sa.select(BudgetAccount.key).where(BudgetAccount.reserved_usd != Decimal(0))
        yield from _told("accounts with money still reserved", [row.key for row in self.stand.read(reserved)])

    def _of_fences(self) -> Iterator[str]:
        now = {row.id: row.fence for row in self.stand.read(sa.select(Job.id, Job.fence))}
        seen = [sight.fences for sight in self._sights] + [now]
        for before, after in itertools.pairwise(seen):
            yield from _told("fences shrank", [each for each, fence in before.items() if after.get(each, 0) < fence])
        beyond = sa.select(JobStep.job_id).join(Job).where(JobStep.fence > Job.fence)
        yield from _told("journal rows with a fence that no run had", [row.job_id for row in self.stand.read(beyond)])

    def _journaled_calls(self) -> list[str]:
        rows = self.stand.read(sa.select(JobStep.output).where(JobStep.step_type == "call"))
        return [found.group(1) for row in rows if (found := _CONTENT.search(row.output))]

    def _completed(self) -> set[UUID]:
        rows = self.stand.read(sa.select(Job.id).where(Job.status == "completed"))
        return {row.id for row in rows} & set(self.accepted)


def _told(what: str, which: Any) -> Iterator[str]:
    """Yield one line that names the first few of what broke a promise."""
    listed = [str(each) for each in which]
    if listed:
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        yield f"{what}: {', '.join(listed[:SHOWN])}{more}"
