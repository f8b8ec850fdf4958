"""What stands round every outside service: circuit, turn, time limit, log line, count."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from callboard.core.breaker import CircuitBreakers, CircuitOpenError
from callboard.core.errors import StepError
from callboard.core.limits import RateLimit
from callboard.integrations.errors import (
    CallOutOfTimeError,
    ServiceAnswerError,
    ServiceAuthError,
    ServiceRateLimitedError,
    ServiceRejectedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from callboard.integrations.guarded import GuardedService, ServiceGuard
from callboard.integrations.port import ExternalService, ServiceResult
from callboard.integrations.turns import Turns
from tests.fixtures.scripted_service import ScriptedHosts, ScriptedService


def guarded(service: ExternalService, **guard: Any) -> GuardedService:
    guard.setdefault("breakers", CircuitBreakers(threshold=2, open_seconds=60))
    return GuardedService(service, ServiceGuard(**guard))


async def fail(service: GuardedService, kind: type[StepError], times: int = 1, **parameters: str) -> None:
    for _ in range(times):
        with pytest.raises(kind):
            await service.call("ask", parameters)


class TestCall:
    async def test_passes_call_and_answer_on(self) -> None:
        inside = ScriptedService()

        result = await guarded(inside).call("ask", {"host": "x"})

        assert (result.status_code, inside.asked) == (200, [{"host": "x"}])

    async def test_shows_the_service_inside(self) -> None:
        inside = ScriptedService()
        outside = guarded(inside)

        assert (outside.name, outside.provider, outside.methods) == ("maps", "maps", inside.methods)

    async def test_closes_the_service_inside(self) -> None:
        inside = ScriptedService()

        await guarded(inside).close()

        assert inside.is_closed


class TestCircuit:
    @pytest.mark.parametrize("kind", [ServiceUnavailableError, ServiceTimeoutError, ServiceAnswerError])
    async def test_opens_after_faults_of_the_service(self, kind: type[StepError]) -> None:
        inside = ScriptedService()
        inside.failures.extend([kind(), kind()])
        outside = guarded(inside)
        await fail(outside, kind, times=2)

        with pytest.raises(CircuitOpenError) as caught:
            await outside.call("ask", {})

        assert len(inside.asked) == 2
        assert caught.value.retry_after_seconds == pytest.approx(60, abs=1)

    @pytest.mark.parametrize("kind", [ServiceAuthError, ServiceRejectedError, ServiceRateLimitedError])
    async def test_stays_closed_after_answers_of_a_healthy_one(self, kind: type[StepError]) -> None:
        inside = ScriptedService()
        inside.failures.extend([kind() for _ in range(5)])
        outside = guarded(inside)
        await fail(outside, kind, times=5)

        assert (await outside.call("ask", {})).status_code == 200

    async def test_opens_after_calls_that_were_not_answered_in_the_steps_time(self) -> None:
        outside = guarded(ScriptedService(hangs=True))

        for _ in range(2):
            with pytest.raises(CallOutOfTimeError):
                await outside.call("ask", {}, timeout_seconds=0.01)

        with pytest.raises(CircuitOpenError):
            await outside.call("ask", {})

    async def test_says_nothing_of_a_call_that_was_cancelled(self) -> None:
        inside = ScriptedService(hangs=True)
        outside = guarded(inside)
        for _ in range(3):
            call = asyncio.create_task(outside.call("ask", {}))
            await inside.was_asked.wait()
            inside.was_asked.clear()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        with pytest.raises(CallOutOfTimeError):
            await outside.call("ask", {}, timeout_seconds=0.01)

    async def test_is_one_per_host_where_there_are_many(self) -> None:
        inside = ScriptedHosts("http")
        inside.failures.extend([ServiceUnavailableError(), ServiceUnavailableError()])
        guard = ServiceGuard(breakers=CircuitBreakers(threshold=2, open_seconds=60))
        outside = GuardedService(inside, guard)
        await fail(outside, ServiceUnavailableError, times=2, host="a.example")

        await fail(outside, CircuitOpenError, host="a.example")
        assert (await outside.call("ask", {"host": "b.example"})).status_code == 200
        assert list(guard.open_circuits()) == ["http:a.example"]

    async def test_is_none_where_nobody_is_called(self) -> None:
        inside = ScriptedService(provider="replay")
        inside.failures.extend([ServiceUnavailableError() for _ in range(3)])
        outside = guarded(inside)
        await fail(outside, ServiceUnavailableError, times=3)

        assert (await outside.call("ask", {})).status_code == 200


class TestTurn:
    async def test_is_waited_for_as_long_as_the_step_has_time(self) -> None:
        outside = guarded(ScriptedService(), turns=Turns(limits={"maps": RateLimit(1, 3600)}))
        await outside.call("ask", {})

        with pytest.raises(ServiceRateLimitedError):
            await outside.call("ask", {}, timeout_seconds=0.05)

    async def test_is_one_of_the_service_and_one_of_the_host(self) -> None:
        limits = {"http": RateLimit(2, 3600), "http:a.example": RateLimit(1, 3600)}
        outside = guarded(ScriptedHosts("http"), turns=Turns(limits=limits))
        await outside.call("ask", {"host": "a.example"})
        await outside.call("ask", {"host": "b.example"})

        with pytest.raises(ServiceRateLimitedError, match="http is called 2 per"):
            await outside.call("ask", {"host": "b.example"}, timeout_seconds=0.05)

    async def test_of_one_host_is_not_that_of_another(self) -> None:
        outside = guarded(ScriptedHosts("http"), turns=Turns(limits={"http:a.example": RateLimit(1, 3600)}))
        await outside.call("ask", {"host": "a.example"})

        for _ in range(3):
            await outside.call("ask", {"host": "b.example"})
        with pytest.raises(ServiceRateLimitedError, match=r"http:a\.example is called"):
            await outside.call("ask", {"host": "a.example"}, timeout_seconds=0.05)

    async def test_that_does_not_come_opens_no_circuit_and_closes_none(self) -> None:
        limits = {"maps": RateLimit(1, 3600)}
        guard = ServiceGuard(breakers=CircuitBreakers(threshold=1, open_seconds=60), turns=Turns(limits=limits))
        outside = GuardedService(ScriptedService(), guard)
        await outside.call("ask", {})

        for _ in range(3):
            with pytest.raises(ServiceRateLimitedError):
                await outside.call("ask", {}, timeout_seconds=0.01)

        assert guard.open_circuits() == {}

    @pytest.mark.parametrize("provider", ["replay", "sandbox"])
    async def test_is_not_needed_where_nobody_is_called(self, provider: str) -> None:
        limits = {"maps": RateLimit(1, 3600)}
        outside = guarded(ScriptedService(provider=provider), turns=Turns(limits=limits))

        for _ in range(3):
            await outside.call("ask", {}, timeout_seconds=0.05)


class TestTimeLimit:
    @pytest.mark.parametrize("provider", ["maps", "replay"])
    async def test_is_told_as_the_steps_own(self, provider: str) -> None:
        outside = guarded(ScriptedService(provider=provider, hangs=True))

        with pytest.raises(CallOutOfTimeError) as caught:
            await outside.call("ask", {}, timeout_seconds=0.01)

        assert caught.value.message == "maps.ask did not answer within 0.01 s (timeout_seconds)."
        assert caught.value.code == "step_timeout"

    async def test_of_the_service_itself_is_told_as_the_services(self) -> None:
        inside = ScriptedService()
        inside.failures.append(TimeoutError())

        with pytest.raises(ServiceTimeoutError) as caught:
            await guarded(inside).call("ask", {})

        assert caught.value.code == "service_timeout"


class TestTelling:
    async def test_logs_each_call_without_what_was_sent(self) -> None:
        inside = ScriptedHosts("http")
        inside.failures.append(ServiceUnavailableError("no: s3cret", details={"http_status": 503}))
        outside = guarded(inside)

        with capture_logs() as logs:
            await fail(outside, ServiceUnavailableError, host="a.example", token="s3cret")
            await outside.call("ask", {"token": "s3cret"})

        failed, succeeded = logs
        assert failed["event"] == succeeded["event"] == "service.call"
        assert (failed["log_level"], failed["outcome"]) == ("warning", "service_unavailable")
        assert (failed["http_status"], failed["host"]) == (503, "a.example")
        assert (succeeded["log_level"], succeeded["outcome"], succeeded["http_status"]) == ("info", "succeeded", 200)
        assert "host" not in succeeded
        assert "s3cret" not in str(logs)

    async def test_counts_each_call_with_its_outcome(self) -> None:
        told: list[tuple[str, str, str, bool]] = []

        def count(service: str, method: str, outcome: str, result: ServiceResult | None) -> None:
            told.append((service, method, outcome, result is not None))

        inside = ScriptedService()
        inside.failures.append(ServiceRejectedError())
        outside = guarded(inside, on_outcome=count, turns=Turns(limits={"maps": RateLimit(2, 3600)}))
        await fail(outside, ServiceRejectedError)
        await outside.call("ask", {})
        with pytest.raises(ServiceRateLimitedError):
            await outside.call("ask", {}, timeout_seconds=0.01)

        assert told == [
            ("maps", "ask", "service_rejected", False),
            ("maps", "ask", "succeeded", True),
            ("maps", "ask", "service_rate_limited", False),
        ]
