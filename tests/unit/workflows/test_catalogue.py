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
from callboard.workflows.errors import InvalidPromptError, InvalidWorkflowError, WorkflowNotFoundError
from callboard.workflows.files import BundleCheck, WorkflowFileReader, WorkflowFolders
from callboard.workflows.findings import Severity, WorkflowFinding
from callboard.workflows.prompts import PromptSource


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
