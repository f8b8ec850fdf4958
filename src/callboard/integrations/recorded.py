"""An outside service out of recorded answers: for the demo and tests without a key. `workbench.py` builds them.

An entry of a replay file: {"service": "weatherapi", "request": {"method", "parameters"}, "response":
{"data": ..., "status_code": 200}}. The cost is that of the call that was recorded, by today's prices.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from callboard.core.json_values import JsonValue
from callboard.core.pricing import Cost
from callboard.core.replay import RecordedAnswer, RecordedAnswers
from callboard.integrations.errors import ReplayMissError
from callboard.integrations.port import ServiceResult, parse_parameters


class RecordedService:
    """Answers what was recorded for exactly this call, however its parameters are spelled, and nothing else."""

    provider: Final = "replay"

    def __init__(
        self,
        name: str,
        answers: RecordedAnswers,
        *,
        methods: Mapping[str, type[BaseModel]],
        price: Callable[[str, BaseModel], Cost],
        way_out: str,
    ) -> None:
        """`way_out` says what to set for the live service."""
        self.name = name
        self.methods = methods
        self._answers = answers
        self._price = price
        self._way_out = way_out

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return the recorded answer. Raises: ReplayMissError, with the ways out."""
        parsed = parse_parameters(self, method, parameters)
        asked = recorded_request(method, parsed)
        found = self._answers.find(self.name, asked)
        if found is None:
            raise self._miss(method, asked)
        return ServiceResult(
            data=_data_of(found),
            status_code=_status_of(found),
            units=1,
            cost=self._price(method, parsed),
            duration_ms=0,
        )

    async def close(self) -> None:
        """Nothing is held here."""

    def _miss(self, method: str, asked: Mapping[str, Any]) -> ReplayMissError:
        nearest = self._answers.find_nearest(self.name, asked)
        hint = ""
        if nearest is not None:
            recorded = nearest.answer.request
            hint = f" {nearest.answer.path.name} has one for {recorded.get('method')} {recorded.get('parameters')}."
        return ReplayMissError(
            f"replay has no recorded answer for {self.name}.{method} {asked['parameters']}.{hint} Restore the input "
            f"that was recorded, set {self._way_out}, or choose DEFAULT_LLM_PROVIDER=sandbox.",
            details={"service": self.name, "method": method, "parameters": asked["parameters"]},
        )


def recorded_request(method: str, parameters: BaseModel) -> dict[str, Any]:
    """Return the form in which a replay file keeps a call: parameters as they were understood, without nulls.

    What the model names in `not_recorded` is left out: headers, since tokens travel in them, and how long to wait.

    >>> class Search(BaseModel):
    ...     words: str
    ...     language: str | None = None
    >>> recorded_request("search", Search(words="a b"))
    {'method': 'search', 'parameters': {'words': 'a b'}}
    """
    left_out = set(getattr(type(parameters), "not_recorded", ()))
    kept = parameters.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=left_out)
    return {"method": method, "parameters": kept}


def _data_of(answer: RecordedAnswer) -> JsonValue:
    if "data" not in answer.response:
        raise ReplayMissError(
            f"The answer recorded in {answer.path.name} cannot be used: response.data is missing.",
            details={"file": answer.path.name},
        )
    return answer.response["data"]


def _status_of(answer: RecordedAnswer) -> int:
    status = answer.response.get("status_code", 200)
    if not isinstance(status, int):
        raise ReplayMissError(
            f"The answer recorded in {answer.path.name} cannot be used: response.status_code is no number.",
            details={"file": answer.path.name},
        )
    return status
