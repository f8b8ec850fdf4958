"""The picture of a run: a tree of its steps, with what is under way, tried again, paid and gone wrong."""

from decimal import Decimal

from rich.console import Console

from callboard.cli.output import Output
from callboard.cli.run_tree import RunTree
from callboard.cli.run_views import LiveView, describe_step, show_end, watching
from callboard.core import clock
from callboard.workflows.local_runs import LocalResult
from callboard.workflows.steps.base import StepOutcome, StepRecord, UsageRecord

ERROR = {"type": "provider_timeout", "message": "No answer in time.", "step_id": "a", "details": {"model": "m"}}


def usage(provider: str = "openai", service: str = "llm") -> UsageRecord:
    return UsageRecord(
        service=service,
        provider=provider,
        model="m",
        task_name="a",
        input_units=1000,
        output_units=200,
        cost_usd=Decimal("0.0123"),
        duration_ms=1,
    )


def ended(path: str, outcome: StepOutcome = StepOutcome.SUCCEEDED, *, attempts: int = 1) -> StepRecord:
    moment = clock.now()
    error = None if outcome is StepOutcome.SUCCEEDED else ERROR
    return StepRecord(
        path=path,
        step_id="a",
        step_type="llm",
        outcome=outcome,
        started_at=moment,
        completed_at=moment,
        attempts=attempts,
        error=error,
    )


def picture(view: LiveView) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def line_of(tree: RunTree, path: str) -> str:
    return str(describe_step(tree.node(path), name=path, now=tree.now()))


class TestLiveView:
    def test_draws_branches_and_loops_below_their_step(self) -> None:
        view = LiveView()

        for path in ("each", "each[0]/draft", "each[1]/draft"):
            view.step_started(path, "llm")

        lines = [line.strip("├└─│ \n") for line in picture(view).splitlines()]
        assert [line.split("  ")[0].lstrip("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ") for line in lines[:-1]] == [
            "each",
            "each[0]",
            "draft",
            "each[1]",
            "draft",
        ]

    def test_counts_what_was_paid_below(self) -> None:
        view = LiveView(now=lambda: 5.0)

        view.call_ended("a#1", usage())
        view.call_ended("b#1", usage())

        assert picture(view).splitlines()[-1].strip() == "0 ms  2 calls, 2,400 tokens, $0.0246"

    def test_leaves_out_what_went_well_of_a_long_loop(self) -> None:
        view = LiveView()
        for index in range(100):
            view.step_ended(ended(f"each[{index}]/a"))
        view.step_ended(ended("each[100]/a", StepOutcome.FAILED))

        drawn = picture(view)

        assert "each[100]" in drawn
        assert "and 100 more" in drawn
        assert len(drawn.splitlines()) < 10


class TestDescribeStep:
    def test_shows_the_end_of_a_streamed_answer(self) -> None:
        tree = RunTree(now=lambda: 1.0)
        tree.step_started("a", "llm")

        for _ in range(300):
            tree.text_came("a", "word\n")
        tree.text_came("a", "the end")

        assert "1,507 characters" in line_of(tree, "a")
        assert line_of(tree, "a").endswith("the end")

    def test_shows_why_a_step_is_tried_again(self) -> None:
        tree = RunTree(now=lambda: 1.0)
        tree.step_started("a", "llm")
        tree.text_came("a", "half an answer")

        tree.step_retrying("a", attempt=2, delay_seconds=1.5, error=ERROR)

        assert "(2 attempts)  again after 1.5 s: No answer in time." in line_of(tree, "a")
        assert "characters" not in line_of(tree, "a")

    def test_shows_how_a_step_ended(self) -> None:
        tree = RunTree()

        tree.step_ended(ended("good", attempts=2))
        tree.step_ended(ended("bad", StepOutcome.FAILED))
        tree.step_ended(ended("not", StepOutcome.SKIPPED))

        assert line_of(tree, "good").startswith("✓ good  llm")
        assert "(2 attempts)" in line_of(tree, "good")
        assert "failed: No answer in time." in line_of(tree, "bad")
        assert "skipped" in line_of(tree, "not")

    def test_lets_nothing_from_outside_move_the_cursor(self) -> None:
        tree = RunTree()
        tree.step_started("a", "llm")

        tree.text_came("a", "\x1b[2J")

        assert "\x1b" not in line_of(tree, "a")


def output(*, is_terminal: bool) -> Output:
    console = Console(width=100, force_terminal=is_terminal, record=True, file=None, stderr=True)
    return Output(is_json=False, console=console, errors=console)


class TestWatching:
    def test_draws_the_tree_a_last_time_on_a_terminal(self) -> None:
        shown = output(is_terminal=True)

        with watching(shown, is_quiet=False) as view:
            view.step_started("a", "llm")
            view.step_ended(ended("a"))

        assert shown.errors.export_text().splitlines()[-1].startswith("✓ a  llm")

    def test_writes_a_line_per_event_elsewhere(self) -> None:
        shown = output(is_terminal=False)

        with watching(shown, is_quiet=False) as view:
            view.step_started("a/b", "llm")
            view.step_retrying("a/b", attempt=2, delay_seconds=1, error=ERROR)
            view.step_ended(ended("a/b", StepOutcome.FAILED))

        lines = shown.errors.export_text().splitlines()
        assert [line.strip()[:7].strip() for line in lines] == ["▸ a/b", "↻ a/b", "✗ a/b"]

    def test_is_silent_when_it_is_told(self) -> None:
        shown = output(is_terminal=True)

        with watching(shown, is_quiet=True) as view:
            view.step_started("a", "llm")

        assert shown.errors.export_text() == ""


class TestShowEnd:
    def test_tells_the_error_with_its_details_and_who_was_paid(self) -> None:
        shown = output(is_terminal=False)
        calls = [usage(), usage("replay"), usage("sandbox", "google_places")]

        show_end(shown, LocalResult(status="failed", error=ERROR, duration_ms=1500), calls)

        said = shown.errors.export_text()
        for part in (
            "failed in 1.5 s: 3 calls, 2,400 tokens",
            "provider_timeout in step a",
            "model: m",
            "openai (live)",
        ):
            assert part in said
        assert "google_places answered by: sandbox (made-up answers" in said
