"""docs/guides/steering-jobs.md: every request on the page is sent to a real server, and answered as the page says."""

import re
import sys

import pytest
from fastapi.routing import APIRoute

from callboard.jobs import people_router, spending_router
from tests.e2e.test_api_guide import STEERING, serving
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

EXAMPLES = read_examples(STEERING)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    """What came of every example, run in the order of the page."""
    require_curl()
    folder = tmp_path_factory.mktemp("steering")
    with serving(folder) as url:
        environment = environment_without_settings({"callboard_url": url})
        return run_examples(EXAMPLES, folder, environment=environment, python=sys.executable)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Ids stand for the same real ones over the whole page."""
    return Comparison()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
class TestExamples:
    def test_are_answered_as_the_page_says(
        self, example: Example, outcomes: dict[int, Outcome], comparison: Comparison
    ) -> None:
        assert find_mistakes(example, outcomes[example.number], comparison) == []


class TestPage:
    @pytest.mark.parametrize("router", [people_router.router, spending_router.router], ids=["people", "spending"])
    def test_shows_a_request_of_every_operation(self, router: object) -> None:
        requests = "".join(example.block.text for example in EXAMPLES)

        paths = [route.path for route in getattr(router, "routes", ()) if isinstance(route, APIRoute)]
        missing = [path for path in paths if not re.search(re.sub(r"\{[^}]*\}", r"[^ ?]+", path), requests)]
        assert missing == []
