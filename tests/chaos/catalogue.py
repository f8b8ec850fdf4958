"""Every scenario with its adapters and its size, and how one is played. `__main__.py` and `tests/e2e` call it."""

import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tests.chaos import scenarios
from tests.chaos.ledger import Ledger
from tests.chaos.rounds import Round
from tests.chaos.stand import Stand
from tests.fixtures.queue_rigs import ADAPTERS

ON_POSTGRES = tuple(adapter for adapter in ADAPTERS if adapter != "embedded-sqlite")
WITH_BROKER = tuple(adapter for adapter in ADAPTERS if not adapter.startswith("embedded"))
EMBEDDED = tuple(adapter for adapter in ADAPTERS if adapter.startswith("embedded"))
NOT_PLAYED = (AssertionError, OSError, SQLAlchemyError, HTTPException, subprocess.SubprocessError)
FREEZE_LEASE_SECONDS = 4  # so that a frozen worker is replaced soon


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario, its adapters, and its size in the full form. `settings` are of its processes."""

    play: Callable[[Round], None]
    adapters: tuple[str, ...]
    jobs: int
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def promise(self) -> str:
        """Return what it tries to break."""
        return " ".join((self.play.__doc__ or "").split())


SCENARIOS: Mapping[str, Scenario] = {
    "kill-workers": Scenario(play=scenarios.kill_workers, adapters=ADAPTERS, jobs=1000, seconds=20),
    "crash-postgres": Scenario(play=scenarios.crash_postgres, adapters=ON_POSTGRES, jobs=600, seconds=20),
    "stop-broker": Scenario(play=scenarios.stop_broker, adapters=WITH_BROKER, jobs=200, seconds=20),
    "cut-connections": Scenario(play=scenarios.cut_connections, adapters=ON_POSTGRES, jobs=600, seconds=20),
    "wipe-broker": Scenario(play=scenarios.wipe_broker, adapters=WITH_BROKER, jobs=200, seconds=0),
    "freeze-workers": Scenario(
        play=scenarios.freeze_workers,
        adapters=ADAPTERS,
        jobs=600,
        seconds=30,
        settings={"lease_seconds": FREEZE_LEASE_SECONDS},
    ),
    "race-over-http": Scenario(play=scenarios.race_over_http, adapters=ADAPTERS, jobs=200, seconds=0),
    "kill-mixed": Scenario(play=scenarios.kill_mixed, adapters=ADAPTERS, jobs=400, seconds=20),
    "roll-workers": Scenario(play=scenarios.roll_workers, adapters=ADAPTERS, jobs=400, seconds=20),
    "kill-at-every-statement": Scenario(play=scenarios.kill_at_every_statement, adapters=EMBEDDED, jobs=0, seconds=0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a scenario did, and which promises were broken: none, when all is well."""

    scenario: str
    adapter: str
    jobs: int
    faults: int
    seconds: float
    calls_beyond: int
    excused: int
    broken: list[str]


def play(name: str, adapter: str, *, jobs: int, seconds: float, seed: int) -> Outcome:
    """Play one scenario on one adapter, in processes and servers of its own."""
    scenario = SCENARIOS[name]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-chaos-")))
        stand = Stand(adapter, stack=stack, folder=folder, **scenario.settings)
        ledger = Ledger(stand=stand)
        given = Round(stand=stand, ledger=ledger, jobs=jobs, seconds=seconds, dice=random.Random(seed))
        began_at = time.monotonic()
        with closing(given):
            try:
                scenario.play(given)
            except NOT_PLAYED as error:
                ledger.remarks.append(f"not played to its end: {error}")
        return Outcome(
            scenario=name,
            adapter=adapter,
            jobs=len(ledger.accepted),
            faults=ledger.faults,
            seconds=time.monotonic() - began_at,
            calls_beyond=ledger.calls_beyond(),
            excused=ledger.excused,
            broken=ledger.broken_promises(),
        )
