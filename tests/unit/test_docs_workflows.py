"""Every workflow and step on a page compiles without an error, and the examples of transforms give what stands there.

A `json workflow` block is a whole file, a `json step` block one step. Below a step, a line "gives" and a `json`
block are its output. Files that a page names (`workflows/prompts/...`:) are there when its blocks are compiled.
"""

import asyncio
import importlib.util
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from callboard.core.config import Settings
from callboard.core.json_values import JsonValue
from callboard.workbench import Workbench, open_workbench
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.files import BrokenWorkflow
from callboard.workflows.local_runs import LocalRun
from callboard.workflows.transforms.registry import FORMAT_OPERATIONS
from tests.fixtures.page_examples import Block, read_blocks

ROOT = Path(__file__).resolve().parents[2]
FORMAT_PAGE = ROOT / "docs" / "workflow-format.md"
GIVES = "gives"
FILES_OF_WORKFLOWS = ("workflows/prompts/", "workflows/markdown_schemas/", "workflows/definitions/")


def blocks_of(*languages: str) -> list[Any]:
    """Return the blocks of all pages in these languages, each with its page, as parameters of a test."""
    pages = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    return [
        pytest.param(page, block, id=f"{page.relative_to(ROOT)}:{block.line}")
        for page in pages
        for block in read_blocks(page)
        if block.language in languages
    ]


def examples_of(page: Path) -> list[tuple[Block, Block]]:
    """Return the steps of `page` that say what they give, each with that."""
    blocks = read_blocks(page)
    return [
        (step, given)
        for step, given in itertools.pairwise(blocks)
        if step.language == "json step" and step.after == GIVES
    ]


def definition_in(block: Block) -> dict[str, Any]:
    """Return the workflow that `block` is; a step becomes one that takes any input."""
    read: dict[str, Any] = json.loads(block.text)
    if block.language == "json workflow":
        return read
    return {"name": "example", "steps": [read], "outputs": {"output": f"${{steps.{read['id']}.output}}"}}


def write_files_of(page: Path, folder: Path) -> None:
    """Write the prompts, Markdown schemas and workflows that `page` shows into `folder`."""
    for block in read_blocks(page):
        if block.file is not None and block.file.startswith(FILES_OF_WORKFLOWS):
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")


@contextmanager
def settings_in(page: Path, folder: Path) -> Iterator[Settings]:
    """Give settings under which the files of `page` are found."""
    write_files_of(page, folder)
    yield Settings(
        _env_file=None,
        workflows_dir=folder / "workflows" / "definitions",
        prompts_dir=folder / "workflows" / "prompts",
        markdown_schemas_dir=folder / "workflows" / "markdown_schemas",
    )


def compile_in(workbench: Workbench, definition: JsonValue) -> CompiledWorkflow:
    """Return `definition` compiled. Fails with what is wrong with it."""
    read = workbench.reader.read_value(definition, name="example")
    faults = [found.describe() for found in read.findings] if isinstance(read, BrokenWorkflow) else []
    assert not isinstance(read, BrokenWorkflow), faults
    return compile_workflow(read.bundle(dict(workbench.defaults_for(read.name))), workbench.registry)


@pytest.mark.parametrize(("page", "block"), blocks_of("json workflow", "json step"))
class TestWorkflowBlocks:
    def test_compile_without_an_error(self, page: Path, block: Block, tmp_path: Path) -> None:
        async def work(settings: Settings) -> CompiledWorkflow:
            async with open_workbench(settings) as workbench:
                return compile_in(workbench, definition_in(block))

        with settings_in(page, tmp_path) as settings:
            compiled = asyncio.run(work(settings))

        assert compiled.steps


class TestTransformExamples:
    @pytest.mark.parametrize(
        ("step", "given"), [pytest.param(*pair, id=f"line {pair[0].line}") for pair in examples_of(FORMAT_PAGE)]
    )
    def test_give_what_the_page_shows(self, step: Block, given: Block, tmp_path: Path) -> None:
        async def work(settings: Settings) -> JsonValue:
            async with open_workbench(settings) as workbench:
                result = await LocalRun(compile_in(workbench, definition_in(step))).perform({})
            assert result.error is None, result.error
            return result.outputs

        with settings_in(FORMAT_PAGE, tmp_path) as settings:
            outputs = asyncio.run(work(settings))

        assert outputs == {"output": json.loads(given.text)}

    def test_show_every_operation(self) -> None:
        shown = {json.loads(step.text)["config"]["operation"] for step, _ in examples_of(FORMAT_PAGE)}

        assert shown == FORMAT_OPERATIONS


@pytest.fixture
def format_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("format_docs", ROOT / "scripts" / "format_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestFormatDocs:
    def test_finds_the_page_as_it_would_write_it(self, format_docs: ModuleType) -> None:
        assert format_docs.main(["--check"]) == 0

    def test_tells_a_page_that_differs_and_writes_it(
        self, format_docs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / format_docs.PAGE
        page.parent.mkdir()
        page.write_text("<!-- table: retry -->\nold\n<!-- end of table -->\n", "utf-8")

        exits = [format_docs.main(arguments, root=tmp_path) for arguments in (["--check"], [], ["--check"])]

        assert exits == [1, 0, 0]
        assert "run: python scripts/format_docs.py" in capsys.readouterr().out
        assert "`max_attempts`" in page.read_text("utf-8")

    def test_says_what_every_field_means(self) -> None:
        rows = [line for line in FORMAT_PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]

        assert [row for row in rows if row.endswith("|  |")] == []
