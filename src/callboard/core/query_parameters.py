"""A query parameter that takes one value is given once: `main.py` has every operation check that.

The framework would take the last of several values and say nothing, so `?limit=5&limit=abc` and
`?limit=abc&limit=5` would differ.
"""

from collections import Counter
from typing import Any, get_args, get_origin

from starlette.requests import Request

from callboard.core.errors import Finding, UnprocessableError


async def refuse_repeated_parameters(request: Request) -> None:
    """Return when no parameter that takes one value came twice. Raises: UnprocessableError, naming each that did."""
    times = Counter(name for name, _ in request.query_params.multi_items())
    if max(times.values(), default=0) <= 1:
        return
    single = [field.alias for field in request.scope["route"].dependant.query_params if not _takes_many(field)]
    repeated = [name for name in single if times[name] > 1]
    if repeated:
        raise UnprocessableError(
            f"Give each of these once: {', '.join(repeated)}.",
            errors=[
                Finding(f"/query/{name}", "takes one value, and was given several", "repeated") for name in repeated
            ],
        )


def _takes_many(field: Any) -> bool:
    """Return whether the framework's `field` is a list, or a list or nothing."""
    annotation = field.field_info.annotation
    return any(get_origin(kind) is list for kind in (annotation, *get_args(annotation)))
