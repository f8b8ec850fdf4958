"""`regex_extract`: what one or more patterns find in a text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import regex
from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema

from callboard.core.errors import Finding
from callboard.core.json_values import JsonValue
from callboard.workflows.config_rules import RuledConfig
from callboard.workflows.findings import suggest
from callboard.workflows.references import describe_type
from callboard.workflows.transforms.allowance import Allowance
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.patterns import compile_pattern, find_all, search


def _read_pattern(text: Any) -> regex.Pattern[str]:
    if not isinstance(text, str):
        raise ValueError(f"a pattern is text, not {describe_type(text)}")
    if not text:
        raise ValueError("a pattern is not empty: an empty one would match everywhere")
    return compile_pattern(text)


def _read_group(group: Any) -> int | str:
    if isinstance(group, bool) or not isinstance(group, int | str) or (isinstance(group, int) and group < 0):
        raise ValueError('"group" is the number of a group (0 for the whole match) or its name')
    return group


_Pattern: TypeAlias = Annotated[
    regex.Pattern[str], PlainValidator(_read_pattern), WithJsonSchema({"type": "string", "minLength": 1})
]
_Group: TypeAlias = Annotated[
    int | str,
    PlainValidator(_read_group),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
]


class RegexExtractConfig(RuledConfig):
    """`pattern`, or `patterns` ({name: pattern}). `group`: number or name. `all_matches`: a list of every match."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: _Pattern | None = Field(None, description="One regular expression.")
    patterns: dict[str, _Pattern] = Field(
        default_factory=dict, min_length=1, description="Several by name, for an object of what each finds."
    )
    group: _Group = Field(0, description="What is taken of a match: 0 is all of it; else a group's number or name.")
    all_matches: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="A list of every match instead of the first one."
    )

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield where there is one pattern and several, and where there is none."""
        if "pattern" in given and "patterns" in given:
            yield "patterns", 'Give "pattern" (one) or "patterns" (several by name), not both.'
        elif "pattern" not in given and "patterns" not in given:
            yield "", 'Give a "pattern", or "patterns" by name.'


class RegexExtract(Transform):
    """Gives the first match of `pattern` as text, or null; with `patterns`, an object of such by name.

    `all_matches` gives the list of every match instead, empty where there is none. `group` says which part of
    a match is taken: 0 is all of it; a group that took no part in the match is null. `^` and `$` stand at
    every line, and `.` takes line ends too. Of a list of texts it gives the list of what each one gives. In
    null nothing matches.
    """

    operation = "regex_extract"
    config_model = RegexExtractConfig
    runs_in_thread = True  # a short text may hold a search up for its whole second

    def check(self, config: RegexExtractConfig, markdown_schemas: Mapping[str, Mapping[str, Any]]) -> Sequence[Finding]:
        del markdown_schemas
        fault = _group_fault(config)
        return () if fault is None else (Finding(pointer="/group", message=fault, code="unknown_group"),)

    def apply(self, value: JsonValue, config: RegexExtractConfig, tools: TransformTools) -> JsonValue:
        fault = _group_fault(config)  # references may have brought pattern or group
        if fault is not None:
            raise TransformError(fault)
        if not isinstance(value, list):
            return _extract(value, config, tools.allowance, place="its input")
        return [
            _extract(text, config, tools.allowance, place=f"item [{index}]")
            for index, text in enumerate(tools.allowance.watch(value))
        ]


def _group_fault(config: RegexExtractConfig) -> str | None:
    """Return what is wrong where one of the patterns has no such group, else None."""
    patterns = config.patterns if config.pattern is None else {"": config.pattern}
    for name, pattern in patterns.items():
        if config.group in pattern.groupindex or (isinstance(config.group, int) and config.group <= pattern.groups):
            continue
        subject = f'The pattern "{name}"' if name else "The pattern"
        if isinstance(config.group, int):
            count = "1 group" if pattern.groups == 1 else f"{pattern.groups or 'no'} groups"
            return f"{subject} has {count}, so there is no group {config.group}; a group is a part in brackets."
        hint = suggest(config.group, pattern.groupindex, what="Its groups:") or " A group is named by (?P<name>...)."
        return f'{subject} has no group "{config.group}".{hint}'
    return None


def _extract(value: JsonValue, config: RegexExtractConfig, allowance: Allowance, *, place: str) -> JsonValue:
    if value is not None and not isinstance(value, str):
        raise TransformError(
            f"regex_extract takes text or a list of texts, and {place} is {describe_type(value)}; "
            "of an llm step the text is `${steps.<id>.content}`."
        )
    text = value or ""
    if config.pattern is not None:
        return _find(config.pattern, text, config, allowance, is_null=value is None)
    return {
        name: _find(pattern, text, config, allowance, is_null=value is None)
        for name, pattern in allowance.watch(config.patterns.items())
    }


def _find(
    pattern: regex.Pattern[str], text: str, config: RegexExtractConfig, allowance: Allowance, *, is_null: bool
) -> JsonValue:
    if is_null:
        return [] if config.all_matches else None
    if not config.all_matches:
        match = search(pattern, text)
        return None if match is None else match.group(config.group)
    found = []
    for match in allowance.watch(find_all(pattern, text)):
        start, end = match.span(config.group)
        allowance.take_chars(end - start + 1)  # counted before it is copied
        found.append(match.group(config.group))
    return found
