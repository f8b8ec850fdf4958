"""Workflow files as they are read from disk: the definition with the prompts and Markdown schemas it names.

The catalogue reads the files of WORKFLOWS_DIR with it, commands such as `callboard run FILE` any file. A
broken file is returned with all its findings, not raised.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from callboard.core.json_values import JsonValue, find_unstorable
from callboard.workflows.bundles import Bundle
from callboard.workflows.definition import WorkflowDefinition, read_definition
from callboard.workflows.errors import InvalidPromptError
from callboard.workflows.findings import WorkflowFinding, pointer_of, suggest
from callboard.workflows.prompts import FolderPrompts, compile_prompt, load_prompt

BundleCheck: TypeAlias = Callable[[Bundle], Sequence[WorkflowFinding]]

MAX_FILE_BYTES = 5_000_000
TEST_SUFFIX = ".test.json"  # recorded tests stand beside the workflows that they test

PROMPT_FIELDS = frozenset({"prompt_template", "system_template"})  # name a prompt file
PROMPT_TEXT_FIELDS = frozenset({"prompt_text", "system_prompt", "user_message"})  # hold text that may include one
BUILT_IN_MARKDOWN_SCHEMAS = frozenset({"sections", "tables", "lists", "key_values", "auto"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWorkflow:
    """A workflow that can be submitted. `raw` is its file as parsed; `warnings` keep it from nothing."""

    definition: WorkflowDefinition
    raw: dict[str, Any]
    path: Path
    prompts: Mapping[str, str] = field(default_factory=dict)
    markdown_schemas: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    warnings: tuple[WorkflowFinding, ...] = ()

    @property
    def name(self) -> str:
        return self.definition.name

    def bundle(self, defaults: Mapping[str, Any]) -> Bundle:
        """Return all that a run reads. `defaults` = {provider, model, model_aliases}, resolved by the caller."""
        return Bundle(
            definition=self.raw,
            prompts=dict(self.prompts),
            markdown_schemas=dict(self.markdown_schemas),
            defaults=dict(defaults),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenWorkflow:
    """A file that cannot be submitted, and why. `name` is what it calls itself, or else its file name."""

    name: str
    path: Path
    findings: tuple[WorkflowFinding, ...]


class WorkflowFileReader:
    """Reads workflow files, each with all that it names. `check` compiles a bundle and tells what is wrong."""

    def __init__(self, prompts_dir: Path, markdown_schemas_dir: Path, *, check: BundleCheck = lambda _: ()) -> None:
        self._prompts, self._schemas_dir, self._check = FolderPrompts(prompts_dir), markdown_schemas_dir, check

    @property
    def shared_folders(self) -> tuple[Path, Path]:
        """The folders whose files any workflow may use."""
        return self._prompts.root, self._schemas_dir

    def read(self, path: Path) -> LoadedWorkflow | BrokenWorkflow:
        """Return the workflow in `path`, or every fault that it has."""
        raw, fault = _read_json(path, "workflow file")
        if fault is not None:
            return BrokenWorkflow(name=path.stem, path=path, findings=(fault,))
        read = read_definition(raw)
        prompts, schemas, findings = self._gather(raw)
        if read.definition is None or not isinstance(raw, dict):
            findings = [*read.findings, *findings]
        else:
            bundle = Bundle(definition=raw, prompts=prompts, markdown_schemas=schemas)
            findings = _merge(findings, [*self._check(bundle), *read.findings])
        findings = [finding.in_file(path.name) for finding in findings]
        if read.definition is None or any(finding.is_error for finding in findings):
            return BrokenWorkflow(name=_name_in(raw, path), path=path, findings=tuple(findings))
        return LoadedWorkflow(
            definition=read.definition,
            raw=raw,
            path=path,
            prompts=prompts,
            markdown_schemas=schemas,
            warnings=tuple(findings),
        )

    def _gather(self, raw: JsonValue) -> tuple[dict[str, str], dict[str, dict[str, Any]], list[WorkflowFinding]]:
        """Return the prompt files and Markdown schemas that `raw` names, and what could not be read of them."""
        prompts: dict[str, str] = {}
        schemas: dict[str, dict[str, Any]] = {}
        findings: list[WorkflowFinding] = []
        for pointer, item in _objects_in(raw):
            for name in sorted(PROMPT_FIELDS & item.keys()):
                if isinstance(item[name], str):
                    findings += self._gather_prompt(item[name], pointer_of(name, base=pointer), prompts)
            for name in sorted(PROMPT_TEXT_FIELDS & item.keys()):
                if isinstance(item[name], str) and "include:" in item[name]:
                    findings += self._gather_includes(item[name], pointer_of(name, base=pointer), prompts)
            if item.get("operation") == "markdown_to_json":
                findings += self._gather_schema(item, pointer, schemas)
        return prompts, schemas, findings

    def _gather_prompt(self, path: str, pointer: str, prompts: dict[str, str]) -> list[WorkflowFinding]:
        try:
            prompts.update(load_prompt(self._prompts, path).files)
        except InvalidPromptError as error:
            return [WorkflowFinding(pointer=pointer, message=error.message, code=error.code)]
        return []

    def _gather_includes(self, text: str, pointer: str, prompts: dict[str, str]) -> list[WorkflowFinding]:
        try:
            prompts.update(compile_prompt(text, self._prompts).files)
        except InvalidPromptError as error:
            return [WorkflowFinding(pointer=pointer, message=error.message, code=error.code)]
        return []

    def _gather_schema(
        self, item: Mapping[str, JsonValue], pointer: str, schemas: dict[str, dict[str, Any]]
    ) -> list[WorkflowFinding]:
        config = item.get("config")
        holder, base = (config, pointer_of("config", base=pointer)) if isinstance(config, dict) else (item, pointer)
        key = "schema" if "schema" in holder else "format"
        name = holder.get(key)
        if not isinstance(name, str) or name in BUILT_IN_MARKDOWN_SCHEMAS:
            return []
        where = pointer_of(key, base=base)
        files = {path.stem: path for path in json_files_in(self._schemas_dir)}
        if name not in files:
            hint = suggest(name, [*files, *BUILT_IN_MARKDOWN_SCHEMAS], what="There are:")
            return [
                WorkflowFinding(pointer=where, message=f'There is no Markdown schema "{name}".{hint}', code="shape")
            ]
        schema, fault = _read_json(files[name], "Markdown schema")
        if fault is not None:
            return [WorkflowFinding(pointer=where, message=fault.describe(), code=fault.code)]
        if not isinstance(schema, dict):
            return [WorkflowFinding(pointer=where, message=f"{files[name].name} holds no JSON object.", code="shape")]
        schemas[name] = schema
        return []


def _read_json(path: Path, what: str) -> tuple[JsonValue, WorkflowFinding | None]:
    """Return what the JSON file `path` holds, or what is wrong with it, with line and column."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None, _unreadable(path, f"The {what} is larger than {MAX_FILE_BYTES:,} bytes.")
        data = path.read_bytes()
        value = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        return None, _unreadable(path, f"The {what} cannot be read: {error.strerror or error}.")
    except orjson.JSONDecodeError as error:
        reason = error.msg.partition(": line ")[0]
        finding = WorkflowFinding(
            pointer="",
            message=f"The {what} is no valid JSON: {reason}.",
            code="not_json",
            file=path.name,
            line=error.lineno,
            column=error.colno,
        )
        return None, finding
    reason_unstorable = find_unstorable(value)
    if reason_unstorable is not None:
        return None, _unreadable(path, f"The {what} cannot be used: {reason_unstorable}.")
    return value, None


