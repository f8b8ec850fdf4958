"""The catalogue: files are read again when they change, and a broken one hides none of the others. Promises B3, P6."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from callboard.workflows.bundles import Bundle
from callboard.workflows.catalogue import WorkflowCatalogue
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import InvalidPromptError, InvalidWorkflowError, WorkflowNotFoundError
from callboard.workflows.files import BundleCheck, LoadedWorkflow, WorkflowFileReader, WorkflowFolders
from callboard.workflows.findings import Severity, WorkflowFinding
from callboard.workflows.prompts import PromptSource
from tests.fixtures.scripted_steps import echo, scripted_registry


class Folder:
    """The folders of a deployment, and a catalogue that looks at them each time it is asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("definitions", "prompts", "markdown_schemas"):
            (root / name).mkdir()

    def catalogue(self, **options: Any) -> WorkflowCatalogue:
        options.setdefault("look_seconds", 0)
        checks = {"check": options.pop("check")} if "check" in options else {}
        reader = WorkflowFileReader(
            WorkflowFolders(prompts_dir=self.root / "prompts", markdown_schemas_dir=self.root / "markdown_schemas"),
            **checks,
        )
        return WorkflowCatalogue(self.root / "definitions", reader, **options)

    def write(self, path: str, content: object) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    def define(self, name: str, *steps: dict[str, Any], file: str | None = None, **fields: Any) -> Path:
        listed = list(steps) or [{"id": "a", "type": "llm"}]
        return self.write(f"definitions/{file or name}.json", {"name": name, "steps": listed, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def llm_step(**config: Any) -> dict[str, Any]:
    return {"id": "a", "type": "llm", "config": config}


def markdown_step(**config: Any) -> dict[str, Any]:
    return {"id": "m", "type": "transform", "config": {"operation": "markdown_to_json", "config": config}}


class TestGet:
    def test_gives_the_definition(self, folder: Folder) -> None:
        path = folder.define("hello", description="Says hello")

        loaded = folder.catalogue().get("hello")

        assert (loaded.name, loaded.definition.description, loaded.path) == ("hello", "Says hello", path)

    @pytest.mark.parametrize("name", ["../hello", "definitions/hello", "hello.json", "", "\x00", "x" * 5000])
    def test_a_name_that_is_a_path_is_simply_unknown(self, folder: Folder, name: str) -> None:
        folder.define("hello")

        with pytest.raises(WorkflowNotFoundError) as caught:
            folder.catalogue().get(name)
        assert len(caught.value.message) < 300

    def test_names_the_nearest_workflow(self, folder: Folder) -> None:
        folder.define("hello")

        with pytest.raises(
            WorkflowNotFoundError, match=re.escape('There is no workflow "helo". Did you mean "hello"?')
        ):
            folder.catalogue().get("helo")

    def test_tells_what_is_wrong_with_a_broken_one(self, folder: Folder) -> None:
        folder.define("hello", {"id": "a", "typ": "llm"})

        with pytest.raises(InvalidWorkflowError, match=r'The workflow "hello" is not valid: 1 error') as caught:
            folder.catalogue().get("hello")
        assert {each.pointer for each in caught.value.findings} == {"/steps/0/typ"}
        assert {each.file for each in caught.value.findings} == {"hello.json"}

    def test_works_without_any_folder(self, tmp_path: Path) -> None:
        folders = WorkflowFolders(prompts_dir=tmp_path / "y", markdown_schemas_dir=tmp_path / "z")
        catalogue = WorkflowCatalogue(tmp_path / "x", WorkflowFileReader(folders))

        assert catalogue.names() == []
        with pytest.raises(WorkflowNotFoundError, match="No workflow is loaded"):
            catalogue.get("hello")


class TestBroken:
    def test_hides_none_of_the_others(self, folder: Folder) -> None:
        folder.define("hello")
        folder.write("definitions/broken.json", '{"name": "broken",\n  "steps": [,]}')

        catalogue = folder.catalogue()

        assert catalogue.names() == ["hello"]
        assert [each.name for each in catalogue.list()] == ["hello"]
        (broken,) = catalogue.broken()
        (finding,) = broken.findings
        assert (broken.name, broken.path.name) == ("broken", "broken.json")
        assert (finding.code, finding.line, finding.column) == ("not_json", 2, 13)
        assert finding.describe().startswith("broken.json:2:13: A comma too many.")

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            pytest.param(b"", "not_json", id="empty"),
            pytest.param(b"\xff\xfe{}", "not_json", id="not UTF-8"),
            pytest.param(b'{"a": NaN}', "not_json", id="NaN"),
            pytest.param(b"[" * 200_000, "not_json", id="nested without end"),
            pytest.param(b'{"a":' * 300 + b"1" + b"}" * 300, "unreadable", id="nested too deep to store"),
            pytest.param(b'{"a": "\\u0000"}', "unreadable", id="NUL"),
            pytest.param(b" " * 5_000_001, "unreadable", id="too large"),
            pytest.param(b"[1, 2]", "shape", id="a list"),
        ],
    )
    def test_tells_what_kind_of_file_it_is(self, folder: Folder, content: bytes, code: str) -> None:
        (folder.root / "definitions" / "x.json").write_bytes(content)

        (broken,) = folder.catalogue().broken()

        assert (broken.name, broken.findings[0].code, broken.findings[0].file) == ("x", code, "x.json")

    def test_two_files_of_one_name_are_both_named(self, folder: Folder) -> None:
        folder.define("hello", file="one")
        folder.define("hello", file="two")
        folder.define("other")

        catalogue = folder.catalogue()

        assert catalogue.names() == ["other"]
        assert [each.path.name for each in catalogue.broken()] == ["one.json", "two.json"]
        with pytest.raises(InvalidWorkflowError, match=r'The name "hello" is used by one.json and two.json'):
            catalogue.get("hello")

    def test_a_file_that_cannot_be_opened_is_told(self, folder: Folder) -> None:
        (folder.root / "definitions" / "x.json").symlink_to(folder.root / "gone.json")
        folder.define("hello")

        assert folder.catalogue().names() == ["hello"]


