"""One run of one scenario on one adapter: its stand, its ledger, its dice, and what goes on beside the faults."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.ledger import Ledger
from tests.chaos.stand import Stand, freeze

END_SECONDS = 300  # that all jobs may take after the last fault
CLIENTS = 4
LOOK_SECONDS = 0.2


@dataclass(slots=True, kw_only=True)
class Round:
    """What a scenario works with. `seconds` is how long it injects faults at least, `jobs` how many it submits."""

    stand: Stand
    ledger: Ledger
    jobs: int
    seconds: float
    dice: random.Random
    calls_at_once: int = 1  # that one of its jobs has in flight at most
    is_over: bool = False  # True: what goes on beside has to end
    _clients: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(CLIENTS))
    _running: list[Future[Any]] = field(default_factory=list)

    def beside(self, work: Callable[[], Any]) -> None:
        """Do `work` while the scenario goes on; what it raises fails the scenario at its end."""
        self._running.append(self._clients.submit(work))

    def submit(self, workflows: Sequence[str] = ("three_calls",), *, delays: tuple[float, float] = (0.2, 0.6)) -> None:
        """Submit all jobs, the workflows in turn; each call of a job takes one of `delays` seconds."""
        for number in range(self.jobs):
            if self.is_over:
                return
            self.submit_one(number, workflows[number % len(workflows)], delay=round(self.dice.uniform(*delays), 3))

    def submit_one(self, number: int, workflow: str, *, delay: float) -> str:
        """Submit one job of a number of its own and return its id."""
        key = f"j{number}"
        job_id = self.stand.surely_submit(workflow, key, delay=delay, priority=number % 11)
        self.ledger.accepted[job_id] = (workflow, key)
        return str(job_id)

    def ticks(self, every_seconds: float) -> Iterator[None]:
        """Yield at each moment for a fault, until all jobs have ended and `seconds` are over."""
        started = time.monotonic()
        due = started + every_seconds
        while not (self.has_ended() and time.monotonic() - started >= self.seconds):
            assert time.monotonic() - started < self.seconds + END_SECONDS, f"{self.ledger.open_jobs()} jobs do not end"
            if time.monotonic() >= due:
                yield
                due = time.monotonic() + every_seconds
            time.sleep(LOOK_SECONDS)

    def has_ended(self) -> bool:
        """Return whether all jobs are submitted and at their end."""
        return all(each.done() for each in self._running) and self.ledger.open_jobs() == 0

    def wait_for_all_to_end(self) -> None:
        """Return when all that goes on beside, and all jobs, have ended. Raises: what went wrong beside."""
        for each in self._running:
            each.result(END_SECONDS)
        give_up_at = time.monotonic() + END_SECONDS
        while self.ledger.open_jobs():
            assert time.monotonic() < give_up_at, f"{self.ledger.open_jobs()} jobs have not ended after {END_SECONDS} s"
            time.sleep(LOOK_SECONDS)

    @contextmanager
    def frozen(self, worker: subprocess.Popen[str]) -> Iterator[None]:
        """Freeze a worker, have the ledger look, and excuse the calls that it had in flight."""
        freeze(worker)
        self.ledger.look()
        self.ledger.excused += self.calls_at_once * self.stand.held_by(worker)
        self.ledger.faults += 1
        yield

    def close(self) -> None:
        """End what goes on beside."""
        self.is_over = True
        self._clients.shutdown(cancel_futures=True)
