"""Agents: a name, instructions, a model and the type of the answer. For code of one's own, beside workflows.

An `Agent` says what is wanted; a `Runner` knows who answers, so an agent runs on any provider unchanged.

    >>> import asyncio, structlog
    >>> from pydantic import BaseModel
    >>> from callboard.llm.client import LLMClient
    >>> from callboard.llm.sandbox import SandboxProvider
    >>> class Verdict(BaseModel):
    ...     is_polite: bool
    ...     reason: str
    >>> runner = Runner(LLMClient([SandboxProvider()]), provider="sandbox", model="sandbox")
    >>> judge = Agent("judge", "Judge how polite a mail is.", "sandbox", Verdict, runner=runner)
    >>> with structlog.testing.capture_logs():  # every call is logged
    ...     verdict, raw = asyncio.run(judge.run("Where is my parcel?!"))
    >>> type(verdict.is_polite), raw.provider, raw.cost_usd
    (<class 'bool'>, 'sandbox', Decimal('0'))

With keys: `async with open_workbench(load_settings()) as workbench: runner = workbench.runner()`, of
`callboard.workbench` and `callboard.core.config`, runs on the provider and model that the settings name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar, overload

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.llm.agent_outputs import MisfitError, OutputReader, reader_of
from callboard.llm.client import Candidate
from callboard.llm.port import CALL_TIMEOUT_SECONDS, LLMRequest, LLMResponse, Message
from callboard.llm.pricing import resolve_alias
from callboard.llm.processors import RawResponse

OutputT = TypeVar("OutputT")


class AgentOutputError(PermanentError):
    """The model's answer is not of the agent's output type, and neither was its second one."""

    code = "agent_output_misfit"
    category = "provider"

    def __init__(self, agent: str, misfit: MisfitError, raw: RawResponse) -> None:
        super().__init__(
            f"The answer to the agent {agent} does not fit its output_type, nor did the second one: {misfit}.",
            details={"agent": agent, "mistakes": list(misfit.mistakes)},
        )
        self.raw = raw  # what was paid for all the same


class NoRunnerError(PermanentError):
    """The agent has nobody who runs it."""

    code = "agent_has_no_runner"
    category = "workflow"


class NoAgentModelError(PermanentError):
    """Neither the agent nor its runner names a model."""

    code = "agent_has_no_model"
    category = "workflow"


class Answering(Protocol):
    """Who answers requests: `LLMClient`, or what stands round one to count or journal its calls."""

    async def generate(self, request: LLMRequest, candidates: Sequence[Candidate]) -> LLMResponse:
        """Return the answer of the first candidate that gives one. Raises: LLMError."""
        ...


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs agents: asks, reads the answer, asks once more when it does not fit.

    `provider` serves every agent that it runs, `model` those that name none; `fallbacks` are asked when the
    first cannot answer. `dataclasses.replace(runner, provider="anthropic")` is the same runner elsewhere.
    """

    client: Answering
    provider: str
    model: str | None = None
    fallbacks: tuple[Candidate, ...] = ()
    model_aliases: Mapping[str, str] = field(default_factory=dict)
    temperature: float | None = None
    max_tokens: int | None = None
    timeout_seconds: float = CALL_TIMEOUT_SECONDS  # of one call

    async def run(self, agent: "Agent[OutputT]", text: str) -> tuple[OutputT, RawResponse]:
        """Return what `agent` makes of `text`, and the raw answers with their usage and cost.

        Raises: LLMError, when nobody answers; AgentOutputError, when two answers do not fit.
        """
        candidates = self._candidates(agent)
        request = self._request(agent, text, candidates[0].model)
        first = await self.client.generate(request, candidates)
        try:
            return agent.read(first.content), RawResponse((first,))
        except MisfitError as misfit:
            correction = _ask_again(request, first.content, misfit)
        second = await self.client.generate(correction, candidates)
        raw = RawResponse((first, second))
        try:
            return agent.read(second.content), raw
        except MisfitError as misfit:
            raise AgentOutputError(agent.name, misfit, raw) from misfit

    def _candidates(self, agent: "Agent[Any]") -> list[Candidate]:
        model = agent.model or self.model
        if not model:
            raise NoAgentModelError(
                f"Neither the agent {agent.name} nor its runner names a model; give one of them one."
            )
        return [Candidate(self.provider, resolve_alias(model, self.model_aliases)), *self.fallbacks]

    def _request(self, agent: "Agent[Any]", text: str, model: str) -> LLMRequest:
        return LLMRequest(
            model=model,
            messages=(Message("system", agent.instructions), Message("user", text)),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            output_schema=agent.schema,
            timeout_seconds=self.timeout_seconds,
        )


class Agent(Generic[OutputT]):
    """A task for a language model: what it is told, which model, and what comes back.

    `output_type` is `str`, a Pydantic model, or a JSON Schema (a dict), for which the output is plain JSON.
    An agent keeps nothing of a run: one serves as many runs at once as wanted.
    """

    @overload
    def __init__(
        self,
        name: str,
        instructions: str,
        model: str | None,
        output_type: type[OutputT],
        *,
        runner: Runner | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: "Agent[JsonValue]",
        name: str,
        instructions: str,
        model: str | None,
        output_type: Mapping[str, Any],
        *,
        runner: Runner | None = None,
    ) -> None: ...

    def __init__(
        self, name: str, instructions: str, model: str | None, output_type: Any, *, runner: Runner | None = None
    ) -> None:
        """Raises: TypeError, when `output_type` is none of the three; ValueError, for a schema of no use."""
        self.name = name
        self.instructions = instructions
        self.model = model
        self.output_type = output_type
        self.runner = runner
        self._reader: OutputReader = reader_of(output_type)

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema that the model is told, or None where any text will do."""
        return self._reader.schema

    async def run(self, text: str) -> tuple[OutputT, RawResponse]:
        """Return what the agent makes of `text`, and the raw answers with their usage and cost.

        Raises: NoRunnerError; otherwise as `Runner.run`.
        """
        if self.runner is None:
            raise NoRunnerError(
                f"The agent {self.name} has nobody who runs it: give it a runner, Agent(..., runner=...), "
                "or hand it to one, runner.run(agent, text)."
            )
        return await self.runner.run(self, text)

    def read(self, content: str) -> OutputT:
        """Return what an answer says, as `output_type`. Raises: MisfitError."""
        output: OutputT = self._reader.read(content)
        return output


def _ask_again(request: LLMRequest, content: str, misfit: MisfitError) -> LLMRequest:
    mistakes = "\n".join(f"- {mistake}" for mistake in misfit.mistakes)
    correction = (
        f"That answer is not what was asked for:\n{mistakes}\n"
        "Answer again, with one JSON value that fits and nothing else."
    )
    return replace(request, messages=(*request.messages, Message("assistant", content), Message("user", correction)))
