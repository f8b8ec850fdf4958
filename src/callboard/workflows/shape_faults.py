"""What Pydantic refused of a workflow file, as findings in the words of the format: one per mistake.

Called by `definition.py` for the file and its steps, and by the compiler for what stands in `config`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from callboard.core.json_values import JsonValue
from callboard.workflows.config_rules import BROKEN_RULE
from callboard.workflows.findings import WorkflowFinding, nearest_name, pointer_of, suggest
from callboard.workflows.short_forms import Place, describe_kind

# what people write for a field, by habit of other tools -> the fields that it may stand for here
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("step_id", "stepId", "key"), ("id",)),
    **dict.fromkeys(("step_type", "kind"), ("type",)),
    "name": ("id", "display_name"),
    "title": ("display_name", "name"),
    "label": ("display_name",),
    **dict.fromkeys(("condition", "if", "run_if", "only_if"), ("when", "condition")),
    "expression": ("condition",),
    **dict.fromkeys(("on_error", "on_failure", "error_handling"), ("error_mode", "default_error_mode")),
    **dict.fromkeys(("fallback_value", "default"), ("default_value",)),
    **dict.fromkeys(("retries", "max_retries"), ("retry", "max_attempts")),
    "attempts": ("max_attempts",),
    **dict.fromkeys(("params", "arguments", "args"), ("parameters",)),
    "options": ("config", "parameters"),
    "prompt": ("prompt_text",),
    "text": ("prompt_text", "query"),
    **dict.fromkeys(("prompt_file", "template"), ("prompt_template", "template")),
    "system": ("system_prompt",),
    "messages": ("user_message",),
    **dict.fromkeys(("response_format", "json_schema"), ("output_schema",)),
    **dict.fromkeys(("fallback", "fallback_models"), ("fallbacks",)),
    "vars": ("variables",),
    "then": ("if_true",),
    **dict.fromkeys(("else", "otherwise"), ("if_false", "default")),
    **dict.fromkeys(("foreach", "forEach", "items", "loop", "over"), ("for_each",)),
    "concurrency": ("max_concurrency",),
    **dict.fromkeys(("output", "result"), ("outputs",)),
    "steps_list": ("steps",),
    **dict.fromkeys(("tasks", "stages", "nodes"), ("steps",)),
    "schema": ("output_schema", "input_schema", "form_schema", "schema"),
    **dict.fromkeys(("constants", "variables"), ("context",)),
    "action": ("operation", "method"),
    **dict.fromkeys(("data", "payload"), ("input", "json")),
    "api": ("service",),
    **dict.fromkeys(("delay", "initial_delay", "wait"), ("delay_seconds",)),
    **dict.fromkeys(("backoff", "multiplier"), ("backoff_multiplier",)),
    "max_delay": ("max_delay_seconds",),
    **dict.fromkeys(("city", "place"), ("location", "q")),
    **dict.fromkeys(("by", "sort_by", "order_by", "sort_key"), ("key",)),
    **dict.fromkeys(("order", "desc", "descending", "direction"), ("reverse",)),
    **dict.fromkeys(("delimiter", "sep", "glue"), ("separator",)),
    **dict.fromkeys(("regex", "regexp"), ("pattern",)),
    **dict.fromkeys(("expr", "filter"), ("expression", "condition")),
    **dict.fromkeys(("all", "global", "find_all"), ("all_matches",)),
    **dict.fromkeys(("form", "fields", "answer_schema"), ("form_schema",)),
    **dict.fromkeys(("message", "question", "body"), ("instructions",)),
    **dict.fromkeys(("quorum", "min_answers", "approvals"), ("required_answers",)),
    **dict.fromkeys(("duration", "duration_seconds", "sleep"), ("seconds",)),
    **dict.fromkeys(("signal", "signal_name", "event_name"), ("event",)),
}
_ON_STEPS = frozenset(
    {"when", "error_mode", "default_value", "retry", "timeout_seconds", "outputs", "display_name", "description"}
)
IN_CONFIG = frozenset(
    {
        *("provider", "model", "prompt_template", "prompt_text", "system_prompt", "system_template", "user_message"),
        *("variables", "temperature", "max_tokens", "top_p", "stream", "output_schema", "fallbacks", "cache_ttl"),
        *("service", "method", "parameters", "operation", "input", "source"),
        *("instructions", "form_schema", "required_answers", "on_timeout", "seconds", "until", "event"),
    }
)
_IN_PARAMETERS = frozenset({"url", "headers", "query", "body", "json"})

_KINDS = {
    "string_type": "text",
    "string_sub_type": "text",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "mapping_type"), "an object"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), "a list"),
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_SIZES = {
    "too_short": ("min_length", "at least {} in it"),
    "too_long": ("max_length", "at most {} in it"),
    "string_too_short": ("min_length", "at least {} characters"),
    "string_too_long": ("max_length", "at most {:,} characters"),
}
_REFERENCE_PATTERN = r"^\$\{.*\}$"
_KEY_LABEL = "[key]"  # of Pydantic, for a key that is refused
_NUMERIC = re.compile(r"\s*-?\d+(\.\d+)?\s*")
_WORD = re.compile(r"[a-z]+ ")
_SHOWN_CHARS = 80  # of a wrong value, in messages

PATTERN_RULES: dict[str, str] = {}  # a pattern in words; `definition.py` fills in its own


def findings_of(
    error: ValidationError,
    raw: JsonValue,
    *,
    model: type[BaseModel],
    pointer: str,
    moved: Mapping[Place, Place] | None = None,
) -> list[WorkflowFinding]:
    """Return what `model` refused of `raw` as findings below `pointer`, each with the nearest right name.

    `moved` maps the places of folded short forms to where they stand in the file. A field that is missing
    because its name is misspelt is told once, and so is a value that fits none of several types.
    """
    by_place: dict[Place, list[Mapping[str, Any]]] = {}
    for fault in error.errors(include_url=False):
        by_place.setdefault(_place_in(raw, fault["loc"]), []).append(fault)
    missing = {place for place, faults in by_place.items() if faults[0]["type"] == "missing"}
    findings: list[WorkflowFinding] = []
    told: set[Place] = set()
    for place, faults in by_place.items():
        if faults[0]["type"] == "extra_forbidden":
            holder = _value_at(raw, place[:-1])
            siblings = {str(each[-1]) for each in missing if each[:-1] == place[:-1]}
            message, meant = _word_unknown(str(place[-1]), holder, model, place[:-1], missing=siblings)
            if meant is None and len(siblings) == 1:
                (meant,) = siblings
                message = f'{message} The field "{meant}" is missing.'
            told |= {(*place[:-1], meant)} if meant is not None else set()
            findings.append(_finding(message, "unknown_field", place, pointer, moved))
    for place, faults in by_place.items():
        if place in told or faults[0]["type"] == "extra_forbidden":
            continue
        message, code = _word_faults(faults, _as_written(place, moved or {}))
        code = "bad_key" if faults[0]["loc"][-1:] == (_KEY_LABEL,) else code
        findings.append(_finding(message, code, place, pointer, moved))
    return findings


def meant_field(name: str, known: Collection[str], *, missing: Collection[str] = ()) -> str | None:
    """Return the one of `known` that was meant by the unknown field `name`; one that is missing goes first.

    >>> meant_field("step_id", ["id", "type"]), meant_field("tpye", ["id", "type"]), meant_field("zzz", ["id"])
    ('id', 'type', None)
    """
    candidates = [each for each in _SYNONYMS.get(name, ()) if each in known]
    first = next((each for each in candidates if each in missing), None)
    return first or nearest_name(name, missing) or next(iter(candidates), None) or nearest_name(name, known)


def _finding(
    message: str, code: str, place: Place, pointer: str, moved: Mapping[Place, Place] | None
) -> WorkflowFinding:
    return WorkflowFinding(
        pointer=pointer_of(*_as_written(place, moved or {}), base=pointer), message=message, code=code
    )


def _place_in(raw: JsonValue, location: Place) -> Place:
    """Return `location` without the labels that Pydantic adds for branches of a union."""
    place: list[str | int] = []
    for index, part in enumerate(location):
        if part == _KEY_LABEL:
            break
        is_item = isinstance(raw, list | tuple) and isinstance(part, int) and part < len(raw)
        if is_item or (isinstance(raw, dict) and part in raw):
            raw = raw[part]
        elif not (isinstance(raw, dict) and index == len(location) - 1):
            continue
        place.append(part)
    return tuple(place)


def _value_at(raw: JsonValue, place: Place) -> JsonValue:
    for part in place:
        raw = raw[part]
    return raw


def _as_written(place: Place, moved: Mapping[Place, Place]) -> Place:
    for length in range(len(place), 0, -1):
        origin = moved.get(place[:length])
        if origin is not None:
            return (*origin, *place[length:])
    return place


def _word_unknown(
    name: str, holder: JsonValue, model: type[BaseModel], place: Place, *, missing: Collection[str]
) -> tuple[str, str | None]:
    """Return the message about an unknown field, and the missing field that was meant by it."""
    names = _fields_at(model, place)
    known = {each[0] for each in names}
    is_step = {"id", "type", "config"} <= known
    start = f'Unknown field "{name[:_SHOWN_CHARS]}".'
    if is_step and name in IN_CONFIG:
        return f'{start} It belongs into the step\'s "config".', None
    if is_step and name in _IN_PARAMETERS:
        return f'{start} It belongs into "parameters" in the step\'s "config".', None
    if not is_step and name in _ON_STEPS and "id" not in known:
        is_choice = name == "when" and "if_true" in known
        own = ' The condition that chooses a branch is called "condition".' if is_choice else ""
        return f'{start} It belongs on the step itself, beside "config".{own}', None
    twice = next((each[0] for each in names if name in each), None)
    if twice is not None:
        return f'"{name}" says the same as "{twice}", and both are given; keep one.', None
    meant = meant_field(name, known, missing=missing)
    if meant is None:
        if {"operation", "config"} <= known:
            return f'{start} What the operation itself takes stands in a "config" of its own, in this one.', None
        return f"{start}{suggest(name, known, what='Known fields:')}", None
    if isinstance(holder, dict) and meant in holder:
        return f'{start} "{meant}" is there too; remove this one.', None
    return f'{start} Did you mean "{meant}"?', meant


def _word_faults(faults: Sequence[Mapping[str, Any]], place: Place) -> tuple[str, str]:
    """Return message and code for what is wrong at one place: one sentence, also where several types were tried."""
    name = _name_of(place)
    telling = [fault for fault in faults if not _is_about_kind(fault)]
    if telling and (len(faults) == 1 or not isinstance(faults[0]["input"], str)):
        return _word_fault(telling[0], name)
    kinds = list(dict.fromkeys(filter(None, map(_kind_of, faults))))
    if not kinds:
        return _word_fault(faults[0], name)
    return _word_kind(name, kinds, faults[0]["input"]), "shape"


def _is_about_kind(fault: Mapping[str, Any]) -> bool:
    return _kind_of(fault) is not None


def _kind_of(fault: Mapping[str, Any]) -> str | None:
    if fault["type"] == "string_pattern_mismatch" and fault["ctx"]["pattern"] == _REFERENCE_PATTERN:
        return "one reference ${...}"
    return _KINDS.get(fault["type"])


def _word_kind(name: str, kinds: Sequence[str], value: JsonValue) -> str:
    subject = _subject(name)
    shown = f' ("{value[:30]}")' if isinstance(value, str) else ""
    hint = ""
    is_number = isinstance(value, str) and _NUMERIC.fullmatch(value) and any("number" in kind for kind in kinds)
    is_boolean = isinstance(value, str) and value in {"true", "false"} and "true or false" in kinds
    if is_number or is_boolean:
        hint = " Write it without quotes."
    elif "a list" in kinds and isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()):
        hint = " Write [{...}, {...}], without keys before the objects."
    elif "a list" in kinds:
        hint = " Put it into [ ]."
    elif "text" in kinds and isinstance(value, int | float):
        hint = " Write it in double quotes."
    return f"{subject} must be {' or '.join(kinds)}, not {describe_kind(value)}{shown}.{hint}"


def _word_fault(fault: Mapping[str, Any], name: str) -> tuple[str, str]:
    kind, context, given = fault["type"], fault.get("ctx", {}), fault["input"]
    if kind == "missing":
        return f'The field "{name}" is missing.', "missing_field"
    if kind == "string_pattern_mismatch":
        rule = PATTERN_RULES.get(context["pattern"], f"it must match {context['pattern']}")
        return f"{str(given)[:_SHOWN_CHARS]!r} is not a valid {name}: {rule}.", "shape"
    if kind in {"enum", "literal_error"}:
        allowed = re.findall(r"'([^']*)'", context["expected"])
        hint = f' Did you mean "{near}"?' if (near := nearest_name(str(given), allowed)) else ""
        return f"{str(given)[:_SHOWN_CHARS]!r} is not a valid {name}: use {context['expected']}.{hint}", "shape"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{_subject(name)} must be {words} {context[key]:,.12g}; this is {given}.", "shape"
    if kind in _SIZES:
        key, words = _SIZES[kind]
        return f"{_subject(name)} must have {words.format(context[key])}.", "shape"
    if kind == "value_error":
        return _as_sentence(str(context["error"])), "shape"
    if kind == BROKEN_RULE:
        return _as_sentence(fault["msg"]), "shape"
    return _as_sentence(f"{_subject(name)}: {fault['msg']}"), "shape"


def _name_of(place: Place) -> str:
    """Return what stands at `place` as messages call it: the field, or the item of a field."""
    if len(place) > 1 and isinstance(place[-1], int):
        return f"{place[-2]}[{place[-1]}]"
    return str(place[-1]) if place else ""


def _subject(name: str) -> str:
    return f'"{name}"' if name else "This"


def _as_sentence(text: str) -> str:
    """Return `text` with a capital, unless it begins with a name or a value, and with a full stop."""
    sentence = text[:1].upper() + text[1:] if _WORD.match(text) else text
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def _fields_at(model: type[BaseModel], place: Place) -> set[tuple[str, ...]]:
    """Return every field of what stands at `place`, each by all of its names, the first of them the usual one."""
    models: Iterable[type[BaseModel]] = {model}
    for part in place:
        if isinstance(part, str):
            models = {found for each in models for found in _models_of_field(each, part)}
    return {_names_of(name, field) for each in models for name, field in each.model_fields.items()}


def _names_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(choice for choice in alias.choices if isinstance(choice, str))
    return (alias if isinstance(alias, str) else field.alias or name,)


def _models_of_field(model: type[BaseModel], name: str) -> set[type[BaseModel]]:
    for field_name, field in model.model_fields.items():
        if name in {field_name, field.alias}:
            return _models_in(field.annotation)
    return set()


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for argument in get_args(annotation) for found in _models_in(argument)}