class TestLooking:
    def test_reads_again_what_has_changed(self, folder: Folder) -> None:
        path = folder.define("hello", description="one")
        catalogue = folder.catalogue()
        assert catalogue.get("hello").definition.description == "one"

        folder.define("hello", description="second")
        folder.define("more")

        assert catalogue.get("hello").definition.description == "second"
        path.unlink()
        assert catalogue.names() == ["more"]

    def test_sees_a_file_of_the_same_size_and_time(self, folder: Folder) -> None:
        path = folder.define("hello", description="one")
        catalogue = folder.catalogue()
        catalogue.names()
        before = path.stat()

        replacement = folder.write("new.json", path.read_text().replace("one", "two"))
        os.utime(replacement, ns=(before.st_atime_ns, before.st_mtime_ns))
        replacement.replace(path)

        assert catalogue.get("hello").definition.description == "two"

    def test_a_broken_file_comes_back_once_it_is_repaired(self, folder: Folder) -> None:
        folder.write("definitions/hello.json", "{")
        catalogue = folder.catalogue()
        assert len(catalogue.broken()) == 1

        folder.define("hello")

        assert catalogue.broken() == []
        assert catalogue.names() == ["hello"]

    def test_sees_changed_prompts(self, folder: Folder) -> None:
        folder.define("hello", llm_step(prompt_template="a.md"))
        catalogue = folder.catalogue()
        assert len(catalogue.broken()) == 1

        folder.write("prompts/a.md", "Hi")
        assert catalogue.get("hello").prompts == {"a.md": "Hi"}

        folder.write("prompts/a.md", "Hello")
        assert catalogue.get("hello").prompts == {"a.md": "Hello"}

    def test_a_burst_of_questions_looks_once(self, folder: Folder) -> None:
        now = 0.0
        catalogue = folder.catalogue(look_seconds=0.5, monotonic=lambda: now)
        assert catalogue.names() == []
        folder.define("hello")

        now = 0.4
        assert catalogue.names() == []
        now = 0.6
        assert catalogue.names() == ["hello"]

    def test_unchanged_files_are_not_read_again(self, folder: Folder) -> None:
        folder.define("hello")
        catalogue = folder.catalogue()
        first = catalogue.get("hello")

        folder.define("more")

        assert catalogue.get("hello") is first


