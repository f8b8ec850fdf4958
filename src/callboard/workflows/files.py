"""Workflow files as they are read from disk: the definition with the prompts and Markdown schemas it names.

The catalogue reads the files of WORKFLOWS_DIR with it, commands such as `callboard run FILE` any file. A
broken file is returned with all its findings, not raised.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from callboard.core.json_values import JsonValue, locate_unstorable
from callboard.workflows.bundles import Bundle
from callboard.workflows.definition import WorkflowDefinition, read_definition
from callboard.workflows.errors import InvalidPromptError, UnusableWorkflowError
from callboard.workflows.findings import SourcePlace, WorkflowFinding, pointer_of, suggest, without_repetition
from callboard.workflows.json_files import JsonFile, json_files_in, objects_in, read_json_bytes, read_json_file
from callboard.workflows.library import Shelf, WorkflowLibrary, workflow_uses
from callboard.workflows.prompts import FolderPrompts, PromptSource, compile_prompt, findings_of_prompt, load_prompt

BundleCheck: TypeAlias = Callable[[Bundle, PromptSource], Sequence[WorkflowFinding]]
DefaultsFor: TypeAlias = Callable[[str], Mapping[str, Any]]  # a workflow's name -> {provider, model, model_aliases}

MAX_FINDINGS = 500  # of a file: more help nobody
MAX_STEPS = 500  # of a definition that came in a request

PROMPT_FIELDS = frozenset({"prompt_template", "system_template"})  # name a prompt file
PROMPT_TEXT_FIELDS = frozenset({"prompt_text", "system_prompt", "user_message"})  # hold text that may include one
GENERAL_READINGS = frozenset({"sections", "tables", "lists", "key_values", "auto"})  # are no schemas
BUILT_IN_MARKDOWN_SCHEMAS = Path(__file__).parent / "markdown_schemas"  # used where a deployment has no own


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFolders:
    """Where the files that workflows name are looked for.

    `definitions_dir` is the folder of the settings' workflows, where there is one: what stands in it
    always uses these folders.
    """

    prompts_dir: Path
    markdown_schemas_dir: Path
    definitions_dir: Path | None = None


def folders_for(file: Path, defaults: WorkflowFolders, *, prompts_dir: Path | None = None) -> WorkflowFolders:
    """Return the folders that the workflow `file` uses: the one rule for every command that takes a FILE.

    A file of WORKFLOWS_DIR uses the settings' folders. For any other, `prompts` and `markdown_schemas`
    are looked for beside it, then one folder up; what is in neither place is the settings'.
    `prompts_dir`, where it is given, wins.
    """
    folder = file.absolute().parent
    own = defaults.definitions_dir
    is_own = own is not None and folder.resolve().is_relative_to(own.resolve())
    around = () if is_own else (folder, folder.parent)
    return WorkflowFolders(
        prompts_dir=prompts_dir or _first_folder("prompts", around) or defaults.prompts_dir,
        markdown_schemas_dir=_first_folder("markdown_schemas", around) or defaults.markdown_schemas_dir,
        definitions_dir=own,
    )


def _first_folder(name: str, around: Iterable[Path]) -> Path | None:
    return next((folder / name for folder in around if (folder / name).is_dir()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWorkflow:
    """A workflow that can be submitted. `raw` is its file as parsed; `warnings` keep it from nothing.

    `workflows` are those that its steps run, by name, and those that these run in turn. `uses_others`: what they
    are hangs on files beside this one.
    """

    definition: WorkflowDefinition
    raw: dict[str, Any]
    path: Path
    prompts: Mapping[str, str] = field(default_factory=dict)
    markdown_schemas: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    workflows: "Mapping[str, LoadedWorkflow]" = field(default_factory=dict)
    warnings: tuple[WorkflowFinding, ...] = ()
    uses_others: bool = False

    @property
    def name(self) -> str:
        return self.definition.name

    def bundle(self, defaults: Mapping[str, Any], defaults_for: DefaultsFor | None = None) -> Bundle:
        """Return all that a run reads. `defaults` = {provider, model, model_aliases}, resolved by the caller.

        `defaults_for` resolves those of each workflow that its steps run; without it they are the same.
        """
        resolve = defaults_for or (lambda _: defaults)
        workflows = {name: each.bundle_alone(resolve(name)) for name, each in sorted(self.workflows.items())}
        return replace(self.bundle_alone(defaults), workflows=workflows)

    def bundle_alone(self, defaults: Mapping[str, Any]) -> Bundle:
        """Return the same without the workflows that its steps run."""
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
    uses_others: bool = False


ReadWorkflow: TypeAlias = LoadedWorkflow | BrokenWorkflow


class WorkflowFileReader:
    """Reads workflow files, each with all that it names. `check` compiles a bundle and tells what is wrong."""

    def __init__(
        self,
        folders: WorkflowFolders,
        *,
        check: BundleCheck = lambda _bundle, _prompts: (),
        library: WorkflowLibrary | None = None,
    ) -> None:
        self._folders, self._check = folders, check
        self._library = library or WorkflowLibrary()
        self._prompts = FolderPrompts(folders.prompts_dir)
        self._schema_dirs = (BUILT_IN_MARKDOWN_SCHEMAS, folders.markdown_schemas_dir)  # the later ones win

    @property
    def folders(self) -> WorkflowFolders:
        """The folders that it looks into."""
        return self._folders

    def with_folders(self, folders: WorkflowFolders) -> "WorkflowFileReader":
        """Return a reader that checks the same and looks into other folders."""
        return WorkflowFileReader(folders, check=self._check, library=self._library)

    @property
    def shared_folders(self) -> tuple[Path, Path]:
        """The folders whose files any workflow may use."""
        return self._prompts.root, self._schema_dirs[-1]

    def read(self, path: Path) -> ReadWorkflow:
        """Return the workflow in `path`, or every fault that it has. Others that it runs stand beside it."""
        return self._read_path(path, {})

    def read_bytes(self, data: bytes, path: Path) -> ReadWorkflow:
        """Return the workflow that `data` holds, as if it were the content of `path`."""
        return self._read_file(read_json_bytes(data, "workflow file"), path, {})

    def read_value(self, raw: JsonValue, *, name: str) -> ReadWorkflow:
        """Return the workflow that `raw`, which came in a request, defines, or every fault that it has.

        `name` stands for it where it has none. Others that it runs are the settings'. Takes up to seconds for a
        large one: call it in a thread.
        """
        path = Path(name)
        unstorable = locate_unstorable(raw)
        if unstorable is not None:
            pointer, reason = unstorable
            return _refused(path, pointer, f"This cannot be stored: {reason}.", code="unreadable")
        if (count := _count_steps(raw)) > MAX_STEPS:
            message = f"The definition has {count:,} steps; a request may have {MAX_STEPS}. Put it into a file."
            return _refused(path, "/steps", message, code="too_many_steps")
        return self._read_raw(JsonFile(raw, ()), path, _Surroundings(self._folders.definitions_dir, {}), file=None)

    def _read_path(self, path: Path, known: dict[Path, ReadWorkflow]) -> ReadWorkflow:
        if path not in known:
            known[path] = self._read_file(read_json_file(path, "workflow file"), path, known)
        return known[path]

    def _read_file(self, read: JsonFile, path: Path, known: dict[Path, ReadWorkflow]) -> ReadWorkflow:
        if not read.is_usable:
            findings = tuple(finding.in_file(path.name) for finding in read.findings)
            return BrokenWorkflow(name=path.stem, path=path, findings=findings)
        return self._read_raw(read, path, _Surroundings(path.parent, known), file=path.name)

    def _read_raw(self, source: JsonFile, path: Path, around: "_Surroundings", *, file: str | None) -> ReadWorkflow:
        raw = source.value
        read = read_definition(raw)
        prompts = _KeptPrompts(self._prompts)
        findings = [*source.findings, *read.findings, *_read_prompts(raw, prompts)]
        schemas, faults = self._read_schemas(raw)
        uses = list(workflow_uses(raw))
        workflows, refused = self._read_used(uses, _name_in(raw, path), around)
        if isinstance(raw, dict):
            parts = {name: each.bundle_alone({}) for name, each in workflows.items()}
            bundle = Bundle(definition=raw, prompts=prompts.texts, markdown_schemas=schemas, workflows=parts)
            told = {finding.pointer.rpartition("/")[0] for finding in faults}
            checked = [
                refused.get(each.pointer, each) if each.code == UnusableWorkflowError.code else each
                for each in self._check(bundle, prompts)
            ]
            findings += [each for each in checked if each.pointer.rpartition("/")[0] not in told or not each.is_error]
        findings = _cut(source.place(without_repetition([*findings, *faults])))
        if file is not None:
            findings = [finding.in_file(file) for finding in findings]
        if read.definition is None or any(finding.is_error for finding in findings):
            name = _name_in(raw, path)
            return BrokenWorkflow(name=name, path=path, findings=tuple(findings), uses_others=bool(uses))
        return LoadedWorkflow(
            definition=read.definition,
            raw=raw,
            path=path,
            prompts=dict(sorted(prompts.texts.items())),
            markdown_schemas=schemas,
            workflows=workflows,
            warnings=tuple(findings),
            uses_others=bool(uses),
        )

    def _read_used(
        self, uses: Sequence[tuple[str, str]], user: str, around: "_Surroundings"
    ) -> tuple[dict[str, LoadedWorkflow], dict[str, WorkflowFinding]]:
        """Return the workflows that `user` runs, others' too, and by the place of a name why one cannot be run."""
        workflows: dict[str, LoadedWorkflow] = {}
        refused: dict[str, WorkflowFinding] = {}
        shelf = self._library.look_into(around.folder) if uses else Shelf()
        for pointer, name in uses:
            try:
                read = self._read_path(shelf.find(name, user=user), around.known)
            except UnusableWorkflowError as error:
                refused[pointer] = WorkflowFinding(pointer=pointer, message=error.message, code=error.code)
                continue
            if isinstance(read, LoadedWorkflow):
                workflows |= {**read.workflows, name: read}
            else:
                refused[pointer] = _in_workflow(read, pointer)
        return workflows, refused

    def _read_schemas(self, raw: JsonValue) -> tuple[dict[str, dict[str, Any]], list[WorkflowFinding]]:
        """Return the Markdown schemas that `raw` names, and what is wrong with them."""
        schemas: dict[str, dict[str, Any]] = {}
        faults: list[WorkflowFinding] = []
        for pointer, item in objects_in(raw):
            if item.get("operation") == "markdown_to_json":
                faults += self._read_schema(item, pointer, schemas)
        return schemas, faults

    def _read_schema(
        self, item: Mapping[str, JsonValue], pointer: str, schemas: dict[str, dict[str, Any]]
    ) -> list[WorkflowFinding]:
        config = item.get("config")
        holder, base = (config, pointer_of("config", base=pointer)) if isinstance(config, dict) else (item, pointer)
        key = "schema" if "schema" in holder else "format"
        name = holder.get(key)
        if not isinstance(name, str) or name in GENERAL_READINGS:
            return []
        where = pointer_of(key, base=base)
        files = {path.stem: path for folder in self._schema_dirs for path in json_files_in(folder)}
        if name not in files:
            hint = suggest(name, [*files, *GENERAL_READINGS], what="There are:")
            return [
                WorkflowFinding(pointer=where, message=f'There is no Markdown schema "{name}".{hint}', code="shape")
            ]
        read = read_json_file(files[name], "Markdown schema")
        faults = [*read.findings]
        if not faults and not isinstance(read.value, dict):
            faults = [WorkflowFinding(pointer="", message=f"{files[name].name} holds no JSON object.", code="shape")]
        if faults:
            return [_in_schema(fault, files[name].name, where) for fault in faults]
        schemas[name] = read.value
        return []


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """Where the other workflows of a file are looked for, and those that were read for it already."""

    folder: Path | None
    known: dict[Path, ReadWorkflow]


