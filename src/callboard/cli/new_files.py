"""Files from templates: what a new workflow or plugin consists of, and how it is written. Called by `new`.

A template is a folder of `callboard/templates`. Words such as `__NAME__` in it are filled in, and a last `.txt`
in a file's name, which keeps Python's tools from reading it, is taken off.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError

SUFFIX = ".txt"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is to be written."""

    path: Path
    text: str


def template_folder(*names: str) -> Traversable:
    """Return the folder of a template."""
    return files("callboard").joinpath("templates", *names)


def fill_in(source: Traversable, path: Path, words: Mapping[str, str]) -> NewFile:
    """Return the template `source` as the file `path`, each of `words` replaced by what it stands for."""
    text = source.read_text("utf-8")
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return NewFile(path, text)


def fill_in_all(source: Traversable, folder: Path, words: Mapping[str, str]) -> Iterator[NewFile]:
    """Yield every file below `source` as one of `folder`."""
    for each in sorted(source.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            yield from fill_in_all(each, folder / each.name, words)
        else:
            yield fill_in(each, folder / each.name.removesuffix(SUFFIX), words)


def write_new(made: Sequence[NewFile]) -> None:
    """Write all of them, or none when one is there already. Raises: CommandError."""
    there = [str(each.path) for each in made if each.path.exists()]
    if there:
        raise CommandError(
            f"Not overwritten: {', '.join(there)}. Choose another name, or move them away.",
            exit_code=ExitCode.REFUSED,
            title="Already there",
        )
    try:
        for each in made:
            each.path.parent.mkdir(parents=True, exist_ok=True)
            each.path.write_text(each.text, "utf-8")
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}.", title="Cannot be written") from error
