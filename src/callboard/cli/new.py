"""`callboard new`: a workflow with prompts, an input and a recorded test that passes; a package of one's own steps."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from callboard.cli.answer_files import ANSWERS_SUFFIX
from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.job_views import new_table
from callboard.cli.new_files import NewFile, fill_in, fill_in_all, template_folder, write_new
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.cli.schema import schema_text
from callboard.core.config import Settings, load_settings
from callboard.workbench import open_workbench
from callboard.workflows.findings import suggest

TEMPLATES = {  # a folder of templates/workflows -> what `--list` says of it
    "blank": "One transform, no model: the smallest file that runs.",
    "llm": "One question to a model, answered as data that fits a schema.",
    "api": "An outside service, and what to do when it fails.",
    "review": "Draft, judge, and write again only where needed.",
    "approval": "A person publishes a draft, asks for changes, or drops it.",
    "loop": "The same question for each item of a list, several at a time.",
}
NEEDS_SANDBOX = {"api"}  # its service needs a key, or the word that answers may be made up
SCHEMA_NAME = "workflow.schema.json"  # beside the folder of definitions, whose files refer to it
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,99}")
_PACKAGE_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def new() -> None:
    """Make a workflow from a template, or a package of one's own steps."""


@app.command(
    epilog="Examples:\n\ncallboard new workflow greeting\n\ncallboard new workflow triage --template review\n\n"
    "callboard new workflow --list"
)
def workflow(
    name: Annotated[
        str, typer.Argument(help="Its name: small letters, digits, _ and -, a letter first.", show_default=False)
    ] = "",
    template: Annotated[str, typer.Option("--template", "-t", help=f"One of {', '.join(TEMPLATES)}.")] = "llm",
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Folder that gets definitions/, prompts/, inputs/. Without: that of the settings."),
    ] = None,
    is_list: Annotated[bool, typer.Option("--list", help="Show the templates.")] = False,
    is_json: JsonOption = False,
) -> None:
    """Make a workflow that runs at once: definition, prompts, an input, a recorded test. Overwrites nothing."""
    output = open_output(is_json=is_json)
    if is_list:
        _show_templates(output)
        return
    with reporting(output):
        settings = load_settings()
        places = _places(settings, folder)
        made = _new_files(_checked(name, template), template, places)
        write_new([*made, *_schema_file(settings, places)])
    _show_next(output, name, [each.path for each in made], _commands_of_workflow(template, made))


@app.command(epilog="Examples:\n\ncallboard new plugin acme_tools\n\ncallboard new plugin acme_tools --dir ~/code")
def plugin(
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits and _, a letter first.")],
    folder: Annotated[Path, typer.Option("--dir", help="Folder that gets the package's folder.")] = Path(),
    is_json: JsonOption = False,
) -> None:
    """Make a Python package with a service, a transform and a step type of one's own, and a workflow that uses them."""
    output = open_output(is_json=is_json)
    with reporting(output):
        if not _PACKAGE_NAME.fullmatch(name):
            raise _wrong(f"{name!r} is no name for a package: small letters, digits and _, a letter first.")
        made = _new_package(name, folder / name)
        write_new(made)
    commands = [f"pip install --editable {folder / name}", "callboard plugins", f"callboard test {folder / name}"]
    _show_next(output, name, [each.path for each in made], commands)


@dataclass(frozen=True, slots=True)
class _Places:
    definitions: Path
    prompts: Path
    inputs: Path


def _places(settings: Settings, folder: Path | None) -> _Places:
    """Return the folders that the new files go to."""
    if folder is not None:
        return _Places(folder / "definitions", folder / "prompts", folder / "inputs")
    return _Places(settings.workflows_dir, settings.prompts_dir, settings.workflows_dir.parent / "inputs")


def _checked(name: str, template: str) -> str:
    """Return `name`. Raises: CommandError, when it is none that a workflow may have, or the template is unknown."""
    if not name:
        raise _wrong("Give the workflow a name: callboard new workflow NAME. --list shows the templates.")
    if not _NAME.fullmatch(name):
        better = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-0123456789")
        hint = f" Try {better}." if _NAME.fullmatch(better) else ""
        raise _wrong(f"{name!r} is no name for a workflow: small letters, digits, _ and -, a letter first.{hint}")
    if template not in TEMPLATES:
        raise _wrong(f"There is no template {template!r}.{suggest(template, TEMPLATES, what='Templates:')}")
    return name


def _new_files(name: str, template: str, places: _Places) -> list[NewFile]:
    """Return what a new workflow consists of. Nothing is written yet."""
    source, words = template_folder("workflows", template), {"__NAME__": name}
    made = [
        fill_in(source / "definition.json", places.definitions / f"{name}.json", words),
        fill_in(source / "test.json", places.definitions / f"{name}.test.json", words),
        fill_in(source / "input.json", places.inputs / f"{name}.json", words),
    ]
    answers = source / "answers.json"
    if answers.is_file():
        made.append(fill_in(answers, places.inputs / f"{name}{ANSWERS_SUFFIX}", words))
    prompts = source / "prompts"
    if prompts.is_dir():
        made += fill_in_all(prompts, places.prompts / name, words)
    return made


def _schema_file(settings: Settings, places: _Places) -> list[NewFile]:
    """Return the schema by which editors complete definitions, where it is not there yet."""
    path = places.definitions.parent / SCHEMA_NAME
    return [] if path.exists() else [NewFile(path, schema_text(asyncio.run(_file_schema(settings))))]


async def _file_schema(settings: Settings) -> dict[str, Any]:
    async with open_workbench(settings) as workbench:
        return workbench.file_schema()


def _new_package(name: str, folder: Path) -> list[NewFile]:
    """Return what a new package consists of. Nothing is written yet."""
    source = template_folder("plugin")
    words = {"__NAME__": name, "__DISTRIBUTION__": name.replace("_", "-"), "__UPPER__": name.upper()}
    made = list(fill_in_all(source, folder, words))
    package = folder / "package"
    return [
        NewFile(folder / name / each.path.name, each.text) if each.path.parent == package else each for each in made
    ]


def _show_templates(output: Output) -> None:
    if output.is_json:
        output.document({"templates": [{"name": name, "description": text} for name, text in TEMPLATES.items()]})
        return
    table = new_table("template", "what it shows", whole=("template",))
    for name, text in TEMPLATES.items():
        table.add_row(Text(name, style="bold"), text)
    output.say(table)


def _commands_of_workflow(template: str, made: Sequence[NewFile]) -> list[str]:
    definition, test, sample = (each.path for each in made[:3])
    made_up = "DEFAULT_LLM_PROVIDER=sandbox " if template in NEEDS_SANDBOX else ""
    ahead = "".join(f" --answers {each.path}" for each in made if each.path.name.endswith(ANSWERS_SUFFIX))
    return [
        f"callboard validate {definition}",
        f"{made_up}callboard run {definition} --input {sample}{ahead}",
        f"callboard test {test}",
    ]


def _show_next(output: Output, name: str, paths: Sequence[Path], commands: Sequence[str]) -> None:
    if output.is_json:
        output.document({"name": name, "files": [str(path) for path in paths], "next": list(commands)})
        return
    for path in paths:
        output.say(f"  {path}", soft_wrap=True)
    output.say("Next:", style="bold")
    for command in commands:
        output.say(f"  {command}", soft_wrap=True)


def _wrong(message: str) -> CommandError:
    return CommandError(message, exit_code=ExitCode.USAGE, title="Usage")