def _unreadable(path: Path, message: str) -> WorkflowFinding:
    return WorkflowFinding(pointer="", message=message, code="unreadable", file=path.name)


def _objects_in(value: JsonValue) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    stack: list[tuple[str, JsonValue]] = [("", value)]
    while stack:
        pointer, item = stack.pop()
        if isinstance(item, dict):
            yield pointer, item
            stack.extend((pointer_of(key, base=pointer), child) for key, child in reversed(item.items()))
        elif isinstance(item, list):
            stack.extend((pointer_of(index, base=pointer), child) for index, child in reversed(list(enumerate(item))))


def _merge(own: Sequence[WorkflowFinding], checked: Sequence[WorkflowFinding]) -> list[WorkflowFinding]:
    """Return `own` with those of `checked` that do not tell again what stands at the same place."""
    places = {finding.pointer for finding in own}
    merged = list(own)
    for finding in checked:
        if finding.pointer not in places and finding not in merged:
            merged.append(finding)
    return merged


def _name_in(raw: JsonValue, path: Path) -> str:
    name = raw.get("name") if isinstance(raw, dict) else None
    return name if isinstance(name, str) and name else path.stem


def json_files_in(folder: Path) -> Iterator[Path]:
    """Yield the JSON files that stand in `folder` itself, but recorded tests; none, when there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_definition = entry.name.endswith(".json") and not entry.name.endswith(TEST_SUFFIX)
                if is_definition and not entry.name.startswith(".") and entry.is_file():
                    yield Path(entry.path)
    except OSError:  # the folder or a file went away while we looked: the next look sees what is left
        return
