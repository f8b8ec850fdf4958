"""docs/api-guide.md: every request on the page is sent to a real server, and answered as the page says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from callboard.core.errors import CallboardError, StepError
from callboard.jobs.router import router
from tests.fixtures.page_examples import (
    Block,
    Comparison,
    Example,
    Outcome,
    environment_without_settings,
    find_mistakes,
    read_examples,
    require_curl,
    run_examples,
)
from tests.fixtures.processes import ROOT, STOP_SECONDS, free_port, wait_until_ready

PAGE = ROOT / "docs" / "api-guide.md"
STEERING = ROOT / "docs" / "guides" / "steering-jobs.md"  # its second half; its requests: `test_steering_guide.py`
MAX_LINES = 350
EXAMPLES = read_examples(PAGE)
# What `core/problems.py` and `core/http_middleware.py` answer without an error class of ours.
PLAIN_CODES = {
    ("body_too_large", 413),
    ("internal_error", 500),
    ("invalid_json", 400),
    ("method_not_allowed", 405),
    ("unsupported_media_type", 415),
}
# The modules whose errors a request meets: each is on the page.
ERROR_MODULES = {"callboard.accounts.errors", "callboard.jobs.errors", "callboard.workflows.errors"}
INTERNAL_ERROR = 500
ID, OTHER_ID = "01a1f97b-daac-747b-8d66-6152e8e66b30", "01a1f97b-0000-747b-8d66-6152e8e66b30"


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run a server as `make serve` does, with its data in `folder` and no settings but the defaults; give its URL."""
    port = free_port()
    settings = {
        "port": port,
        "callboard_home": ".callboard",
        "workflows_dir": ROOT / "workflows" / "definitions",
        "prompts_dir": ROOT / "workflows" / "prompts",
        "markdown_schemas_dir": ROOT / "workflows" / "markdown_schemas",
        "log_level": "ERROR",
    }
    command = [sys.executable, "-m", "callboard.cli.main", "serve"]
    # in the folder, so that no .env and no settings.ini of whoever runs the tests is read
    environment = environment_without_settings(settings)
    running = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, text=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, running)
        yield url
    finally:
        running.kill()
        running.wait(STOP_SECONDS)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    """What came of every example, run in the order of the page."""
    require_curl()
    folder = tmp_path_factory.mktemp("guide")
    with serving(folder) as url:
        environment = environment_without_settings({"callboard_url": url})
        return run_examples(EXAMPLES, folder, environment=environment, python=sys.executable)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """The ids of the page and the real ones, over all examples."""
    return Comparison()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
class TestExamples:
    def test_are_answered_as_the_page_says(
        self, example: Example, outcomes: dict[int, Outcome], comparison: Comparison
    ) -> None:
        assert find_mistakes(example, outcomes[example.number], comparison) == []


class TestErrorCodes:
    def test_are_codes_that_the_api_has(self) -> None:
        known = {(error.code, error.status) for error in error_classes(CallboardError)} | PLAIN_CODES

        assert set(told_codes()) - known == set()

    def test_leave_out_none_that_keys_jobs_and_workflows_answer_with(self) -> None:
        met = {
            (error.code, error.status)
            for error in error_classes(CallboardError)
            if error.__module__ in ERROR_MODULES and error.status != INTERNAL_ERROR
        }

        assert (met | PLAIN_CODES) - set(told_codes()) == set()


class TestPage:
    def test_is_no_longer_than_a_page_may_be(self) -> None:
        assert len(PAGE.read_text("utf-8").splitlines()) < MAX_LINES

    def test_shows_a_request_of_every_operation_on_jobs(self) -> None:
        requests = "".join(example.block.text for page in (PAGE, STEERING) for example in read_examples(page))

        paths = [route.path for route in router.routes if isinstance(route, APIRoute)]
        missing = [path for path in paths if not re.search(re.sub(r"\{[^}]*\}", r"[^ ?]+", path), requests)]
        assert missing == []


