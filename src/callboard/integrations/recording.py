"""The outside services of runs in memory: calls are kept as they come back, or answered from what was kept.

`workbench.py` puts a `RecordingService` before each service for commands such as `callboard run` and
`callboard test`. Whether a call is recorded, played or simply made is the matter of `core/recording.py`.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel

from callboard.core.playback import MissedCallError, PlaybackAnswer
from callboard.core.pricing import NO_COST, Cost
from callboard.core.recording import current_call, recorded_failure
from callboard.integrations.errors import ReplayMissError
from callboard.integrations.port import ExternalService, ServesManyHosts, ServiceResult, parse_parameters
from callboard.integrations.recorded import recorded_request

PLAYED_BY = "replay"  # the provider of every answer that was kept
OK_STATUS = 200


class RecordingService:
    """A service that makes the calls of `live`, but for those that a run has answers for."""

    def __init__(self, live: ExternalService) -> None:
        self._live = live

    @property
    def name(self) -> str:
        return self._live.name

    @property
    def provider(self) -> str:
        call = current_call()
        return PLAYED_BY if call is not None and call.is_played else self._live.provider

    @property
    def methods(self) -> Mapping[str, type[BaseModel]]:
        return self._live.methods

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return the kept answer to this call, or what the service says.

        Raises: ReplayMissError, when it should be kept and is not; what was recorded as the end of this
        call; as the service otherwise.
        """
        call = current_call()
        if call is None:
            return await self._live.call(method, parameters)
        asked = recorded_request(method, parse_parameters(self, method, parameters))
        try:
            answer = call.ask(self.name, asked)
        except MissedCallError as error:
            raise ReplayMissError(error.message, details=error.details) from error
        result = await self._live.call(method, parameters) if answer is None else _read(answer)
        call.keep(_recorded_response(result))
        return result

    def host_of(self, parameters: Mapping[str, Any]) -> str:
        """Return the host that the call goes to, as the service says."""
        return self._live.host_of(parameters) if isinstance(self._live, ServesManyHosts) else ""

    async def close(self) -> None:
        """Close the service."""
        await self._live.close()


def _recorded_response(result: ServiceResult) -> dict[str, Any]:
    return {
        "data": result.data,
        "status_code": result.status_code,
        "units": result.units,
        "duration_ms": result.duration_ms,
        "cost_usd": str(result.cost.usd),
        "price_source": result.cost.source,
    }


def _read(answer: PlaybackAnswer) -> ServiceResult:
    if answer.error is not None:
        raise recorded_failure(answer.error)
    response = answer.response or {}
    if "data" not in response:
        raise ReplayMissError("The recorded answer cannot be used: response.data is missing.")
    return ServiceResult(
        data=response["data"],
        status_code=_count(response, "status_code", OK_STATUS),
        units=_count(response, "units", 1),
        cost=_cost(response),
        duration_ms=_count(response, "duration_ms", 0),
    )


def _count(response: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = response.get(name, otherwise)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ReplayMissError(f"The recorded answer cannot be used: response.{name} is no whole number.")
    return value


def _cost(response: Mapping[str, Any]) -> Cost:
    """Return what the recorded call cost; nothing where that was not recorded."""
    if "cost_usd" not in response:
        return NO_COST
    try:
        return Cost(usd=Decimal(str(response["cost_usd"])), source=response.get("price_source", "none"))
    except InvalidOperation as error:
        raise ReplayMissError("The recorded answer cannot be used: response.cost_usd is no number.") from error
