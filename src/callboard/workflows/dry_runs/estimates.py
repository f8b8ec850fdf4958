"""What one step's call takes: its tokens, cost and time, from its prompt and from earlier runs. Called by `walk.py`."""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from callboard.llm.call_bounds import MANY_CHARS_PER_TOKEN, tokens_of, upper_bound_of_call
from callboard.workflows.call_prices import CallPrices
from callboard.workflows.definition import retry_delay_seconds
from callboard.workflows.dry_runs.history import PastStep
from callboard.workflows.dry_runs.plans import Load, PlannedCall, PlannedMessage, Span
from callboard.workflows.findings import Severity, WorkflowFinding
from callboard.workflows.steps.base import CompiledStep
from callboard.workflows.steps.foresight import ForeseenMessage, ForeseenModelCall, ForeseenServiceCall
from callboard.workflows.unknown_values import TextSize, UnknownBook

GUESSED_ANSWER_TOKENS = 500  # of a model, where neither max_tokens nor an earlier run says more
MOST_GUESSED_ANSWER_TOKENS = 1_000  # half of max_tokens, and no more than this
CORRECTION_TOKENS = 800  # of the message that asks again: 20 errors of 100 characters, 2.5 each
TOKENS_PER_SECOND = 50  # of a common model, with a second until it begins
GUESSED_SERVICE_CHARS = TextSize(200, 2_000, 20_000)
GUESSED_SERVICE_SECONDS = (0.2, 1)
CHARS_PER_ANSWER_TOKEN = 4
MAX_PROMPT_CHARS = 2_000_000  # of all prompts that a plan shows


@dataclass(slots=True)
class Notes:
    """What a dry run has to say beside its numbers, each thing once. `room_chars` is what is left for prompts.

    `around` is the step whose workflow is gone through, and where it stands in the file that is asked about.
    """

    warnings: dict[tuple[str, str], WorkflowFinding] = field(default_factory=dict)
    assumptions: dict[str, None] = field(default_factory=dict)
    room_chars: int = MAX_PROMPT_CHARS
    around: tuple[str, str] | None = None

    def warn(self, pointer: str, message: str, *, code: str) -> None:
        if self.around is not None:  # the pointer leads into another file
            pointer, path = self.around
            message = f'In the workflow that "{path}" runs: {message}'
        finding = WorkflowFinding(pointer=pointer, message=message, code=code, severity=Severity.WARNING)
        self.warnings.setdefault((code, message), finding)

    def assume(self, text: str) -> None:
        self.assumptions.setdefault(text)

    def keep(self, text: str) -> str:
        """Return `text`, or its beginning where all prompts together would be too much to show."""
        kept = text[: self.room_chars]
        self.room_chars -= len(kept)
        return kept if len(kept) == len(text) else f"{kept}… ({len(text) - len(kept):,} more characters)"


@dataclass(frozen=True, slots=True)
class CallEstimate:
    """A planned call, what one instance of its step takes with retries and re-asks, and how long its answer is."""

    call: PlannedCall
    load: Load
    answer: TextSize


