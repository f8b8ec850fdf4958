"""What does one kind of work outside this process: the port of agents, translators and image makers.

`agents.py`, `translation.py` and `images.py` each have one. Whoever runs one knows what it used and cost by
its raw answer, whatever the work was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeVar

from callboard.llm.port import LLMResponse, Usage

GivenT = TypeVar("GivenT", contravariant=True)
MadeT = TypeVar("MadeT", covariant=True)


class RawAnswer(Protocol):
    """What answered, and what that took. `cost_usd` is 0 where nobody knows the price."""

    @property
    def provider(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def usage(self) -> Usage: ...

    @property
    def cost_usd(self) -> Decimal: ...

    @property
    def duration_ms(self) -> int: ...


class Processor(Protocol[GivenT, MadeT]):
    """Makes something of something. Raises only what `llm/errors.py` names; never retries a failed call."""

    @property
    def name(self) -> str:
        """What its work is called where calls are counted (`task_name`)."""
        ...

    async def run(self, given: GivenT, /) -> tuple[MadeT, RawAnswer]:
        """Return what was made of `given`, and the raw answer with its usage and cost."""
        ...


@dataclass(frozen=True, slots=True)
class RawResponse:
    """The answers of a language model to one task, in order: the last is the one that counts, all are paid for."""

    responses: Sequence[LLMResponse]

    @property
    def content(self) -> str:
        return self.responses[-1].content

    @property
    def provider(self) -> str:
        return self.responses[-1].provider

    @property
    def model(self) -> str:
        return self.responses[-1].model

    @property
    def finish_reason(self) -> str:
        return self.responses[-1].finish_reason

    @property
    def usage(self) -> Usage:
        """The tokens of all answers together."""
        return Usage(
            input_tokens=sum(response.usage.input_tokens for response in self.responses),
            output_tokens=sum(response.usage.output_tokens for response in self.responses),
            cached_input_tokens=sum(response.usage.cached_input_tokens for response in self.responses),
        )

    @property
    def cost_usd(self) -> Decimal:
        return sum((response.cost.usd for response in self.responses), Decimal(0))

    @property
    def duration_ms(self) -> int:
        return sum(response.duration_ms for response in self.responses)