class TestBundleFor:
    def test_holds_prompts_includes_and_markdown_schemas(self, folder: Folder) -> None:
        inner = llm_step(prompt_template="sub/a.md", system_template="s.md")
        folder.define("hello", {"id": "c", "type": "conditional", "if_true": [inner]}, markdown_step(schema="contacts"))
        for path, text in {"sub/a.md": "{{include:b.md}}", "sub/b.md": "B", "s.md": "S", "unused.md": "U"}.items():
            folder.write(f"prompts/{path}", text)
        folder.write("markdown_schemas/contacts.json", {"headings": []})

        bundle = folder.catalogue().bundle_for("hello", {"provider": "p"})

        assert bundle.prompts == {"sub/a.md": "{{include:b.md}}", "sub/b.md": "B", "s.md": "S"}
        assert bundle.markdown_schemas == {"contacts": {"headings": []}}
        assert bundle.definition["name"] == "hello"
        assert bundle.defaults == {"provider": "p"}

    def test_holds_what_a_text_in_the_definition_includes(self, folder: Folder) -> None:
        folder.define("hello", llm_step(prompt_text="{{ include:b.md }}", user_message="{{include:c.md}}"))
        folder.write("prompts/b.md", "B")
        folder.write("prompts/c.md", "C")

        assert folder.catalogue().bundle_for("hello", {}).prompts == {"b.md": "B", "c.md": "C"}

    def test_hash_changes_with_an_include(self, folder: Folder) -> None:
        folder.define("hello", llm_step(prompt_template="a.md"))
        folder.write("prompts/a.md", "{{include:b.md}}")
        folder.write("prompts/b.md", "one")
        catalogue = folder.catalogue()
        before = catalogue.bundle_for("hello", {}).content_hash

        folder.write("prompts/b.md", "other")

        assert catalogue.bundle_for("hello", {}).content_hash != before

    @pytest.mark.parametrize("name", ["sections", "auto"])
    def test_built_in_schemas_need_no_file(self, folder: Folder, name: str) -> None:
        folder.define("hello", markdown_step(format=name))

        assert folder.catalogue().bundle_for("hello", {}).markdown_schemas == {}

    @pytest.mark.parametrize(
        ("step", "pointer", "problem"),
        [
            pytest.param(
                llm_step(prompt_template="rely.md"),
                "/steps/0/config/prompt_template",
                'There is no prompt file "rely.md". Did you mean "reply.md"?',
                id="missing prompt",
            ),
            pytest.param(
                llm_step(prompt_template="../x.md"),
                "/steps/0/config/prompt_template",
                "leaves the prompts folder",
                id="prompt outside",
            ),
            pytest.param(
                llm_step(prompt_template="round.md"),
                "/steps/0/config/prompt_template",
                "in a circle: round.md -> round.md",
                id="circle",
            ),
            pytest.param(
                markdown_step(schema="contcts"),
                "/steps/0/config/config/schema",
                'There is no Markdown schema "contcts". Did you mean "contacts"?',
                id="missing schema",
            ),
            pytest.param(
                markdown_step(schema="list"), "/steps/0/config/config/schema", "holds no JSON object", id="list"
            ),
            pytest.param(
                markdown_step(schema="bad"), "/steps/0/config/config/schema", "bad.json:1:1", id="broken schema"
            ),
        ],
    )
    def test_what_is_missing_is_told_with_its_place(
        self, folder: Folder, step: dict[str, Any], pointer: str, problem: str
    ) -> None:
        folder.write("prompts/reply.md", "x")
        folder.write("prompts/round.md", "{{include:round.md}}")
        for name, content in {"contacts": "{}", "list": "[]", "bad": "{"}.items():
            folder.write(f"markdown_schemas/{name}.json", content)
        folder.define("hello", step)

        (broken,) = folder.catalogue().broken()

        assert [each.pointer for each in broken.findings] == [pointer]
        assert problem in broken.findings[0].message