class TestComparison:
    @pytest.mark.parametrize(
        ("shown", "real", "place"),
        [
            pytest.param({"a": 1, "b": 2}, {"a": 1}, "/b", id="a key that is not there"),
            pytest.param({"a": 1}, {"a": 1, "b": 2}, "/b", id="a key that the page lacks"),
            pytest.param({"a": 1, "…": "…"}, {"a": 1}, "", id="no more keys"),
            pytest.param({"a": 1}, {"a": 2}, "/a", id="another number"),
            pytest.param({"a": 1}, {"a": True}, "/a", id="another type"),
            pytest.param({"duration_ms": 3}, {"duration_ms": None}, "/duration_ms", id="another type of a time"),
            pytest.param([1, 2], [1], "", id="fewer entries"),
            pytest.param([1, "…"], [1], "", id="no more entries"),
            pytest.param("it begins…", "it ends", "/", id="another beginning"),
            pytest.param({"at": "2026-11-20T10:00:00Z"}, {"at": "today"}, "/at", id="no time"),
        ],
    )
    def test_finds_what_differs(self, shown: Any, real: Any, place: str) -> None:
        (found,) = Comparison().differences(shown, real)

        assert found.startswith(f"{place}: ")

    @pytest.mark.parametrize(
        ("shown", "real"),
        [
            pytest.param({"a": 1, "…": "…"}, {"a": 1, "b": 2}, id="more keys"),
            pytest.param([1, "…"], [1, 2, 3], id="more entries"),
            pytest.param("it begins…", "it begins, and ends", id="a beginning"),
            pytest.param({"duration_ms": 3}, {"duration_ms": 4}, id="a duration"),
            pytest.param({"at": "2026-11-20T10:00:00Z"}, {"at": "2026-11-21T11:30:00.5Z"}, id="a time"),
            pytest.param([{"id": ID}, f"/jobs/{ID}"], [{"id": OTHER_ID}, f"/jobs/{OTHER_ID}"], id="an id, twice"),
        ],
    )
    def test_takes_what_is_the_same(self, shown: Any, real: Any) -> None:
        assert Comparison().differences(shown, real) == []

    @pytest.mark.parametrize(
        ("shown", "real"), [([ID, ID], [OTHER_ID, ID]), ([ID, OTHER_ID], [ID, ID])], ids=["two things", "two names"]
    )
    def test_takes_one_id_for_one_thing(self, shown: Any, real: Any) -> None:
        assert len(Comparison().differences(shown, real)) == 1


class TestFindMistakes:
    def test_tells_a_wrong_status_and_a_header_that_is_not_there(self) -> None:
        block = Block(language="sh", text="curl -s x\n", line=1, file=None, after="200, with `ETag`:")
        example = Example(number=0, block=block, status=200, headers={"ETag": None}, answer="{}")

        found = find_mistakes(example, Outcome(output="{}", status=202, headers={}), Comparison())

        assert len(found) == 2


class TestRequireCurl:
    @pytest.mark.parametrize(
        ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)], ids=["CI", "elsewhere"]
    )
    def test_says_that_nothing_was_checked(
        self, ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("CI", ci)
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(outcome, match="curl"):
            require_curl()


def error_classes(root: type[CallboardError]) -> Iterator[type[CallboardError]]:
    """Yield every error that a request may meet: those of steps are shown in jobs."""
    for error in root.__subclasses__():
        if not issubclass(error, StepError):
            yield error
            yield from error_classes(error)


def told_codes() -> Iterator[tuple[str, int]]:
    """Yield each code of the tables of both pages with its status; a row may have several of both."""
    text = PAGE.read_text("utf-8") + STEERING.read_text("utf-8")
    rows = re.findall(r"^\| (\d{3}(?:, \d{3})*) \| (`[^|]+) \|", text, re.MULTILINE)
    for statuses, codes in rows:
        names, numbers = re.findall(r"`(\w+)`", codes), [int(number) for number in statuses.split(", ")]
        yield from zip(names, numbers * (len(names) if len(numbers) == 1 else 1), strict=True)
