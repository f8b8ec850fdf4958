"""What a call may cost, told before it is made, and what a step is told when there is no money for it.

Step kinds hand a `CallBound` to `StepContext.call_once`; `jobs/budgets.py` (durable) and `workflows/memory.py`
reserve it before the call and settle it after.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any, TypeAlias

from callboard.core.errors import PermanentError, StepError

MAX_BUDGET_USD = 1_000_000_000
SHOWN = Decimal("0.000001")  # money is kept to 12 decimals and shown to 6
UNPAID_CATEGORIES = frozenset({"input", "workflow", "cost"})  # of errors that come before anything is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBound:
    """The most that one outside call can cost; None where nobody knows its price.

    `name` is how messages call it: a model, or a service with its method. `patience_seconds` is how long it may
    wait for what other calls have reserved.
    """

    upper_usd: Decimal | None
    name: str
    patience_seconds: float


BoundOf: TypeAlias = Callable[[], CallBound]  # asked only where a budget applies: to reckon it takes time


class BudgetExceededError(PermanentError):
    """The call could cost more than the budget has left."""

    code = "budget_exceeded"
    category = "cost"
    is_unpaid = True


class BudgetPriceUnknownError(PermanentError):
    """Nobody knows what the call costs, and a budget applies to it."""

    code = "budget_price_unknown"
    category = "cost"
    is_unpaid = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """How a budget stands for a call that asks for `asked_usd` of it. `owner` says whose it is, for people.

    `unconfirmed_usd` is the upper bound of calls of which nobody knows whether they were paid; it counts as spent.
    `resets_at` is when the next day or month begins (ISO 8601), None for a budget of a run.
    """

    scope: str
    owner: str
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    unconfirmed_usd: Decimal
    asked_usd: Decimal
    resets_at: str | None = None

    @property
    def fits(self) -> bool:
        return self.used_usd + self.reserved_usd + self.asked_usd <= self.limit_usd

    @property
    def may_fit_later(self) -> bool:
        """Whether only what other calls have reserved, and may not need, stands in the way."""
        return self.reserved_usd > 0 and self.used_usd + self.asked_usd <= self.limit_usd

    @property
    def used_usd(self) -> Decimal:
        return self.spent_usd + self.unconfirmed_usd

    def refuse(self, name: str) -> BudgetExceededError:
        """Return the error for the call to `name`: what it could cost, what the limit is, and what is used up."""
        used = [f"{show_usd(self.spent_usd)} spent"]
        if self.unconfirmed_usd:
            used.append(f"{show_usd(self.unconfirmed_usd)} perhaps spent")
        used.append(f"{show_usd(self.reserved_usd)} reserved")
        then = "" if self.resets_at is None else f" It begins anew at {self.resets_at}."
        return BudgetExceededError(
            f"A call to {name} could cost up to {show_usd(self.asked_usd)}; "
            f"{self.owner} is {show_usd(self.limit_usd)}: {', '.join(used)}.{then}",
            details=self.to_json(),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the facts as `error.details` has them, in US dollars to 6 decimals."""
        details: dict[str, Any] = {"scope": self.scope}
        for name in ("limit_usd", "spent_usd", "reserved_usd", "unconfirmed_usd", "asked_usd"):
            details[name] = float(round(getattr(self, name), 6))
        if self.resets_at is not None:
            details["resets_at"] = self.resets_at
        return details


def refuse_unknown_price(name: str, owner: str) -> BudgetPriceUnknownError:
    """Return the error for a call to `name` whose price nobody knows, under the budget of `owner`."""
    return BudgetPriceUnknownError(
        f"Nobody knows what a call to {name} costs, and {owner} must not be passed. Set its price with "
        "EXTERNAL_SERVICE_PRICING (0 says that it is free), or run it without a budget.",
        details={"call": name},
    )


def may_have_been_paid(error: BaseException) -> bool:
    """Return whether a call that ended with `error` may be charged all the same.

    It is not when the other side said no, or nothing was sent. What is cut off (a time-out, a lost connection, an
    answer that cannot be read, a cancel) may be.
    """
    return not (isinstance(error, StepError) and (error.is_unpaid or error.category in UNPAID_CATEGORIES))


def show_usd(amount: Decimal) -> str:
    """Return `amount` for people, to 6 decimals; what is smaller counts up, so that a cost never reads as none.

    >>> show_usd(Decimal("0.0125")), show_usd(Decimal("5")), show_usd(Decimal("0.000000000001"))
    ('$0.0125', '$5', '$0.000001')
    """
    text = f"{amount.quantize(SHOWN, rounding=ROUND_UP):f}"
    return "$" + (text.rstrip("0").rstrip(".") if "." in text else text)
