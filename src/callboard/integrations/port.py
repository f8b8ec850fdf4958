"""What an outside service is to Callboard. Every adapter in this folder keeps this contract.

`workflows/steps/external_api.py` finds a service in `integrations/registry.py` and calls one of its
methods; the contract suites in `tests/contract/` run against every variant of a service.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ValidationError

from callboard.core.json_values import JsonValue
from callboard.core.pricing import Cost
from callboard.integrations.errors import ServiceParametersError, UnknownServiceError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceResult:
    """One finished call. `units` is what the service charges for (most: 1 per call) and `cost` their sum."""

    data: JsonValue
    status_code: int
    units: int
    cost: Cost
    duration_ms: int
    cached: bool = False


class ExternalService(Protocol):
    """A service outside this process. Raises only what `integrations/errors.py` names; never retries."""

    @property
    def name(self) -> str: ...

    @property
    def provider(self) -> str:
        """Who really answers, as usage rows tell it: the service itself, `replay` or `sandbox`."""
        ...

    @property
    def methods(self) -> Mapping[str, type[BaseModel]]:
        """The model of the parameters of each method: what the workflow compiler checks files against."""
        ...

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return what the service answers. `parameters` as they stand in the file, references filled in."""
        ...

    async def close(self) -> None:
        """Give up the connections. A closed service is not called again."""
        ...


@runtime_checkable
class ServesManyHosts(Protocol):
    """A service that calls whatever host its caller names; each has its own circuit, and may have a rate limit."""

    def host_of(self, parameters: Mapping[str, Any]) -> str:
        """Return the host that a call with `parameters` goes to, "" where they name none that can be read."""
        ...


def parse_parameters(service: ExternalService, method: str, parameters: Mapping[str, Any]) -> BaseModel:
    """Return `parameters` read by the model of `method`.

    Raises: UnknownServiceError, with the nearest method; ServiceParametersError, with every mistake.
    """
    model = service.methods.get(method)
    if model is None:
        raise UnknownServiceError(f"{service.name} has no method {method!r}. {suggest_name(method, service.methods)}")
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, item['loc'])) or 'parameters'}: {item['msg']}" for item in error.errors()]
        raise ServiceParametersError(
            f"{service.name}.{method} cannot be called with these parameters: {'; '.join(mistakes)}.",
            details={"service": service.name, "method": method, "mistakes": mistakes},
        ) from error


def suggest_name(name: str, known: Mapping[str, Any]) -> str:
    """Return the sentence that helps someone who wrote `name`: the nearest known one, or all of them."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    if nearest:
        return f"Did you mean {nearest[0]}?"
    return f"Known are: {', '.join(sorted(known))}." if known else "There are none."
