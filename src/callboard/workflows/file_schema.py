"""The JSON Schema of the workflow format, made from the models that read the files: for editors and for CI.

Called by `Workbench.file_schema`. It takes what the reader takes, short forms too; what only a run can know (a
reference in the place of a number) passes. `docs/workflow.schema.json` is its output for what ships.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import AliasChoices, BaseModel, BeforeValidator

from callboard.workflows.definition import StepDefinition, WorkflowDefinition
from callboard.workflows.short_forms import CONTAINER_KEYS
from callboard.workflows.steps.base import STEPS_MARK
from callboard.workflows.steps.registry import StepRegistry

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_STEP = {"$ref": "#/$defs/StepDefinition"}
_REFERENCE = {"$ref": "#/$defs/Reference"}
_SECONDS = ("timeout_seconds", "timeout")  # one call's on most steps, the whole wait's on those that wait
_ANNOTATIONS = frozenset({"description", "title", "default", "examples"})
_TYPE_HELP = {
    "llm": "A prompt, answered by a language model.",
    "external_api": "One call of an outside service.",
    "transform": "One operation on a value; nothing is called.",
    "conditional": "One branch of several, by a condition.",
    "parallel": "Branches side by side, or a loop over a list.",
    "approval": "A person's answer, however long it takes.",
    "wait": "A time, or a signal from outside.",
    "workflow": "Another workflow of the same folder, run in the place of the step.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatParts:
    """What a process knows beside the step types: operations of transforms, and methods of services."""

    operations: Mapping[str, type[BaseModel]]
    methods: Mapping[str, Mapping[str, type[BaseModel]]]


def build_file_schema(registry: StepRegistry, parts: FormatParts) -> Schema:
    """Return the JSON Schema (2020-12) of workflow files with these step types, operations and services."""
    return _Builder(registry, parts).build()


class _Builder:
    """Gathers the definitions of one schema."""

    def __init__(self, registry: StepRegistry, parts: FormatParts) -> None:
        self._registry = registry
        self._parts = parts
        self._definitions: dict[str, Schema] = {}

    def build(self) -> Schema:
        top = self._schema_of(WorkflowDefinition)
        step = self._definitions["StepDefinition"]
        top["properties"] |= _short_forms_of_file()
        top["properties"]["steps"] |= {"minItems": 1}
        self._complete_step(step)
        self._definitions["Reference"] = {
            "type": "string",
            "pattern": r"\$\{",
            "description": "Text with a reference, filled in when the step runs: ${input.x}, ${steps.ID.output}.",
        }
        return {
            "$schema": DIALECT,
            "title": "Callboard workflow",
            "description": "A workflow: steps that run in order, in one JSON file.",
            **{key: value for key, value in top.items() if key not in {"title", "description"}},
            "$defs": dict(sorted(self._definitions.items())),
        }

    def _complete_step(self, step: Schema) -> None:
        properties = step["properties"]
        properties["type"] = {
            "description": "What the step does.",
            "oneOf": [{"const": kind, "description": _TYPE_HELP.get(kind, "")} for kind in self._registry.types],
        }
        properties |= _short_forms_of_step(properties)
        of_steps = {name: properties[name] for name in _SECONDS}  # of each type another limit: see `_rules_for`
        properties |= {name: _annotations_of(about) for name, about in of_steps.items()}
        step["allOf"] = []
        for kind in self._registry.types:
            config = self._schema_of(self._registry.get(kind).config_model)
            config["properties"] |= {
                name: {**properties[name], "description": f"The same as {name} on the step, whose own wins."}
                for name in ("error_mode", "default_value")
            }
            self._complete_config(kind, config)
            self._definitions[f"{kind}_config"] = config
            own = CONTAINER_KEYS.get(kind, frozenset())
            for name in sorted(own):
                properties.setdefault(name, {})
            step["allOf"].append(_when("type", kind, _rules_for(kind, config, own, of_steps)))

    def _complete_config(self, kind: str, config: Schema) -> None:
        if kind == "transform":
            config["properties"]["operation"] |= {"enum": sorted(self._parts.operations)}
            config["allOf"] = [self._rule_for_operation(*item) for item in sorted(self._parts.operations.items())]
        elif kind == "external_api":
            config["properties"]["service"] |= {"enum": sorted(self._parts.methods)}
            config["allOf"] = [self._rule_for_service(*item) for item in sorted(self._parts.methods.items())]
        if CONTAINER_KEYS.get(kind):
            config.pop("required", None)  # it may stand on the step

    def _rule_for_operation(self, operation: str, model: type[BaseModel]) -> Schema:
        name = f"{operation}_operation"
        schema = _allow_references(self._schema_of(model))
        schema["properties"]["source"] = {"description": "The same as `input` of the step."}
        self._definitions[name] = schema
        needs_config = ["config"] if "required" in schema or "anyOf" in schema else []
        return _when("operation", operation, {"properties": {"config": _ref(name)}, "required": needs_config})

    def _rule_for_service(self, service: str, methods: Mapping[str, type[BaseModel]]) -> Schema:
        names = {"enum": sorted(methods)}
        rules = []
        for method, model in sorted(methods.items()):
            name = f"{service}_{method}_parameters"
            self._definitions[name] = schema = _allow_references(self._schema_of(model))
            needed = ["parameters"] if "required" in schema else []
            then = {"properties": {"parameters": _ref(name)}, "required": needed}
            rules += [_when("method", method, then), _when("operation", method, then)]
        return _when("service", service, {"properties": {"method": names, "operation": names}, "allOf": rules})

    def _schema_of(self, model: type[BaseModel]) -> Schema:
        schema = model.model_json_schema(ref_template="#/$defs/{model}")
        for name, definition in schema.pop("$defs", {}).items():
            self._definitions.setdefault(name, _with_steps(definition))
        return _with_aliases(_with_open_fields(_with_steps(schema), model), model)


def _short_forms_of_file() -> Schema:
    return {
        "inputs": {
            "type": "array",
            "description": "The short form of input_schema: one object for each input.",
            "items": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "type": {"type": "string", "description": "string, integer, number, boolean, object, array, ..."},
                    "description": {"type": "string"},
                    "required": {"type": "boolean"},
                    "default": {"description": "What the input is where it is left out."},
                },
            },
        },
        "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "The short form of timeout_seconds."},
    }


def _short_forms_of_step(properties: Mapping[str, Any]) -> Schema:
    return {
        "timeout": {**properties["timeout_seconds"], "description": "The short form of timeout_seconds."},
        "retry_count": {"type": "integer", "description": "The short form of retry: attempts after the first."},
        "retry_delay": {"type": "number", "description": "The short form of retry.delay_seconds."},
        "retry_config": {
            "type": "object",
            "description": "The short form of retry: max_retries, delay, backoff, max_delay.",
        },
    }


def _rules_for(kind: str, config: Schema, own: frozenset[str], of_steps: Schema) -> Schema:
    """Return what a step of the type must look like: its config, and which containers' keys it may carry.

    `of_steps` are the fields that every step may have, and that some types take as their own.
    """
    others = frozenset().union(*CONTAINER_KEYS.values()) - own - StepDefinition.model_fields.keys()
    properties: Schema = {"config": _ref(f"{kind}_config")}
    properties |= {name: config["properties"][name] for name in sorted(own)}
    if own & of_steps.keys():
        properties |= dict.fromkeys(of_steps, config["properties"]["timeout_seconds"])
    else:
        properties |= {name: _without_annotations(about) for name, about in of_steps.items()}
    properties |= dict.fromkeys(sorted(others), False)
    needs_config = "oneOf" in config or (bool(config.get("required") or config.get("anyOf")) and not own)
    return {"properties": properties, "required": ["config"] if needs_config else []}


def _when(name: str, value: str, then: Schema) -> Schema:
    if not then.get("required", True):
        then = {key: rule for key, rule in then.items() if key != "required"}
    return {"if": {"properties": {name: {"const": value}}, "required": [name]}, "then": then}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _with_steps(schema: Any) -> Any:
    """Return `schema` with the schema of a step wherever a model says that steps stand there."""
    if isinstance(schema, dict):
        return _STEP if schema == STEPS_MARK else {key: _with_steps(child) for key, child in schema.items()}
    return [_with_steps(child) for child in schema] if isinstance(schema, list) else schema


def _with_aliases(schema: Schema, model: type[BaseModel]) -> Schema:
    """Return `schema` with every name under which `model` takes a field, not the first alone."""
    choices: list[Schema] = []
    for names in _names_of_fields(model):
        properties, required = schema["properties"], schema.get("required", [])
        for other in names[1:]:
            properties[other] = {**properties[names[0]], "description": f"The same as {names[0]}."}
        if names[0] in required:
            schema["required"] = [name for name in required if name != names[0]]
            choices.append({"anyOf": [{"required": [name]} for name in names]})
    if choices:
        schema["allOf"] = [*schema.get("allOf", []), *choices]
    return schema


def _with_open_fields(schema: Schema, model: type[BaseModel]) -> Schema:
    """Return `schema` with any value for the fields that `model` rewrites before it looks at them.

    What it looks for then is still there, as the first choice: editors offer it.
    """
    decorators = model.__pydantic_decorators__.field_validators.values()
    rewritten = {name for each in decorators if each.info.mode != "after" for name in each.info.fields}
    for name, field in model.model_fields.items():
        shown = field.alias or name
        is_open = name in rewritten or _is_rewritten(Annotated[field.annotation, *field.metadata, None])
        if is_open and shown in schema["properties"]:
            about = schema["properties"][shown]
            schema["properties"][shown] = {**_annotations_of(about), "anyOf": [_without_annotations(about), {}]}
    return schema


def _is_rewritten(annotation: Any) -> bool:
    metadata = getattr(annotation, "__metadata__", ())
    if any(isinstance(each, BeforeValidator) for each in metadata):
        return True
    return any(_is_rewritten(argument) for argument in get_args(annotation) if argument is not None)


def _names_of_fields(model: type[BaseModel]) -> Iterator[Sequence[str]]:
    for field in model.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            yield [str(choice) for choice in field.validation_alias.choices]


def _allow_references(schema: Schema) -> Schema:
    """Return `schema` with text that holds a reference allowed in the place of every value."""
    properties = {name: _or_reference(about) for name, about in schema.get("properties", {}).items()}
    return {**schema, "properties": properties}


def _or_reference(schema: Schema) -> Schema:
    rest = _without_annotations(schema)
    if not rest or rest == {"type": "string"}:
        return schema
    choices = rest["anyOf"] if set(rest) == {"anyOf"} else [rest]
    return {**_annotations_of(schema), "anyOf": [*choices, _REFERENCE]}


def _annotations_of(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key in _ANNOTATIONS}


def _without_annotations(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
