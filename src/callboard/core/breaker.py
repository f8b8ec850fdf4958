"""Circuit breakers: after some failures in a row, a dependency is left alone for a while.

`llm/client.py` keeps one circuit per provider and model, `integrations` one per service. Built on
purgatory, in memory. Added to it here: one probe at a time when the time is over, a cancelled call says
nothing about health, and the error tells how long to wait.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import CLOSED, HALF_OPENED, Context

from callboard.core.errors import StepError, TemporaryError

FAILURE_THRESHOLD = 3  # failures in a row
OPEN_SECONDS = 60.0
PROBE_WAIT_SECONDS = 1.0  # what a call is told while another one probes


class CircuitOpenError(TemporaryError):
    """The last calls to this dependency failed, so it is left alone for a while."""

    code = "circuit_open"
    category = "service"
    is_unpaid = True


class CircuitBreakers:
    """Circuits by name. Each opens after `threshold` failures in a row and lets one call try after `open_seconds`."""

    def __init__(self, *, threshold: int = FAILURE_THRESHOLD, open_seconds: float = OPEN_SECONDS) -> None:
        self._factory = AsyncCircuitBreakerFactory(default_threshold=threshold, default_ttl=open_seconds)
        self._contexts: dict[str, Context] = {}
        self._probing: set[str] = set()

    @asynccontextmanager
    async def guard(self, name: str, *, is_failure: Callable[[StepError], bool]) -> AsyncIterator[None]:
        """Run the block if circuit `name` lets it, and count how it ends.

        An error for which `is_failure` is false counts as an answer, so it closes the circuit like a success; a
        cancelled block, or one that breaks in a way that no step names, counts as nothing.

        Raises: CircuitOpenError, before the block, with the seconds to wait.
        """
        breaker = await self._factory.get_breaker(name)
        self._contexts[name] = breaker.context
        is_probe = self._admit(name, breaker.context)
        try:
            await breaker.__aenter__()
            try:
                yield
            except StepError as error:
                counted = error if is_failure(error) else None
                await breaker.__aexit__(type(counted) if counted else None, counted, None)
                raise
            else:
                await breaker.__aexit__(None, None, None)
        finally:
            if is_probe:
                self._probing.discard(name)

    def open_circuits(self) -> dict[str, float]:
        """Return the circuits that refuse calls now, each with the seconds until it lets one try."""
        waits = {name: _seconds_to_wait(context) for name, context in self._contexts.items()}
        return {name: wait for name, wait in waits.items() if wait > 0}

    def _admit(self, name: str, context: Context) -> bool:
        # purgatory would raise one and the same exception object again and again, whose traceback grows
        # with each raise and keeps every caller's frames alive; so ask first and raise our own.
        if context.state == CLOSED:
            return False
        wait = _seconds_to_wait(context)
        if wait == 0 and name in self._probing:
            wait = PROBE_WAIT_SECONDS
        if wait > 0:
            raise CircuitOpenError(
                f"The last calls to {name} failed, so it is left alone for {wait:.0f} s more.",
                retry_after_seconds=wait,
                details={"circuit": name},
            )
        self._probing.add(name)
        return True


def _seconds_to_wait(context: Context) -> float:
    if context.state in (CLOSED, HALF_OPENED) or context.opened_at is None:
        return 0.0
    wait = context.opened_at + context.ttl - time.time()  # purgatory's clock
    # At the very instant purgatory still refuses: it wants the time to be over, not reached.
    return wait if wait > 0 else 0.0
