"""What a job cost, from its usage lines: the `cost_data` that callers get. Pure arithmetic.

Used when a job ends (`repository/finishes.py`) and while it runs (`service.py`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

LLM_SERVICE = "llm"
SHOWN_DECIMALS = 6  # money is kept to 12 decimals and shown to 6


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """One finished outside call as it is added up."""

    job_id: UUID
    path: str
    task_name: str
    service: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class CostData:
    """The sums of a job's calls. Tokens are those of models; outside services count calls.

    `unconfirmed_usd` is what calls could have cost at most of which nobody knows whether they were paid.
    """

    llm_calls: Sequence[UsageLine]
    service_calls: Sequence[UsageLine]
    unconfirmed_usd: Decimal = Decimal(0)

    @property
    def input_tokens(self) -> int:
        return sum(line.input_tokens for line in self.llm_calls)

    @property
    def output_tokens(self) -> int:
        return sum(line.output_tokens for line in self.llm_calls)

    @property
    def total_cost_usd(self) -> Decimal:
        """Models and outside services together."""
        return sum((line.cost_usd for line in (*self.llm_calls, *self.service_calls)), Decimal(0))

    def to_json(self) -> dict[str, Any]:
        """Return the `cost_data` document. `cost_usd` is what models cost and the sum of `llm_calls`."""
        provider, model = self._main_model()
        return {
            "provider": provider,
            "model": model,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "cost_usd": shown_usd(sum((line.cost_usd for line in self.llm_calls), Decimal(0))),
            "total_cost_usd": shown_usd(self.total_cost_usd),
            "unconfirmed_usd": shown_usd(self.unconfirmed_usd),
            "llm_calls": [_llm_call(line) for line in self.llm_calls],
            "service_calls": [_service_call(line) for line in self.service_calls],
        }

    def _main_model(self) -> tuple[str | None, str | None]:
        """Return the provider and model that most of the tokens went through."""
        tokens: Counter[tuple[str, str]] = Counter()
        for line in self.llm_calls:
            tokens[line.provider, line.model] += line.input_tokens + line.output_tokens
        return tokens.most_common(1)[0][0] if tokens else (None, None)


def summarise_costs(lines: Sequence[UsageLine], unconfirmed_usd: Decimal = Decimal(0)) -> CostData:
    """Return the sums of one job's usage lines, which come in the order of their calls."""
    return CostData(
        [line for line in lines if line.service == LLM_SERVICE],
        [line for line in lines if line.service != LLM_SERVICE],
        unconfirmed_usd,
    )


def shown_usd(amount: Decimal) -> float:
    """Return `amount` as the JSON number that callers see, to 6 decimals.

    >>> shown_usd(Decimal("0.024500000049"))
    0.0245
    """
    return float(round(amount, SHOWN_DECIMALS))


def _llm_call(line: UsageLine) -> dict[str, Any]:
    return {
        "step_id": line.task_name,
        "path": line.path,
        "provider": line.provider,
        "model": line.model,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "cost_usd": shown_usd(line.cost_usd),
        "duration_ms": line.duration_ms,
    }


def _service_call(line: UsageLine) -> dict[str, Any]:
    return {
        "step_id": line.task_name,
        "path": line.path,
        "service": line.service,
        "method": line.model,
        "units": line.input_tokens,
        "cost_usd": shown_usd(line.cost_usd),
        "duration_ms": line.duration_ms,
    }