@dataclass(frozen=True, slots=True)
class CallEstimates:
    """Estimates the calls of one dry run."""

    prices: CallPrices
    book: UnknownBook
    notes: Notes

    def of_model_call(
        self, step: CompiledStep, call: ForeseenModelCall, past: PastStep | None, *, attempts: int, is_shown: bool
    ) -> CallEstimate:
        """Return what the call takes. `attempts` counts those of the step and of all containers around it.

        The prompts are kept if the call `is_shown`.

        The high end is a bound: 2.5 characters a token, the longest answer allowed, every retry and re-ask used.
        """
        one = self._model_load(step, call, self._input_tokens(call), self._output_tokens(step, call, past))
        load = one.times(Span.of(1, 1, attempts))
        if call.may_ask_again:
            sent = one.input_tokens + one.output_tokens + Span.exactly(CORRECTION_TOKENS)
            again = self._model_load(step, call, sent, one.output_tokens)
            load += again.times(Span.of(0, _usual_re_asks(past), attempts))
        load = replace(load, seconds=self._model_seconds(step, one.output_tokens, call, past, attempts=attempts))
        provider, model = call.candidates[0]
        planned = PlannedCall(
            service="llm",
            provider=provider,
            model=model,
            fallbacks=call.candidates[1:],
            max_tokens=call.max_tokens,
            messages=tuple(map(self._planned_message, call.messages)) if is_shown else (),
            load=one,
        )
        return CallEstimate(planned, load, _answer_size(one.output_tokens))

    def of_service_call(
        self, step: CompiledStep, call: ForeseenServiceCall, past: PastStep | None, *, attempts: int
    ) -> CallEstimate:
        """Return what the call takes: each attempt may be charged."""
        usd = self.prices.of_service_call(call.service, call.provider, call.method, call.parameters)
        seconds = seen_seconds(past)
        if seconds is None:
            seconds = Span.of(*GUESSED_SERVICE_SECONDS, longest_seconds(step, calls=1, attempts=attempts))
        one = Load(cost_usd=Span.of(0 if call.may_be_kept else usd, usd, usd))
        load = replace(one.times(Span.of(1, 1, attempts)), seconds=seconds)
        if past is None or past.output_chars is None:
            self.notes.assume(
                f"What {call.service} answers is not known; counted as {GUESSED_SERVICE_CHARS.likely:,} characters "
                f"({GUESSED_SERVICE_CHARS.low:,} to {GUESSED_SERVICE_CHARS.high:,})."
            )
        planned = PlannedCall(service=call.service, provider=call.provider, method=call.method, load=one)
        return CallEstimate(planned, load, seen_size(past) or GUESSED_SERVICE_CHARS)

    def _planned_message(self, message: ForeseenMessage) -> PlannedMessage:
        tokens = tokens_of(self.book.measure(message.text).likely)
        return PlannedMessage(role=message.role, text=self.notes.keep(message.text), tokens=tokens)

    def _input_tokens(self, call: ForeseenModelCall) -> Span:
        size = TextSize.exactly(0)
        for text in (*(message.text for message in call.messages), call.extra_text):
            size += self.book.measure(text)
        count = len(call.messages)
        most = upper_bound_of_call(size.high, max_tokens=call.max_tokens, output_limit=None, messages=count)
        return Span.of(
            tokens_of(size.low, per_token=MANY_CHARS_PER_TOKEN, messages=count),
            tokens_of(size.likely, messages=count),
            most.input_tokens,
        )

    def _output_tokens(self, step: CompiledStep, call: ForeseenModelCall, past: PastStep | None) -> Span:
        most = max(
            upper_bound_of_call(
                0, max_tokens=call.max_tokens, output_limit=self.prices.output_limit(*each)
            ).output_tokens
            for each in call.candidates
        )
        if call.max_tokens is None:
            self.notes.warn(
                step.pointer,
                f'The step "{step.id}" sets no max_tokens, so its answer may be as long as the model allows '
                f"({most:,} tokens are counted). Set max_tokens to bound the cost.",
                code="no_max_tokens",
            )
        if past is not None and past.output_tokens is not None:
            calls = past.calls.mean if past.calls is not None and past.calls.mean else 1
            likely = past.output_tokens.mean / calls
            return Span.of(min(past.output_tokens.low, likely), min(likely, most), most)
        guessed = GUESSED_ANSWER_TOKENS
        if call.max_tokens is not None:
            guessed = max(1, min(call.max_tokens // 2, MOST_GUESSED_ANSWER_TOKENS))
        self.notes.assume(
            "How long models answer is not known from earlier runs; counted as half of max_tokens, at most "
            f"{MOST_GUESSED_ANSWER_TOKENS:,} tokens, and {GUESSED_ANSWER_TOKENS} where a step sets none."
        )
        return Span.of(guessed // 4, guessed, most)

    def _model_load(self, step: CompiledStep, call: ForeseenModelCall, input_tokens: Span, output_tokens: Span) -> Load:
        cost_usd = self._cost_of_model_call(step, call, input_tokens, output_tokens)
        load = Load(input_tokens=input_tokens, output_tokens=output_tokens, cost_usd=cost_usd)
        return load.times(Span.of(0, 1, 1)) if call.may_be_kept else load

    def _cost_of_model_call(
        self, step: CompiledStep, call: ForeseenModelCall, input_tokens: Span, output_tokens: Span
    ) -> Span | None:
        low, likely, high = (
            [
                self.prices.of_model_call(provider, model, input_tokens=int(sent), output_tokens=int(given))
                for provider, model in call.candidates
            ]
            for sent, given in zip(_ends(input_tokens), _ends(output_tokens), strict=True)
        )
        for (provider, model), usd in zip(call.candidates, high, strict=True):
            if usd is None:
                self.notes.warn(
                    step.pointer,
                    f'Nobody knows the price of the model "{model}" at {provider}, so the cost cannot be told. '
                    "Set it, in USD per million tokens: EXTERNAL_SERVICE_PRICING="
                    f'\'{{"{provider}/{model}": {{"prompt": 1.0, "completion": 2.0}}}}\'.',
                    code="unknown_price",
                )
        if low[0] is None or likely[0] is None:
            return None
        if call.candidates[0][0] == "sandbox":
            self.notes.assume("The sandbox answers for nothing; set a provider's key to see what a model would cost.")
        dearest = max(usd for usd in high if usd is not None)
        return Span.of(low[0], likely[0], dearest)

    @staticmethod
    def _model_seconds(
        step: CompiledStep, output_tokens: Span, call: ForeseenModelCall, past: PastStep | None, *, attempts: int
    ) -> Span:
        seen = seen_seconds(past)
        if seen is not None:
            return seen
        likely = 1 + output_tokens.likely / TOKENS_PER_SECOND
        calls = (2 if call.may_ask_again else 1) * len(call.candidates)
        longest = longest_seconds(step, calls=calls, attempts=attempts)
        return Span.of(1 + output_tokens.low / TOKENS_PER_SECOND, likely, max(likely, longest))


def seen_seconds(past: PastStep | None) -> Span | None:
    """Return how long the step took in earlier runs, if there are any."""
    if past is None or past.duration_ms is None:
        return None
    seen = past.duration_ms
    return Span.of(seen.low / 1000, seen.mean / 1000, seen.high / 1000)


def seen_size(past: PastStep | None) -> TextSize | None:
    """Return how long the step's output was in earlier runs, if there are any."""
    if past is None or past.output_chars is None:
        return None
    seen = past.output_chars
    return TextSize(round(seen.low), round(seen.mean), round(seen.high))


def longest_seconds(step: CompiledStep, *, calls: int, attempts: int) -> Decimal:
    """Return how long so many attempts of `calls` calls can take, with the pauses between the step's own."""
    policy = step.retry
    pauses = 0.0
    if policy is not None:
        pauses = sum(retry_delay_seconds(policy, attempt, lambda: 1.0) for attempt in range(1, policy.max_attempts))
    return Decimal(str(step.timeout_seconds)) * calls * attempts + Decimal(str(pauses))


def _usual_re_asks(past: PastStep | None) -> float:
    return max(0.0, past.calls.mean - 1) if past is not None and past.calls is not None else 0.0


def _answer_size(output_tokens: Span) -> TextSize:
    low, likely, high = (int(tokens) * CHARS_PER_ANSWER_TOKEN for tokens in _ends(output_tokens))
    return TextSize(low, likely, high)


def _ends(span: Span) -> tuple[Decimal, Decimal, Decimal]:
    return span.low, span.likely, span.high
