"""Google Places out of recorded answers: for the demo and tests without a key. `wiring.py` builds it.

An entry of a replay file: {"service": "google_places", "request": {"method", "parameters"}, "response":
{"data": {...}}}. The cost is that of the call that was recorded, by today's prices, as for language models.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from callboard.core.pricing import UnitPrice
from callboard.core.replay import RecordedAnswer, RecordedAnswers
from callboard.integrations.errors import ReplayMissError
from callboard.integrations.google_places_parameters import METHODS
from callboard.integrations.google_places_pricing import SERVICE, price_call
from callboard.integrations.port import ServiceResult, parse_parameters


class ReplayPlaces:
    """Answers what was recorded for exactly this call, however its parameters are spelled, and nothing else."""

    name: Final = SERVICE
    provider: Final = "replay"
    methods: Mapping[str, type[BaseModel]] = METHODS

    def __init__(self, answers: RecordedAnswers, *, prices: Mapping[str, UnitPrice] | None = None) -> None:
        self._answers = answers
        self._prices = dict(prices or {})

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return the recorded answer. Raises: ReplayMissError, with the ways out."""
        asked = recorded_request(method, parse_parameters(self, method, parameters))
        found = self._answers.find(SERVICE, asked)
        if found is None:
            raise self._miss(method, asked)
        return ServiceResult(
            data=_data_of(found),
            status_code=200,
            units=1,
            cost=price_call(method, self._prices),
            duration_ms=0,
        )

    async def close(self) -> None:
        """Nothing is held here."""

    def _miss(self, method: str, asked: Mapping[str, Any]) -> ReplayMissError:
        nearest = self._answers.find_nearest(SERVICE, asked)
        hint = ""
        if nearest is not None:
            recorded = nearest.answer.request
            hint = f" {nearest.answer.path.name} has one for {recorded.get('method')} {recorded.get('parameters')}."
        return ReplayMissError(
            f"replay has no recorded answer for google_places.{method} {asked['parameters']}.{hint} Restore the input "
            "that was recorded, set GOOGLE_PLACES_API_KEY, or choose DEFAULT_LLM_PROVIDER=sandbox.",
            details={"service": SERVICE, "method": method, "parameters": asked["parameters"]},
        )


def recorded_request(method: str, parameters: BaseModel) -> dict[str, Any]:
    """Return the form in which a replay file keeps a call: parameters as they were understood, without nulls.

    >>> recorded_request("place_details", METHODS["place_details"].model_validate({"placeId": "abc"}))
    {'method': 'place_details', 'parameters': {'place_id': 'abc'}}
    """
    return {"method": method, "parameters": parameters.model_dump(mode="json", exclude_none=True)}


def _data_of(answer: RecordedAnswer) -> Mapping[str, Any]:
    data = answer.response.get("data")
    if not isinstance(data, dict):
        raise ReplayMissError(
            f"The answer recorded in {answer.path.name} cannot be used: response.data is no object.",
            details={"file": answer.path.name},
        )
    return data
