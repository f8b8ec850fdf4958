"""Budgets before a call: what it can cost, whether a failed one may have been paid, a run in memory that has one."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from callboard.core.breaker import CircuitOpenError
from callboard.core.errors import PermanentError, StepError
from callboard.core.pricing import UnitPrice
from callboard.integrations.errors import ServiceRateLimitedError, ServiceTimeoutError
from callboard.llm.client import Candidate
from callboard.llm.errors import (
    ProviderAuthError,
    ProviderBadRequestError,
    ProviderConnectionError,
    ProviderRateLimitError,
    ProviderServerError,
    ProviderTimeoutError,
    UnusableAnswerError,
)
from callboard.llm.port import LLMRequest, Message
from callboard.llm.pricing import ModelPrices
from callboard.workflows.call_budgets import (
    BoundOf,
    BudgetExceededError,
    BudgetPriceUnknownError,
    BudgetState,
    CallBound,
    may_have_been_paid,
)
from callboard.workflows.call_prices import SCHEMA_TOKENS, CallPrices
from callboard.workflows.memory import MemoryCheckpointer
from callboard.workflows.memory_budget import MemoryBudget
from callboard.workflows.steps.base import PaidCall, UsageRecord

CENT = Decimal("0.01")
A_TOKEN = UnitPrice(input_usd=CENT, output_usd=CENT)
TWICE = UnitPrice(input_usd=CENT * 2, output_usd=CENT * 2)
PRICES = CallPrices(
    ModelPrices({"openai_compatible/small": A_TOKEN, "openai_compatible/large": TWICE}),
    {"acme": UnitPrice(call_usd=CENT), "speech": A_TOKEN, "http:a.example": UnitPrice(call_usd=CENT)},
)


def request(text: str = "x" * 10, **fields: Any) -> LLMRequest:
    return LLMRequest(model="small", messages=(Message("user", text),), max_tokens=5, **fields)


def candidates(*models: str) -> list[Candidate]:
    return [Candidate("openai_compatible", model) for model in models]


class TestBoundOfModelCall:
    def test_is_the_prompt_and_the_longest_answer(self) -> None:
        assert PRICES.bound_of_model_call(request(), candidates("small")) == CENT * 13  # 10 / 2.5 + 4 + 5

    def test_is_that_of_the_dearest_candidate(self) -> None:
        assert PRICES.bound_of_model_call(request(), candidates("small", "large")) == CENT * 26

    def test_has_room_for_the_schema_and_the_words_round_it(self) -> None:
        bound = PRICES.bound_of_model_call(request(output_schema={"a": 1}), candidates("small"))

        assert bound == CENT * (13 + 3 + SCHEMA_TOKENS)  # {"a":1} is 7 characters: 17 / 2.5, rounded up

    def test_is_not_known_where_one_candidate_has_no_price(self) -> None:
        assert PRICES.bound_of_model_call(request(), candidates("small", "nobody-knows")) is None


class TestBoundOfServiceCall:
    @pytest.mark.parametrize(
        ("service", "parameters", "expected"),
        [
            ("acme", {}, CENT),
            ("speech", {}, None),
            ("unpriced", {}, None),
            ("http", {"url": "https://a.example/x"}, CENT),
            ("http", {"url": "https://b.example/x"}, Decimal(0)),
        ],
        ids=["per call", "per unit", "a package's own price", "http with a price", "http without"],
    )
    def test_is_the_price_of_a_call(self, service: str, parameters: dict[str, str], expected: Decimal | None) -> None:
        assert PRICES.bound_of_service_call(service, service, "get", parameters) == expected


class TestMayHaveBeenPaid:
    @pytest.mark.parametrize(
        "error",
        [
            ProviderAuthError(),
            ProviderBadRequestError(),
            ProviderRateLimitError(),
            ProviderServerError(),
            ServiceRateLimitedError(),
            CircuitOpenError(),
            BudgetExceededError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_is_not_so_where_the_other_side_said_no(self, error: StepError) -> None:
        assert not may_have_been_paid(error)

    @pytest.mark.parametrize(
        "error",
        [
            ProviderTimeoutError(),
            ProviderConnectionError(),
            UnusableAnswerError(),
            ServiceTimeoutError(),
            PermanentError(),
            asyncio.CancelledError(),
            ValueError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_is_so_where_nobody_knows(self, error: BaseException) -> None:
        assert may_have_been_paid(error)


class TestBudgetState:
    def test_says_what_stands_in_the_way(self) -> None:
        state = BudgetState(
            scope="job",
            owner="the budget of this run",
            limit_usd=Decimal("0.05"),
            spent_usd=Decimal("0.041"),
            reserved_usd=Decimal("0.005"),
            unconfirmed_usd=Decimal(0),
            asked_usd=Decimal("0.012"),
        )

        assert state.refuse("gpt-4o").message == (
            "A call to gpt-4o could cost up to $0.012; the budget of this run is $0.05: $0.041 spent, $0.005 reserved."
        )


class TestMemoryBudget:
    async def test_makes_as_many_calls_beside_each_other_as_it_pays(self) -> None:
        budget = MemoryBudget(CENT * 3)
        journal = MemoryCheckpointer(budget=budget)

        ends = await asyncio.gather(
            *(journal.context_for(f"s{n}").call_once(paying, bound=bound(CENT)) for n in range(8)),
            return_exceptions=True,
        )

        assert [type(end) for end in ends].count(BudgetExceededError) == 5
        assert (budget.spent_usd, budget.reserved_usd) == (CENT * 3, Decimal(0))

    async def test_waits_for_what_others_may_not_need(self) -> None:
        journal = MemoryCheckpointer(budget=MemoryBudget(CENT * 5))

        ends = await asyncio.gather(
            *(journal.context_for(f"s{n}").call_once(paying, bound=bound(CENT * 5)) for n in range(2)),
            return_exceptions=True,
        )

        assert [type(end) for end in ends] == [str, BudgetExceededError]  # $0.04 were left for the second

    async def test_counts_what_a_cut_off_call_may_have_cost(self) -> None:
        budget = MemoryBudget(CENT)
        journal = MemoryCheckpointer(budget=budget)

        async def timing_out() -> PaidCall:
            raise ProviderTimeoutError

        with pytest.raises(ProviderTimeoutError):
            await journal.context_for("a").call_once(timing_out, bound=bound(CENT))
        with pytest.raises(BudgetExceededError, match=r"\$0\.01 perhaps spent"):
            await journal.context_for("a").call_once(paying, bound=bound(CENT))

    async def test_refuses_what_nobody_knows_the_price_of(self) -> None:
        journal = MemoryCheckpointer(budget=MemoryBudget(CENT))

        for known in (None, bound(None)):
            with pytest.raises(BudgetPriceUnknownError):
                await journal.context_for("a").call_once(paying, bound=known)


def bound(upper_usd: Decimal | None) -> BoundOf:
    return lambda: CallBound(upper_usd=upper_usd, name="model", patience_seconds=5)


async def paying() -> PaidCall:
    await asyncio.sleep(0)
    usage = UsageRecord(
        service="llm",
        provider="p",
        model="m",
        task_name="t",
        input_units=1,
        output_units=1,
        cost_usd=CENT,
        duration_ms=1,
    )
    return PaidCall(value="done", usage=usage)
