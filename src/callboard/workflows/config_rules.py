"""Rules about several fields of one object, each told at a field, and together with what else is wrong.

Configs of step kinds and operations are models of this kind; `shape_faults.py` words what they refuse. A
plain model validator is not asked where a field has a fault, and points at the whole object.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

BROKEN_RULE = "broken_rule"  # Pydantic's type of what is told here


class RuledConfig(BaseModel):
    """A model whose fields depend on each other."""

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each broken rule: the field to point at, and what to do about it.

        `given` is what was written; its fields may have faults of their own, which are told beside this. The
        field is "" where something is missing: that is left out where an unknown field may be what was meant.
        """
        raise NotImplementedError

    @model_validator(mode="wrap")
    @classmethod
    def _tell_together(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, dict):
            return validate(given)
        broken = list(cls.broken_rules(given))
        lines: list[InitErrorDetails] = []
        try:
            model = validate(given)
        except ValidationError as error:
            lines += _lines_of(error)
        has_unknown = any(line["type"] == "extra_forbidden" for line in lines)
        lines += [_line(field, message, given) for field, message in broken if field or not has_unknown]
        if lines:
            raise ValidationError.from_exception_data(cls.__name__, lines)
        return model


def _line(field: str, message: str, given: Mapping[str, Any]) -> InitErrorDetails:
    told = PydanticCustomError(BROKEN_RULE, "{message}", {"message": message})
    return InitErrorDetails(type=told, loc=(field,) if field else (), input=given.get(field, given))


def _lines_of(error: ValidationError) -> Iterator[InitErrorDetails]:
    for line in error.errors(include_url=False):
        if line["type"] == BROKEN_RULE:
            told = PydanticCustomError(BROKEN_RULE, "{message}", {"message": line["msg"]})  # of an object inside
            yield InitErrorDetails(type=told, loc=line["loc"], input=line["input"])
        else:
            yield InitErrorDetails(type=line["type"], loc=line["loc"], input=line["input"], ctx=line.get("ctx", {}))