class TestCheckHook:
    @pytest.fixture
    def check(self) -> BundleCheck:
        def find(bundle: Bundle, prompts: PromptSource) -> list[WorkflowFinding]:
            del prompts
            severity = Severity.ERROR if bundle.definition["name"] == "bad" else Severity.WARNING
            return [WorkflowFinding(pointer="/outputs", message="Hm.", severity=severity)]

        return find

    def test_decides_what_can_be_submitted(self, folder: Folder, check: BundleCheck) -> None:
        folder.define("good")
        folder.define("bad")

        catalogue = folder.catalogue(check=check)

        assert [each.message for each in catalogue.get("good").warnings] == ["Hm."]
        assert [each.name for each in catalogue.broken()] == ["bad"]

    def test_does_not_tell_twice_what_is_known(self, folder: Folder) -> None:
        folder.define("hello", llm_step(prompt_template="gone.md", error_mode="default"))
        place = "/steps/0/config/prompt_template"

        def read_again(bundle: Bundle, prompts: PromptSource) -> Sequence[WorkflowFinding]:
            with pytest.raises(InvalidPromptError) as caught:
                prompts.read("gone.md")
            return [WorkflowFinding(pointer=place, message=caught.value.message, code="prompt_not_found")]

        (broken,) = folder.catalogue(check=read_again).broken()

        assert [each.pointer for each in broken.findings] == [place, "/steps/0/config/error_mode"]


class TestBuiltInMarkdownSchemas:
    STEP: ClassVar[dict[str, Any]] = {
        "id": "a",
        "type": "transform",
        "config": {
            "operation": "markdown_to_json",
            "input": "${input.text}",
            "config": {"schema": "emergency_contacts"},
        },
    }

    def test_serve_a_folder_that_has_none(self, folder: Folder) -> None:
        folder.define("hello", self.STEP)

        bundle = folder.catalogue().bundle_for("hello", {})

        assert set(bundle.markdown_schemas) == {"emergency_contacts"}

    def test_yield_to_a_file_of_the_same_name(self, folder: Folder) -> None:
        folder.define("hello", self.STEP)
        folder.write("markdown_schemas/emergency_contacts.json", {"sections": []})

        bundle = folder.catalogue().bundle_for("hello", {})

        assert bundle.markdown_schemas == {"emergency_contacts": {"sections": []}}


def subrun(name: str, **config: Any) -> dict[str, Any]:
    return {"id": "sub", "type": "workflow", "config": {"workflow": name, **config}}


def compiling(bundle: Bundle, prompts: PromptSource) -> Sequence[WorkflowFinding]:
    """Return what the compiler finds, with the step kinds of the fixtures."""
    try:
        return compile_workflow(bundle, scripted_registry(), prompts=prompts).warnings
    except InvalidWorkflowError as error:
        return error.findings


