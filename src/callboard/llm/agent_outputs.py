"""What an agent's answer is to be: text, a Pydantic model, or JSON that fits a schema.

Called by `agents.py`, which asks `reader_of` for the reader of an agent's `output_type`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jsonschema_rs
import orjson
from pydantic import BaseModel, ValidationError

from callboard.core.json_values import JsonValue
from callboard.llm.json_answers import NotJsonError, read_json_answer

MAX_MISTAKES = 20  # of an answer that does not fit: more would not help a model
MAX_MISTAKE_CHARACTERS = 300  # a validator quotes the value, which may be all of the answer


class MisfitError(ValueError):
    """The answer is not of the type that was asked for. `mistakes` has a line for each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistake[:MAX_MISTAKE_CHARACTERS] for mistake in mistakes[:MAX_MISTAKES])
        super().__init__("; ".join(self.mistakes))


class OutputReader(Protocol):
    """How an answer is asked for and read."""

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema that the model is told, or None where any text will do."""
        ...

    def read(self, content: str) -> Any:
        """Return what the answer says. Raises: MisfitError."""
        ...


def reader_of(output_type: object) -> OutputReader:
    """Return the reader for `str`, a Pydantic model or a JSON Schema.

    Raises: TypeError, when it is none of them; ValueError, for a schema that cannot be used.
    """
    if output_type is str:
        return _TextReader()
    if isinstance(output_type, type) and issubclass(output_type, BaseModel):
        return _ModelReader(output_type)
    if isinstance(output_type, Mapping):
        return _SchemaReader(output_type)
    raise TypeError(f"an output_type is str, a Pydantic model or a JSON Schema, not {output_type!r}")


class _TextReader:
    schema = None

    def read(self, content: str) -> str:
        return content


class _ModelReader:
    def __init__(self, model: type[BaseModel]) -> None:
        self.schema: Mapping[str, Any] = model.model_json_schema()
        self._model = model

    def read(self, content: str) -> BaseModel:
        value = _read_json(content)
        try:
            return self._model.model_validate_json(orjson.dumps(value))  # as JSON: dates and enums come as text
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False)
            raise MisfitError([_describe(fault["loc"], fault["msg"]) for fault in faults]) from error


class _SchemaReader:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema: Mapping[str, Any] = dict(schema)
        self._validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse)

    def read(self, content: str) -> JsonValue:
        value = _read_json(content)
        mistakes = [_describe(error.instance_path, error.message) for error in self._validator.iter_errors(value)]
        if mistakes:
            raise MisfitError(mistakes)
        return value


def _read_json(content: str) -> JsonValue:
    try:
        return read_json_answer(content)
    except NotJsonError as error:
        raise MisfitError([error.message]) from error


def _describe(place: Sequence[str | int], message: str) -> str:
    where = "".join(f"/{part}" for part in place)
    return f"{where or 'the answer'}: {message}"


def _refuse(uri: str) -> JsonValue:
    raise ValueError(f"{uri} is not fetched; put what it means under $defs")
