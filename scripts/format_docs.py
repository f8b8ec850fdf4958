"""Write the tables of `docs/workflow-format.md` from the models that read workflow files.

    python scripts/format_docs.py           write them
    python scripts/format_docs.py --check   exit 1 when the page differs from what would be written

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`; the text around it is written by
hand. Run by `make check`, and by whoever changes a model of the format.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from callboard.core.config import Settings
from callboard.core.http_client import HttpClient
from callboard.workbench import Workbench, build_workbench
from callboard.workflows.definition import RetryPolicy, StepDefinition, WorkflowDefinition
from callboard.workflows.steps.transform import TransformStep
from callboard.workflows.transforms.markdown.schema import FieldRule, MarkdownSchema, SectionRule

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path("docs/workflow-format.md")
MAX_DEFAULT_CHARS = 40
REFERENCE_PATTERN = r"^\$\{.*\}$"

_TABLE = re.compile(r"(<!-- table: (?P<name>[a-z_:. ]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def page(text: str, tables: Mapping[str, str]) -> str:
    """Return `text` with every table as it should be. Raises: KeyError, for a table that nothing makes."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{tables[match['name']]}\n{match[3]}", text)


def tables(workbench: Workbench) -> dict[str, str]:
    """Return every table by name."""
    return dict(_tables(workbench))


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Write the page, or with --check tell whether it differs. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/workflow-format.md from the models.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page differs")
    is_check = parser.parse_args(arguments).check
    file = root / PAGE
    text = file.read_text("utf-8")
    wanted = page(text, tables(_open_workbench()))
    if wanted == text:
        return 0
    if is_check:
        print(f"{PAGE} differs from the models; run: python scripts/format_docs.py")
        return 1
    file.write_text(wanted, "utf-8")
    print(f"wrote {PAGE}")
    return 0


def _open_workbench() -> Workbench:
    settings = Settings(  # every service live, so that its parameters are those of the live one
        _env_file=None,
        google_places_api_key=SecretStr("unused"),
        prompts_dir=ROOT / "workflows/prompts",
    )
    return build_workbench(settings, HttpClient())


def _tables(workbench: Workbench) -> Iterator[tuple[str, str]]:
    yield "workflow", _fields(WorkflowDefinition)
    yield "step", _fields(StepDefinition, leave_out={"id", "type", "config"})
    yield "retry", _fields(RetryPolicy)
    yield "markdown schema", _fields(MarkdownSchema)
    yield "markdown schema: section", _fields(SectionRule)
    yield "markdown schema: field", _fields(FieldRule)
    registry = workbench.registry
    for step_type in registry.types:
        yield f"step: {step_type}", _fields(registry.get(step_type).config_model)
    for name in workbench.services.names:
        service = workbench.services.get(name)
        for method, model in service.methods.items():
            yield f"service: {name}.{method}", _fields(model)
    transform = registry.get(TransformStep.type)
    if isinstance(transform, TransformStep):
        for operation, config_model in transform.operation_models.items():
            yield f"transform: {operation}", _fields(config_model)


def _fields(model: type[BaseModel], leave_out: frozenset[str] | set[str] = frozenset()) -> str:
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, about in schema.get("properties", {}).items():
        if name not in leave_out:
            default = "required" if name in required else _default(about)
            cells = (f"`{name}`", _type(about, schema), default, about.get("description", ""))
            rows.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(about: Mapping[str, Any]) -> str:
    value = about.get("default")
    if value in (None, "", [], {}):
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= MAX_DEFAULT_CHARS else "see the text"


def _type(about: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the JSON type of a property in words, with what it may hold."""
    if "$ref" in about:
        return _type(schema["$defs"][about["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in about:
        kinds = [_type(kind, schema) for kind in about["anyOf"] if kind != {"type": "null"}]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in about:
        return "one of " + ", ".join(f"`{value}`" for value in about["enum"])
    if "const" in about:
        return f"`{about['const']}`"
    if about.get("pattern") == REFERENCE_PATTERN:
        return "a reference"
    kind = str(about.get("type", "any JSON"))
    if kind == "array" and "items" in about:
        inner = _type(about["items"], schema)
        return "array" if inner == "any JSON" else f"array of {inner}"
    bounds = _bounds(about)
    return f"{kind} ({bounds})" if bounds else kind


def _bounds(about: Mapping[str, Any]) -> str:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
        "minLength": "{} characters or more",
        "maxLength": "{} characters or fewer",
        "pattern": "`{}`",
    }
    told = [text.format(about[key]) for key, text in words.items() if key in about]
    return ", ".join("not empty" if text == words["minLength"].format(1) else text for text in told)


if __name__ == "__main__":
    sys.exit(main())
