"""docs/housekeeping.md: every command and request on the page is run against a real server, and gives what it says."""

import re
import sys

import pytest
from fastapi.routing import APIRoute

from callboard.jobs.admin_router import router
from tests.e2e.test_api_guide import serving
from tests.fixtures.page_examples import (
    Comparison,
    Example,
    Outcome,
    environment_without_settings,
    find_mistakes,
    read_examples,
    require_curl,
    run_examples,
)
from tests.fixtures.processes import ROOT

PAGE = ROOT / "docs" / "housekeeping.md"
EXAMPLES = read_examples(PAGE)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    """What came of every example, run in the order of the page."""
    require_curl()
    folder = tmp_path_factory.mktemp("housekeeping")
    prelude = [f'callboard() {{ "{sys.executable}" -m callboard.cli.main "$@"; }}']
    with serving(folder) as url:
        environment = environment_without_settings({"callboard_url": url})
        return run_examples(EXAMPLES, folder, environment=environment, python=sys.executable, prelude=prelude)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
class TestExamples:
    def test_give_what_the_page_says(self, example: Example, outcomes: dict[int, Outcome]) -> None:
        assert find_mistakes(example, outcomes[example.number], Comparison()) == []


class TestPage:
    def test_shows_a_request_of_every_operation(self) -> None:
        requests = "".join(example.block.text for example in EXAMPLES)

        paths = [route.path for route in router.routes if isinstance(route, APIRoute)]
        missing = [path for path in paths if not re.search(re.sub(r"\{[^}]*\}", r"[^ ?]+", path), requests)]
        assert missing == []