class TestWorkflowsThatRunOthers:
    def test_the_bundle_has_those_that_others_run_too_each_with_its_defaults(self, folder: Folder) -> None:
        folder.write("prompts/p.md", "Hi")
        folder.define("low", llm_step(prompt_template="p.md"))
        folder.define("middle", subrun("low"))
        folder.define("top", subrun("middle"))

        bundle = folder.catalogue().get("top").bundle({"model": "top"}, lambda name: {"model": name})

        assert bundle.prompts == {}
        assert {name: (each.defaults, each.prompts) for name, each in bundle.workflows.items()} == {
            "low": ({"model": "low"}, {"p.md": "Hi"}),
            "middle": ({"model": "middle"}, {}),
        }
        assert not any(each.workflows for each in bundle.workflows.values())

    def test_a_change_of_one_is_a_change_of_those_that_run_it(self, folder: Folder) -> None:
        folder.define("low", echo("a", 1))
        folder.define("middle", subrun("low"))
        folder.define("top", subrun("middle"))
        folder.define("other", echo("a"))
        catalogue = folder.catalogue(check=compiling)
        before = {name: catalogue.get(name) for name in catalogue.names()}

        folder.define("low", echo("a", 2222))
        after = {name: catalogue.get(name) for name in catalogue.names()}

        assert after["other"] is before["other"]
        assert all(after[name] is not before[name] for name in ("low", "middle", "top"))
        assert after["top"].bundle({}).content_hash != before["top"].bundle({}).content_hash

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            pytest.param(None, "", 'There is no workflow "low". Known workflows: other.', id="missing"),
            pytest.param(
                "low",
                {"name": "low", "steps": [{"id": "a", "type": "ecko"}]},
                'The workflow "low" is broken: low.json:1:47 /steps/0/type: There is no step type "ecko". '
                'Did you mean "echo"?',
                id="broken",
            ),
            pytest.param(
                "low",
                '{"name": ',
                'The workflow "low" is broken: low.json:1:1: This { is never closed: a } is missing.',
                id="no json",
            ),
            pytest.param(
                "low",
                {"name": "low", "steps": [subrun("top")]},
                "A workflow cannot run itself, nor through others: top -> low -> top.",
                id="recursion",
            ),
        ],
    )
    def test_one_that_cannot_run_breaks_those_that_run_it_until_it_is_mended(
        self, folder: Folder, file: str | None, content: object, message: str
    ) -> None:
        folder.define("other", echo("a"))
        folder.define("top", subrun("low"))
        if file is not None:
            folder.write(f"definitions/{file}.json", content)
        catalogue = folder.catalogue(check=compiling)

        (top,) = [each for each in catalogue.broken() if each.name == "top"]
        (found,) = [each for each in top.findings if each.is_error]
        assert (found.pointer, found.file) == ("/steps/0/config/workflow", "top.json")
        assert found.message.startswith(message)

        folder.define("low", echo("a"))
        assert catalogue.get("top").name == "top"

    def test_a_name_that_two_files_have_is_nobodys(self, folder: Folder) -> None:
        folder.define("low", echo("a"), file="one")
        folder.define("low", echo("a"), file="two")
        folder.define("top", subrun("low"))

        with pytest.raises(InvalidWorkflowError, match=r'"low" is used by one\.json and two\.json'):
            folder.catalogue(check=compiling).get("top")

    def test_is_found_by_the_name_in_the_file(self, folder: Folder) -> None:
        folder.define("low", echo("a"), file="some-file")
        folder.define("top", subrun("low"))

        assert list(folder.catalogue(check=compiling).get("top").workflows) == ["low"]

    def test_goes_ten_deep_and_tells_the_way_of_a_deeper_one(self, folder: Folder) -> None:
        for depth in range(11):
            folder.define(f"w{depth}", subrun(f"w{depth + 1}"))
        folder.define("w11", echo("a"))

        catalogue = folder.catalogue(check=compiling)

        assert len(catalogue.get("w1").workflows) == 10
        with pytest.raises(InvalidWorkflowError, match=r"at most 10 deep, and this goes on: w0 -> w1 -> .* -> w11"):
            catalogue.get("w0")

    def test_of_a_request_are_those_of_the_server(self, folder: Folder) -> None:
        folder.define("low", echo("a"))
        folders = WorkflowFolders(
            prompts_dir=folder.root / "prompts",
            markdown_schemas_dir=folder.root / "markdown_schemas",
            definitions_dir=folder.root / "definitions",
        )
        reader = WorkflowFileReader(folders, check=compiling)

        read = reader.read_value({"name": "top", "steps": [subrun("low")]}, name="unnamed")

        assert isinstance(read, LoadedWorkflow)
        assert list(read.workflows) == ["low"]

    def test_what_looks_like_a_step_in_a_value_is_none(self, folder: Folder) -> None:
        folder.define("top", echo("a", {"id": "x", "type": "workflow", "workflow": "nothing"}))

        assert folder.catalogue(check=compiling).get("top").workflows == {}