class _KeptPrompts:
    """A folder's prompts, each read once: what is checked is what is kept."""

    def __init__(self, source: PromptSource) -> None:
        self.texts: dict[str, str] = {}
        self._faults: dict[str, InvalidPromptError] = {}
        self._source = source

    def read(self, path: str) -> str:
        fault = self._faults.get(path)
        if fault is not None:
            raise InvalidPromptError(fault.message, file=fault.file, code=fault.code)
        try:
            self.texts[path] = self.texts[path] if path in self.texts else self._source.read(path)
        except InvalidPromptError as error:
            self._faults[path] = error
            raise
        return self.texts[path]


def _read_prompts(raw: JsonValue, prompts: PromptSource) -> list[WorkflowFinding]:
    """Read every prompt file that `raw` names, and return what is wrong with them."""
    findings: list[WorkflowFinding] = []
    for pointer, item in objects_in(raw):
        for name in sorted(PROMPT_FIELDS & item.keys()):
            if isinstance(item[name], str):
                try:
                    load_prompt(prompts, item[name])
                except InvalidPromptError as error:
                    findings += findings_of_prompt(error, pointer_of(name, base=pointer))
        for name in sorted(PROMPT_TEXT_FIELDS & item.keys()):
            if isinstance(item[name], str) and "include:" in item[name]:
                with suppress(InvalidPromptError):  # the compiler tells, with the place in the text
                    compile_prompt(item[name], prompts)
    return findings


