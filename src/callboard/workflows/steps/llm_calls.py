"""How an llm step asks a model: in one piece or streamed, and only if the answer is not kept already.

Called by `steps/llm.py` for the first question and for the one after an answer that did not fit.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from callboard.core.cache import AnswerCache, cache_key
from callboard.core.json_values import JsonValue
from callboard.llm.client import Candidate, LLMClient
from callboard.llm.port import LLMRequest, LLMResponse
from callboard.workflows.call_budgets import CallBound
from callboard.workflows.call_prices import CallPrices
from callboard.workflows.steps.base import PaidCall, StepExecution
from callboard.workflows.steps.llm_answers import (
    SERVICE,
    build_kept_usage,
    build_usage,
    is_whole,
    journal_answer,
    journal_kept_answer,
    kept_answer,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCalls:
    """The calls of one llm step. Only whole answers for which `is_good` says yes are kept, for `cache_ttl` seconds.

    Without `prices` nobody knows what a call costs, and a budget forbids it.
    """

    client: LLMClient
    prices: CallPrices | None
    cache: AnswerCache
    cache_ttl: int
    is_streamed: bool

    def name_of(self, request: LLMRequest, candidates: Sequence[Candidate]) -> str | None:
        """Return what the answer to `request` is kept under, or None in a step that keeps none.

        It stands for who is asked, in which order, and everything that shapes the answer; neither the time
        limit nor streaming is a part of it.
        """
        if not self.cache_ttl:
            return None
        asked = [[candidate.provider, candidate.model] for candidate in candidates]
        messages = [asdict(message) for message in request.messages]
        schema = None if request.output_schema is None else dict(request.output_schema)
        return cache_key(SERVICE, asked, messages, request.temperature, request.max_tokens, request.top_p, schema)

    async def ask(
        self,
        execution: StepExecution,
        request: LLMRequest,
        candidates: Sequence[Candidate],
        *,
        name: str | None,
        is_good: Callable[[str], bool],
    ) -> dict[str, Any]:
        """Return the answer as the journal has it: the one that is kept under `name`, or a new one."""

        async def perform() -> PaidCall:
            if name is None:
                return await self._call(execution, request, candidates, name=name, is_good=is_good)
            started = time.monotonic()
            async with self.cache.turn(
                execution.context.tenant_id,
                name,
                ttl_seconds=self.cache_ttl,
                wait_seconds=execution.timeout_seconds,
            ) as kept:
                if kept is None:
                    return await self._call(execution, request, candidates, name=name, is_good=is_good)
            return self._take(execution, kept, started)

        answer: dict[str, Any] = await execution.context.call_once(
            perform, bound=lambda: self._bound(execution, request, candidates)
        )
        return answer

    async def ask_anew(
        self,
        execution: StepExecution,
        request: LLMRequest,
        candidates: Sequence[Candidate],
        *,
        name: str | None,
        is_good: Callable[[str], bool],
    ) -> dict[str, Any]:
        """Return a new answer, as the journal has it. A good one is kept under `name`, that of the first question."""
        answer: dict[str, Any] = await execution.context.call_once(
            lambda: self._call(execution, request, candidates, name=name, is_good=is_good),
            bound=lambda: self._bound(execution, request, candidates),
        )
        return answer

    def _bound(self, execution: StepExecution, request: LLMRequest, candidates: Sequence[Candidate]) -> CallBound:
        return CallBound(
            upper_usd=None if self.prices is None else self.prices.bound_of_model_call(request, candidates),
            name=" or ".join(dict.fromkeys(candidate.model for candidate in candidates)),
            patience_seconds=execution.timeout_seconds,
        )

    async def _call(
        self,
        execution: StepExecution,
        request: LLMRequest,
        candidates: Sequence[Candidate],
        *,
        name: str | None,
        is_good: Callable[[str], bool],
    ) -> PaidCall:
        response = await self._generate(execution, request, candidates)
        if name is not None and is_whole(response) and is_good(response.content):
            tenant_id = execution.context.tenant_id
            self.cache.keep(tenant_id, name, kept_answer(response), ttl_seconds=self.cache_ttl)
        return PaidCall(value=journal_answer(response), usage=build_usage(response, execution.step_id))

    async def _generate(
        self, execution: StepExecution, request: LLMRequest, candidates: Sequence[Candidate]
    ) -> LLMResponse:
        if self.is_streamed:
            return await self.client.generate_streamed(request, candidates, execution.context.note_text)
        return await self.client.generate(request, candidates)

    def _take(self, execution: StepExecution, kept: dict[str, JsonValue], started: float) -> PaidCall:
        duration_ms = round((time.monotonic() - started) * 1000)
        if self.is_streamed:
            execution.context.note_text(str(kept["content"]))
        return PaidCall(
            value=journal_kept_answer(kept, duration_ms=duration_ms),
            usage=build_kept_usage(kept, execution.step_id, duration_ms=duration_ms),
        )
