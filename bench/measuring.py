"""How a table is measured: what it may use, and contestants sampled in turn. The modules of `tables` call this."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.contestants import Contestant, ContestantError, Place, Running, opened
from bench.protocol import bench_protocol as protocol
from bench.results import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a table may use. `is_quick` asks for the same code with a tenth of the work."""

    place: Place
    rounds: int
    is_quick: bool
    has_postgresql: bool

    def size(self, full: int, quick: int) -> int:
        return quick if self.is_quick else full


async def open_all(
    stack: AsyncExitStack,
    plan: Plan,
    table: Table,
    contestants: Sequence[Contestant],
    *,
    work: str = protocol.THREE_NOOPS,
) -> list[Running]:
    """Return those that start, ready and frozen, until `stack` ends; the table says who does not."""
    running = []
    for contestant in contestants:
        try:
            one = await stack.enter_async_context(opened(contestant, plan.place, work=work))
        except (ContestantError, TimeoutError) as error:
            table.drop(contestant.label, summary_of(error))
            print(f"{contestant.label}: {error}", file=sys.stderr)
            continue
        table.notes.append(f"{contestant.label} ({one.version}) stores {contestant.stores}.")
        running.append(one)
    return running


async def interleave(
    plan: Plan, table: Table, running: Sequence[Running], sample: Callable[[Running], Awaitable[None]]
) -> None:
    """Take a sample of each in turn, A B C A B C; one that fails is left out from then on."""
    left = list(running)
    for number in range(plan.rounds):
        for one in list(left):
            try:
                await sample(one)
            except (ContestantError, TimeoutError) as error:
                await one.freeze()
                left.remove(one)
                table.drop(one.contestant.label, summary_of(error))
        print(f"{table.key}: round {number + 1} of {plan.rounds}", file=sys.stderr)
    table.rounds = plan.rounds


def summary_of(error: Exception) -> str:
    """Return what a note says of an error: its first line, and the last one of a log that it ends with."""
    lines = (str(error) or repr(error)).splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[-1]}"
