"""The newcomer's guides: every command on the pages is run in an empty folder, and gives what the page shows."""

import re
import sys
from pathlib import Path

import pytest

from tests.fixtures.console_pages import Command, Ended, commands_of, compare, find_mistakes, perform
from tests.fixtures.page_examples import environment_without_settings
from tests.fixtures.processes import ROOT, free_port

GUIDES = ROOT / "docs" / "guides"
FIRST, TESTING = GUIDES / "first-workflow.md", GUIDES / "testing-workflows.md"
PEOPLE = GUIDES / "people-and-time.md"
COLUMNS = 120


def outcomes_of(page: Path, folder: Path) -> dict[int, Ended]:
    """Do what `page` says in `folder`, with no settings but the defaults and no key, and return what came."""
    port = free_port()
    environment = environment_without_settings({"port": port, "columns": COLUMNS})
    commands = Path(sys.executable).parent  # where `callboard` is, as after `. .venv/bin/activate`
    environment["PATH"] = f"{commands}:{environment['PATH']}"
    return perform(page, folder, environment=environment, url=f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Ended]:
    return outcomes_of(FIRST, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def testing(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Ended]:
    return outcomes_of(TESTING, tmp_path_factory.mktemp("testing"))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Ended]:
    return outcomes_of(PEOPLE, tmp_path_factory.mktemp("people"))


class TestFirstWorkflow:
    @pytest.mark.parametrize("command", commands_of(FIRST), ids=lambda command: command.name)
    def test_gives_what_the_page_shows(self, command: Command, first: dict[int, Ended]) -> None:
        assert find_mistakes(command, first[command.line]) == []

    def test_uses_every_command_that_a_newcomer_needs(self) -> None:
        used = {name for command in commands_of(FIRST) for name in re.findall(r"\bcallboard ([a-z-]+)", command.text)}

        assert used >= {"new", "validate", "run", "dry-run", "test", "serve", "submit", "diagram"}


class TestTestingWorkflows:
    @pytest.mark.parametrize("command", commands_of(TESTING), ids=lambda command: command.name)
    def test_gives_what_the_page_shows(self, command: Command, testing: dict[int, Ended]) -> None:
        assert find_mistakes(command, testing[command.line]) == []


class TestPeopleAndTime:
    @pytest.mark.parametrize("command", commands_of(PEOPLE), ids=lambda command: command.name)
    def test_gives_what_the_page_shows(self, command: Command, people: dict[int, Ended]) -> None:
        assert find_mistakes(command, people[command.line]) == []


class TestCompare:
    @pytest.mark.parametrize(
        ("shown", "output"),
        [
            pytest.param(["2 passed in 26 ms"], "2 passed in 1.5 s\n", id="a duration"),
            pytest.param(["a   b"], "\n a b\n\n", id="blanks"),
            pytest.param(["Job 01a1…"], "Job 01a1f989-9b40 is stored\n", id="the rest of a line"),
            pytest.param(["a", "…", "d"], "a\nb\nc\nd\n", id="lines left out"),
            pytest.param(["a", "…"], "a\nb\n", id="the rest left out"),
        ],
    )
    def test_takes_what_is_the_same(self, shown: list[str], output: str) -> None:
        assert compare(shown, output) == []

    @pytest.mark.parametrize(
        ("shown", "output"),
        [
            pytest.param(["a"], "b\n", id="another line"),
            pytest.param(["a"], "a\nb\n", id="a line too few"),
            pytest.param(["a", "b"], "a\n", id="a line too many"),
            pytest.param(["a", "c"], "a\nb\nc\n", id="a line left out without a word"),
            pytest.param(["…", "b", "a"], "a\nb\n", id="another order"),
        ],
    )
    def test_refuses_what_differs(self, shown: list[str], output: str) -> None:
        assert len(compare(shown, output)) == 1
