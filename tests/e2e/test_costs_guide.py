"""docs/guides/costs.md: its commands give what the page shows. The sums on it: `tests/unit/test_costs_guide.py`."""

import sys
from pathlib import Path

import pytest

from tests.fixtures.page_examples import (
    Comparison,
    Example,
    Outcome,
    environment_without_settings,
    find_mistakes,
    read_examples,
    run_examples,
)
from tests.fixtures.processes import ROOT

EXAMPLES = read_examples(ROOT / "docs" / "guides" / "costs.md")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    """What came of every command, in a folder with the shipped workflows."""
    folder: Path = tmp_path_factory.mktemp("costs")
    (folder / "workflows").symlink_to(ROOT / "workflows")
    prelude = [f'callboard() {{ "{sys.executable}" -m callboard.cli.main "$@"; }}']
    environment = environment_without_settings({"columns": 200})
    return run_examples(EXAMPLES, folder, environment=environment, python=sys.executable, prelude=prelude)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
class TestExamples:
    def test_give_what_the_page_says(self, example: Example, outcomes: dict[int, Outcome]) -> None:
        assert find_mistakes(example, outcomes[example.number], Comparison()) == []