def _in_schema(fault: WorkflowFinding, file: str, pointer: str) -> WorkflowFinding:
    """Return a fault of a Markdown schema as one of the place that names it."""
    place = None
    if fault.line is not None and fault.column is not None:
        place = SourcePlace(file=file, line=fault.line, column=fault.column, excerpt=fault.excerpt)
    named = file if place is None else place.describe()
    message = f"Markdown schema {named}: {fault.message}"
    return WorkflowFinding(pointer=pointer, message=message, code=fault.code, related=place)


def _in_workflow(broken: BrokenWorkflow, pointer: str) -> WorkflowFinding:
    """Return the finding that the workflow named at `pointer` is broken, with its first fault."""
    first = next(finding for finding in broken.findings if finding.is_error)
    message = f'The workflow "{broken.name}" is broken: {first.describe()}'
    place = None
    if first.line is not None and first.column is not None:
        place = SourcePlace(file=broken.path.name, line=first.line, column=first.column, excerpt=first.excerpt)
    return WorkflowFinding(pointer=pointer, message=message, code="broken_workflow", related=place)


def _refused(path: Path, pointer: str, message: str, *, code: str) -> BrokenWorkflow:
    finding = WorkflowFinding(pointer=pointer, message=message, code=code)
    return BrokenWorkflow(name=path.name, path=path, findings=(finding,))


def _cut(findings: list[WorkflowFinding]) -> list[WorkflowFinding]:
    """Return `findings`, or the first of very many with errors before warnings, and a word about the others."""
    if len(findings) <= MAX_FINDINGS:
        return findings
    kept = set(sorted(range(len(findings)), key=lambda index: not findings[index].is_error)[:MAX_FINDINGS])
    shown = [finding for index, finding in enumerate(findings) if index in kept]
    message = f"There are {len(findings) - MAX_FINDINGS:,} findings more. Mend these first."
    return [*shown, replace(shown[-1], pointer="", message=message, code="more_findings", excerpt=None, related=None)]


def _count_steps(raw: JsonValue) -> int:
    return sum("id" in item and "type" in item for _, item in objects_in(raw))


def _name_in(raw: JsonValue, path: Path) -> str:
    name = raw.get("name") if isinstance(raw, dict) else None
    return name if isinstance(name, str) and name else path.stem
