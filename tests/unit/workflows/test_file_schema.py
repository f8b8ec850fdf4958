"""The JSON Schema of the format: valid, complete, and of one mind with the reader. Promise B14."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from callboard.cli.schema import schema_text
from callboard.core.config import Settings
from callboard.workbench import open_workbench

ROOT = Path(__file__).parents[3]
STEP = {"id": "a", "type": "llm", "config": {"prompt_text": "Hi"}}
CALL = {"service": "google_places", "method": "text_search", "parameters": {"query": "${input.q}"}}


async def build() -> dict[str, Any]:
    async with open_workbench(Settings(_env_file=None)) as workbench:
        return workbench.file_schema()


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return asyncio.run(build())


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema)


def file_with(step: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"name": "w", "steps": [step or STEP], **fields}


def transform(operation: str, **config: Any) -> dict[str, Any]:
    return {"id": "t", "type": "transform", "config": {"operation": operation, "input": "x", "config": config}}


class TestBuildFileSchema:
    def test_is_the_one_that_is_stored(self, schema: dict[str, Any]) -> None:
        stored = (ROOT / "workflows" / "workflow.schema.json").read_text()

        assert schema_text(schema) == stored  # else: callboard schema -o workflows/workflow.schema.json

    def test_is_a_json_schema(self, schema: dict[str, Any]) -> None:
        assert jsonschema_rs.meta.is_valid(schema)

    def test_describes_every_field_of_files_and_steps(self, schema: dict[str, Any]) -> None:
        shown = {**schema["properties"], **schema["$defs"]["StepDefinition"]["properties"]}

        assert [name for name, about in shown.items() if about and "description" not in about] == []

    @pytest.mark.parametrize(
        "path",
        [
            pytest.param(path, id=path.stem)
            for path in sorted((ROOT / "workflows" / "definitions").glob("*.json"))
            if not path.name.endswith(".test.json")
        ],
    )
    def test_takes_what_ships(self, validator: jsonschema_rs.Draft202012Validator, path: Path) -> None:
        definition = json.loads(path.read_text())

        assert list(validator.iter_errors(definition)) == []
        assert (path.parent / definition["$schema"]).resolve() == ROOT / "workflows" / "workflow.schema.json"

    @pytest.mark.parametrize(
        "definition",
        [
            pytest.param(file_with(), id="least"),
            pytest.param(
                file_with(inputs=[{"name": "q", "type": "str", "required": True}], timeout=5), id="short forms"
            ),
            pytest.param(file_with({**STEP, "retry_count": 2, "retry_delay": 1, "timeout": 3}), id="short retry"),
            pytest.param(
                file_with({**STEP, "config": {"prompt_text": "x", "error_mode": "continue"}}), id="config mode"
            ),
            pytest.param(
                file_with({**STEP, "config": {"prompt_text": "x", "temperature": "${input.t}"}}), id="reference"
            ),
            pytest.param(file_with({"id": "a", "type": "external_api", "config": CALL}), id="call"),
            pytest.param(
                file_with(
                    {
                        "id": "a",
                        "type": "external_api",
                        "config": {**CALL, "parameters": {"query": "x", "max_results": "${input.n}"}},
                    }
                ),
                id="reference for a number",
            ),
            pytest.param(
                file_with({"id": "a", "type": "parallel", "for_each": "${input.l}", "steps": [STEP]}), id="loop"
            ),
            pytest.param(
                file_with({"id": "a", "type": "parallel", "config": {"branches": {"x": [STEP]}}}), id="branches"
            ),
            pytest.param(
                file_with({"id": "a", "type": "conditional", "condition": "true", "if_true": [STEP]}), id="condition"
            ),
            pytest.param(file_with(transform("extract_fields", fields={"a": "b.c"})), id="extract_fields"),
            pytest.param(file_with(transform("merge", sources=["steps.a.output", {"b": 1}])), id="merge"),
            pytest.param(file_with(transform("filter", condition="item > 1")), id="filter"),
            pytest.param(file_with(transform("markdown_to_json", format="sections")), id="format"),
            pytest.param(file_with({"id": "a", "type": "approval"}), id="approval"),
            pytest.param(file_with({"id": "a", "type": "approval", "timeout": 30_000_000}), id="a year's time-out"),
            pytest.param(
                file_with({"id": "a", "type": "wait", "config": {"event": "x"}, "timeout_seconds": "${input.s}"}),
                id="reference for a time-out",
            ),
        ],
    )
    def test_takes_what_the_reader_takes(
        self, validator: jsonschema_rs.Draft202012Validator, definition: dict[str, Any]
    ) -> None:
        assert [(each.instance_path, each.message) for each in validator.iter_errors(definition)] == []

    @pytest.mark.parametrize(
        "definition",
        [
            pytest.param({"name": "w"}, id="no steps"),
            pytest.param(file_with(nmae="x"), id="unknown field"),
            pytest.param(file_with({**STEP, "type": "lm"}), id="unknown type"),
            pytest.param(file_with({**STEP, "condition": "true"}), id="a container's field"),
            pytest.param(file_with({**STEP, "config": {"prompt": "x"}}), id="unknown config"),
            pytest.param(file_with({**STEP, "config": {"model": "x"}}), id="no prompt"),
            pytest.param(
                file_with({"id": "a", "type": "external_api", "config": {**CALL, "service": "x"}}), id="service"
            ),
            pytest.param(
                file_with({"id": "a", "type": "external_api", "config": {**CALL, "method": "x"}}), id="method"
            ),
            pytest.param(
                file_with({"id": "a", "type": "external_api", "config": {**CALL, "parameters": {"qery": "x"}}}),
                id="parameter",
            ),
            pytest.param(file_with(transform("joyn")), id="operation"),
            pytest.param(file_with(transform("join", separater="x")), id="operation's field"),
            pytest.param(file_with({"id": "a", "type": "parallel", "steps": [{**STEP, "type": "x"}]}), id="inner step"),
            pytest.param(file_with({**STEP, "timeout_seconds": 30_000_000}), id="a year for one call"),
            pytest.param(file_with({"id": "a", "type": "wait"}), id="wait for nothing"),
            pytest.param(
                file_with({"id": "a", "type": "wait", "config": {"seconds": 1, "event": "x"}}), id="two waits"
            ),
            pytest.param(file_with({"id": "a", "type": "approval", "config": {"quorum": 2}}), id="approval's field"),
        ],
    )
    def test_refuses_what_the_reader_refuses(
        self, validator: jsonschema_rs.Draft202012Validator, definition: dict[str, Any]
    ) -> None:
        assert not validator.is_valid(definition)
