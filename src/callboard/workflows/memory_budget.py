"""The budget of a run in memory: `memory.py` reserves a call here before it is made, and settles it after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

from callboard.workflows.call_budgets import BudgetState, CallBound, may_have_been_paid, refuse_unknown_price
from callboard.workflows.steps.base import UsageRecord

OWNER = "the budget of this run"


class CallSettlement:
    """What a call that is under way turns out to cost: whoever performs it says so in `usage`."""

    usage: UsageRecord | None = None


class MemoryBudget:
    """What one run may cost. Branches that run beside each other share it."""

    def __init__(self, limit_usd: Decimal) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = self.reserved_usd = self.unconfirmed_usd = Decimal(0)
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reserving(self, bound: CallBound | None, name: str) -> AsyncIterator[CallSettlement]:
        """Reserve what the call of the block can cost, and settle it by what became of it.

        Raises: BudgetExceededError, BudgetPriceUnknownError.
        """
        asked = await self._reserve(bound, name)
        settlement = CallSettlement()
        try:
            yield settlement
        except BaseException as error:
            if may_have_been_paid(error):
                self.unconfirmed_usd += asked
            raise
        finally:
            self.reserved_usd -= asked
            if settlement.usage is not None:
                self.spent_usd += settlement.usage.cost_usd
            async with self._changed:
                self._changed.notify_all()

    async def _reserve(self, bound: CallBound | None, name: str) -> Decimal:
        if bound is None or bound.upper_usd is None:
            raise refuse_unknown_price(name if bound is None else bound.name, OWNER)
        asked = bound.upper_usd
        try:
            async with asyncio.timeout(bound.patience_seconds), self._changed:
                await self._changed.wait_for(lambda: not self._state(asked).may_fit_later or self._state(asked).fits)
        except TimeoutError as error:
            raise self._state(asked).refuse(bound.name) from error
        state = self._state(asked)
        if not state.fits:
            raise state.refuse(bound.name)
        self.reserved_usd += asked
        return asked

    def _state(self, asked: Decimal) -> BudgetState:
        return BudgetState(
            scope="job",
            owner=OWNER,
            limit_usd=self.limit_usd,
            spent_usd=self.spent_usd,
            reserved_usd=self.reserved_usd,
            unconfirmed_usd=self.unconfirmed_usd,
            asked_usd=asked,
        )
