"""Calls a model for a step: chooses the provider, keeps the circuit breakers, tells what happened.

`workflows/steps/llm.py` calls `LLMClient.generate` with the step's model and its fallbacks; `wiring.py`
builds one client per process. It goes through the candidates once. Only the engine tries again.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import structlog

from callboard.core.breaker import CircuitBreakers, CircuitOpenError
from callboard.core.errors import TemporaryError
from callboard.llm.errors import (
    KEY_SETTINGS,
    LLMError,
    MissingKeyError,
    ProviderCircuitOpenError,
    UnknownProviderError,
    UnusableAnswerError,
)
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse, Provider

# (provider, model, outcome, response): outcome is "succeeded" or the code of the error
OutcomeHook: TypeAlias = Callable[[str, str, str, LLMResponse | None], None]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may answer, and who serves it."""

    provider: str
    model: str


class LLMClient:
    """The models of this process, by provider."""

    def __init__(
        self,
        providers: Iterable[Provider],
        *,
        breakers: CircuitBreakers | None = None,
        on_outcome: OutcomeHook | None = None,
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._breakers = breakers or CircuitBreakers()
        self._on_outcome = on_outcome

    @property
    def provider_names(self) -> tuple[str, ...]:
        return tuple(self._providers)

    def open_circuits(self) -> dict[str, float]:
        """Return the `provider/model` names that are left alone now, each with the seconds that remain."""
        return self._breakers.open_circuits()

    async def generate(self, request: LLMRequest, candidates: Sequence[Candidate]) -> LLMResponse:
        """Return the answer of the first candidate that gives one; `request.model` is the candidate's.

        The next one is tried after failures that it may not share: key, rate, time, server, connection, an
        unusable answer, an open circuit. A refused request is refused at once.

        Raises: LLMError, the last one of the tried, but a temporary one before a permanent one, since a
        retry begins with the first again. `details.tried` says what became of each.
        """
        failures = _Failures()
        for candidate in candidates:
            try:
                return await self._call(candidate, request)
            except LLMError as error:
                failures.add(candidate, error)
        raise failures.verdict(self._providers)

    async def stream(self, request: LLMRequest, candidates: Sequence[Candidate]) -> AsyncGenerator[LLMChunk, None]:
        """Yield the answer in pieces, and last the chunk that carries the response.

        As `generate`, but once a piece was given out no other candidate is tried.
        """
        failures = _Failures()
        for candidate in candidates:
            has_begun = False
            try:
                async with aclosing(self._stream(candidate, request)) as chunks:
                    async for chunk in chunks:
                        has_begun = True
                        yield chunk
                return
            except LLMError as error:
                failures.add(candidate, error)
                if has_begun:
                    break
        raise failures.verdict(self._providers)

    async def generate_streamed(
        self, request: LLMRequest, candidates: Sequence[Candidate], on_text: Callable[[str], None]
    ) -> LLMResponse:
        """Return the answer as `generate` does, and tell `on_text` each piece of it as it comes.

        Raises: as `stream`.
        """
        response: LLMResponse | None = None
        async with aclosing(self.stream(request, candidates)) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    on_text(chunk.text)
                response = chunk.response or response
        if response is None:  # an adapter that broke the port's contract
            raise UnusableAnswerError(f"The answer for {request.model} ended without its response.")
        return response

    async def close(self) -> None:
        """Close every provider."""
        for provider in self._providers.values():
            await provider.close()

    async def _call(self, candidate: Candidate, request: LLMRequest) -> LLMResponse:
        started = time.monotonic()
        try:
            provider = self._provider(candidate)
            async with self._breakers.guard(_circuit(candidate), is_failure=_speaks_against_provider):
                response = await provider.generate(replace(request, model=candidate.model))
        except CircuitOpenError as error:
            raise self._note_failure(candidate, _circuit_open(candidate, error), started) from error
        except LLMError as error:
            self._note_failure(candidate, error, started)
            raise
        self._note_success(candidate, response)
        return response

    async def _stream(self, candidate: Candidate, request: LLMRequest) -> AsyncGenerator[LLMChunk, None]:
        started = time.monotonic()
        response: LLMResponse | None = None
        try:
            provider = self._provider(candidate)
            async with (
                self._breakers.guard(_circuit(candidate), is_failure=_speaks_against_provider),
                _closing(provider.stream(replace(request, model=candidate.model))) as chunks,
            ):
                async for chunk in chunks:
                    response = chunk.response or response
                    yield chunk
        except CircuitOpenError as error:
            raise self._note_failure(candidate, _circuit_open(candidate, error), started) from error
        except LLMError as error:
            self._note_failure(candidate, error, started)
            raise
        if response is not None:
            self._note_success(candidate, response)

    def _provider(self, candidate: Candidate) -> Provider:
        provider = self._providers.get(candidate.provider)
        if provider is not None:
            return provider
        if candidate.provider in KEY_SETTINGS:
            raise MissingKeyError(candidate.provider, self._providers)
        raise UnknownProviderError(candidate.provider, self._providers)

    def _note_success(self, candidate: Candidate, response: LLMResponse) -> None:
        _log.info(
            "llm.call",
            provider=candidate.provider,
            model=candidate.model,
            outcome="succeeded",
            duration_ms=response.duration_ms,
            input_tokens=response.usage.input_tokens,
            output_tokens=response.usage.output_tokens,
            cost_usd=str(response.cost.usd),
            finish_reason=response.finish_reason,
        )
        self._tell(candidate, "succeeded", response)

    def _note_failure(self, candidate: Candidate, error: LLMError, started: float) -> LLMError:
        # Never the message: vendors like to quote the prompt in it.
        _log.warning(
            "llm.call",
            provider=candidate.provider,
            model=candidate.model,
            outcome=error.code,
            duration_ms=round((time.monotonic() - started) * 1000),
            http_status=error.details.get("http_status"),
        )
        self._tell(candidate, error.code, None)
        return error

    def _tell(self, candidate: Candidate, outcome: str, response: LLMResponse | None) -> None:
        if self._on_outcome is not None:
            self._on_outcome(candidate.provider, candidate.model, outcome, response)


@asynccontextmanager
async def _closing(chunks: AsyncIterator[LLMChunk]) -> AsyncIterator[AsyncIterator[LLMChunk]]:
    # Left to the garbage collector, an abandoned stream would keep its connection, and its bill, for a while.
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _circuit(candidate: Candidate) -> str:
    return f"{candidate.provider}/{candidate.model}"


def _speaks_against_provider(error: Exception) -> bool:
    # A wrong key, a refused request and a rate limit are answers of a healthy provider. Opening the circuit
    # on them would hide the reason, and a Retry-After of 1 s would become a minute.
    return isinstance(error, LLMError) and error.is_provider_fault


def _circuit_open(candidate: Candidate, error: CircuitOpenError) -> ProviderCircuitOpenError:
    return ProviderCircuitOpenError(
        error.message,
        retry_after_seconds=error.retry_after_seconds,
        details={"provider": candidate.provider, "model": candidate.model},
    )


class _Failures:
    """What became of the candidates so far."""

    def __init__(self) -> None:
        self._failures: list[tuple[Candidate, LLMError]] = []

    def add(self, candidate: Candidate, error: LLMError) -> None:
        """Keep a failure. Raises: `error` again, when another candidate would not do better."""
        self._failures.append((candidate, error))
        if not error.is_worth_fallback:
            error.is_unpaid = all(failure.is_unpaid for _, failure in self._failures)
            error.details["tried"] = self._tried()
            raise error

    def verdict(self, ready: Iterable[str]) -> LLMError:
        """Return the error that stands for all of them."""
        if not self._failures:
            return UnknownProviderError("", ready)
        errors = [error for _, error in self._failures]
        error = next((error for error in reversed(errors) if isinstance(error, TemporaryError)), errors[-1])
        error.is_unpaid = all(error.is_unpaid for error in errors)
        error.details["tried"] = self._tried()
        return error

    def _tried(self) -> list[dict[str, str]]:
        return [
            {"provider": candidate.provider, "model": candidate.model, "code": error.code, "message": error.message}
            for candidate, error in self._failures
        ]
