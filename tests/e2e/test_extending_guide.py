"""docs/guides/extending.md: the package as it stands on the page is installed by pip and used by a workflow."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.page_examples import (
    Comparison,
    Example,
    Outcome,
    environment_without_settings,
    find_mistakes,
    read_blocks,
    read_examples,
    run_examples,
)
from tests.fixtures.processes import ROOT

PAGE = ROOT / "docs" / "guides" / "extending.md"
EXAMPLES = read_examples(PAGE)
OPTIONS = "--quiet --no-deps --no-index --no-build-isolation --disable-pip-version-check"


class QuietFiles(SimpleHTTPRequestHandler):
    """What `python3 -m http.server` serves with."""

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """Serve the files of `folder`, as the page's stand-in does, and give the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    """What came of every block, with the page's files in an empty folder and nothing installed but Callboard."""
    folder = tmp_path_factory.mktemp("extending")
    for block in read_blocks(PAGE):
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
    site = folder / "site"
    prelude = [
        f'pip() {{ "{sys.executable}" -m pip "$1" {OPTIONS} --target "{site}" "$2"; }}',
        f'callboard() {{ "{sys.executable}" -m callboard.cli.main "$@"; }}',
    ]
    with serving_files(folder / "fake") as url:
        environment = environment_without_settings({"acme_rates_url": url, "pythonpath": site, "columns": 200})
        return run_examples(EXAMPLES, folder, environment=environment, python=sys.executable, prelude=prelude)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
class TestExamples:
    def test_give_what_the_page_says(self, example: Example, outcomes: dict[int, Outcome]) -> None:
        assert find_mistakes(example, outcomes[example.number], Comparison()) == []


class TestPage:
    def test_shows_what_comes_of_the_package(self) -> None:
        commands = "".join(example.block.text for example in EXAMPLES if example.answer is not None)

        assert "callboard plugins" in commands
        assert "callboard run quote" in commands

    def test_says_how_each_module_that_it_imports_may_be_used(self) -> None:
        package = "".join(block.text for block in read_blocks(PAGE) if block.file is not None)

        imported = set(re.findall(r"^from (callboard[\w.]*) import", package, re.MULTILINE))
        assert imported - {module for module, _ in told_modules()} == set()

    def test_names_only_what_the_modules_have(self) -> None:
        missing = [
            f"{module}.{name}"
            for module, names in told_modules()
            for name in names
            if not hasattr(import_module(module), name)
        ]

        assert missing == []


def told_modules() -> Iterator[tuple[str, list[str]]]:
    """Yield each module of the page's table with the names that the page says it has."""
    rows = re.findall(r"^\| `(callboard\.[\w.]+)` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    for module, text in rows:
        yield module, [name for name in re.findall(r"`(\w+)`", text) if name not in PLUGIN_CONTEXT_FIELDS]


PLUGIN_CONTEXT_FIELDS = {"http", "read_secret", "prices"}
