"""What becomes of an outside service's answer: its journal row, its usage row, what is kept of it.

Called by `steps/external_api.py`.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from callboard.core.json_values import JsonValue
from callboard.integrations.port import ExternalService, ServiceResult
from callboard.workflows.steps.base import UsageRecord
from callboard.workflows.steps.redaction import redact

FIRST_ERROR_STATUS = 400


def journal_result(result: ServiceResult, secrets: Collection[str]) -> dict[str, JsonValue]:
    """Return `result` as the journal keeps it, which is the step's output: without the secrets that it was given."""
    return {
        "data": redact(result.data, secrets),
        "cached": result.cached,
        "status_code": result.status_code,
        "duration_ms": result.duration_ms,
    }


def is_success(result: ServiceResult) -> bool:
    """Return whether this is what was asked for; a service may give an error status as its answer."""
    return result.status_code < FIRST_ERROR_STATUS


def journal_kept_result(kept: Mapping[str, Any], *, duration_ms: int) -> dict[str, JsonValue]:
    """Return a kept answer, which is a row of the journal, as the output of a step that took it."""
    return {**kept, "cached": True, "duration_ms": duration_ms}


def build_usage(service: ExternalService, method: str, result: ServiceResult, task_name: str) -> UsageRecord:
    """Return the usage row of a call that was made."""
    price = result.cost.price
    return UsageRecord(
        service=service.name,
        provider=service.provider,
        model=method,
        task_name=task_name,
        input_units=result.units,
        output_units=0,
        cost_usd=result.cost.usd,
        duration_ms=result.duration_ms,
        metadata={
            "price_source": result.cost.source,
            "price_id": result.cost.price_id,
            "call_usd": None if price is None else str(price.call_usd),
            "input_usd": None if price is None else str(price.input_usd),
            "status_code": result.status_code,
            "cached": result.cached,
        },
    )


def build_kept_usage(service: ExternalService, method: str, kept: Mapping[str, Any], task_name: str) -> UsageRecord:
    """Return the usage row of a call that was not made, since its answer was kept: no units, no cost.

    `kept` is what `journal_kept_result` returned.
    """
    return UsageRecord(
        service=service.name,
        provider=service.provider,
        model=method,
        task_name=task_name,
        input_units=0,
        output_units=0,
        cost_usd=Decimal(0),
        duration_ms=kept["duration_ms"],
        metadata={"status_code": kept["status_code"], "cached": True},
    )
