"""What stands round every outside service: its turn, a circuit breaker, a time limit, a log line and a count.

`registry.py` wraps each service that it is given, so a service of one's own has all of it for nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import structlog
from pydantic import BaseModel

from callboard.core.breaker import CircuitBreakers
from callboard.core.errors import StepError
from callboard.integrations.errors import (
    CallOutOfTimeError,
    ServiceAnswerError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from callboard.integrations.port import ExternalService, ServesManyHosts, ServiceResult
from callboard.integrations.turns import Turns

TIMEOUT_SECONDS = 120.0  # the default of a step
STAND_INS = frozenset({"replay", "sandbox"})  # they answer from here: nothing to limit, nothing to break
# A wrong key, a refused call and a rate limit are answers of a healthy service: see llm/client.py.
FAULTS_OF_THE_SERVICE = (ServiceUnavailableError, ServiceTimeoutError, ServiceAnswerError)

# (service, method, outcome, result): outcome is "succeeded" or the code of the error
OutcomeHook: TypeAlias = Callable[[str, str, str, ServiceResult | None], None]
_log = structlog.get_logger(__name__)


class ServiceGuard:
    """The circuits and turns of one process, shared by all its services."""

    def __init__(
        self,
        *,
        breakers: CircuitBreakers | None = None,
        turns: Turns | None = None,
        on_outcome: OutcomeHook | None = None,
    ) -> None:
        self.breakers = breakers or CircuitBreakers()
        self.turns = turns or Turns()
        self.on_outcome = on_outcome

    def open_circuits(self) -> dict[str, float]:
        """Return the services (`http:<host>` for one host) that are left alone now, each with the seconds left."""
        return self.breakers.open_circuits()

    async def close(self) -> None:
        """Close what counts the turns."""
        await self.turns.close()


class GuardedService:
    """An outside service, called with care. It keeps the contract of the one inside."""

    def __init__(self, service: ExternalService, guard: ServiceGuard) -> None:
        self._service = service
        self._guard = guard

    @property
    def name(self) -> str:
        return self._service.name

    @property
    def provider(self) -> str:
        return self._service.provider

    @property
    def methods(self) -> Mapping[str, type[BaseModel]]:
        return self._service.methods

    async def call(
        self, method: str, parameters: Mapping[str, Any], *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> ServiceResult:
        """Return what the service answers within `timeout_seconds`, the wait for its turn among them.

        Raises: what the service raises; ServiceRateLimitedError when no turn comes in that time, CircuitOpenError
        while the service is left alone, CallOutOfTimeError.
        """
        started = time.monotonic()
        host = self._service.host_of(parameters) if isinstance(self._service, ServesManyHosts) else ""
        try:
            result = await self._call(method, parameters, host=host, give_up_at=started + timeout_seconds)
        except CallOutOfTimeError:
            late = CallOutOfTimeError(
                f"{self.name}.{method} did not answer within {timeout_seconds:g} s (timeout_seconds)."
            )
            self._note_failure(method, host, late, started)
            raise late from None
        except StepError as error:
            self._note_failure(method, host, error, started)
            raise
        self._note_success(method, host, result, started)
        return result

    async def close(self) -> None:
        """Close the service."""
        await self._service.close()

    async def _call(self, method: str, parameters: Mapping[str, Any], *, host: str, give_up_at: float) -> ServiceResult:
        if self.provider in STAND_INS:
            return await self._call_in_time(method, parameters, give_up_at)
        own_name = f"{self.name}:{host}" if host else self.name
        for name in dict.fromkeys((self.name, own_name)):
            await self._guard.turns.take(name, patience_seconds=give_up_at - time.monotonic())
        async with self._guard.breakers.guard(own_name, is_failure=_speaks_against_service):
            return await self._call_in_time(method, parameters, give_up_at)

    async def _call_in_time(self, method: str, parameters: Mapping[str, Any], give_up_at: float) -> ServiceResult:
        limit = asyncio.timeout(give_up_at - time.monotonic())
        try:
            async with limit:
                return await self._service.call(method, parameters)
        except TimeoutError as error:
            if not limit.expired():  # the service's own, which it did not name
                raise ServiceTimeoutError(f"{self.name}.{method} gave up waiting for an answer.") from error
            raise CallOutOfTimeError from error

    def _note_success(self, method: str, host: str, result: ServiceResult, started: float) -> None:
        self._log(_log.info, method, host, started, outcome="succeeded", http_status=result.status_code)
        self._tell(method, "succeeded", result)

    def _note_failure(self, method: str, host: str, error: StepError, started: float) -> None:
        # Never the message: services like to quote in it what they were sent.
        self._log(_log.warning, method, host, started, outcome=error.code, http_status=error.details.get("http_status"))
        self._tell(method, error.code, None)

    def _log(self, write: Callable[..., Any], method: str, host: str, started: float, **fields: Any) -> None:
        if host:
            fields["host"] = host
        write(
            "service.call",
            service=self.name,
            method=method,
            provider=self.provider,
            duration_ms=round((time.monotonic() - started) * 1000),
            **fields,
        )

    def _tell(self, method: str, outcome: str, result: ServiceResult | None) -> None:
        if self._guard.on_outcome is not None:
            self._guard.on_outcome(self.name, method, outcome, result)


def _speaks_against_service(error: StepError) -> bool:
    return isinstance(error, FAULTS_OF_THE_SERVICE)
