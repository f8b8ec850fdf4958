"""How a run in memory looks: a live tree on a terminal, one line per event elsewhere, and its end.

Called by `run`. All of it goes to stderr, so that stdout has the result alone.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text
from rich.tree import Tree

from callboard.cli.formats import clean, format_count, format_duration, format_usd
from callboard.cli.output import Output
from callboard.cli.progress import MARKS
from callboard.cli.run_tree import LLM_SERVICE, RunTree, StepNode, cost_of, tokens_of
from callboard.workflows.local_runs import LocalResult
from callboard.workflows.steps.base import StepRecord, UsageRecord
from callboard.workflows.steps.waiting import Wait

REFRESH_PER_SECOND = 8
MAX_CHILDREN_AT_END = 60
MAX_CHILDREN = 12  # of a step in the live tree: a loop over hundreds would push the rest off the screen
TAIL_CHARS = 50  # of a streamed answer
MAX_ERROR_CHARS = 200  # of an attempt that is followed by another
_PLACE = re.compile(r'Workflow "[^"]*", step "[^"]*"(?: \([^)]*\))?: ')
RECORDED, MADE_UP = "replay", "sandbox"


class LineView(RunTree):
    """Writes a line for every event."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def step_started(self, path: str, step_type: str) -> None:
        super().step_started(path, step_type)
        self._say(Text.assemble(("  ▸ ", "cyan"), clean(path), (f"  {step_type}", "dim")))

    def step_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        super().step_retrying(path, attempt=attempt, delay_seconds=delay_seconds, error=error)
        again = f"again in {delay_seconds:.1f} s (attempt {attempt})"
        self._say(Text.assemble(("  ↻ ", "yellow"), clean(path), f"  {again}: {_short_error(error)}"))

    def step_waits(self, path: str, wait: Wait) -> None:
        super().step_waits(path, wait)
        self._say(Text.assemble(("  ⏸ ", "yellow"), clean(path), f"  {clean(self.node(path).waits_for)}"))

    def step_ended(self, record: StepRecord) -> None:
        super().step_ended(record)
        self._say(Text.assemble("  ", describe_step(self.node(record.path), name=record.path, now=self.now())))

    def _say(self, line: Text) -> None:
        self._output.errors.print(line, soft_wrap=True, highlight=False)


class LiveView(RunTree):
    """Draws the tree again and again, and a last time when the run has ended."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now=now)
        self._spinners: dict[str, Spinner] = {}  # kept, or each would begin anew with every picture
        self.live: Live | None = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        if self.live is not None:
            self.live.stop()
        try:
            yield
        finally:
            if self.live is not None:
                self.live.start()

    def __rich__(self) -> RenderableType:
        took = format_duration((self.now() - self.started) * 1000)
        total = Text(f"{took}  {describe_usage(self.usage())}", style="dim")
        return Group(*draw_tree(self, label=self._label, max_children=MAX_CHILDREN), total)

    def _label(self, node: StepNode) -> RenderableType:
        line = describe_step(node, name=node.name, now=self.now())
        if not node.is_running:
            return line
        spinner = self._spinners.setdefault(node.path, Spinner("dots"))
        spinner.update(text=line)
        return spinner


@contextmanager
def watching(output: Output, *, is_quiet: bool) -> Iterator[RunTree]:
    """Give what a run tells its steps to, and show them while the block lasts."""
    console = output.errors
    if is_quiet:
        yield RunTree()
    elif not console.is_terminal:
        yield LineView(output)
    else:
        tree = LiveView()
        with Live(tree, console=console, refresh_per_second=REFRESH_PER_SECOND, transient=True) as live:
            tree.live = live
            yield tree
            tree.live = None
        for each in draw_tree(tree, label=partial(_final_label, tree), max_children=MAX_CHILDREN_AT_END):
            console.print(each)


def draw_tree(tree: RunTree, *, label: Callable[[StepNode], RenderableType], max_children: int) -> list[Tree]:
    """Return a tree for each step of the file. Of more than `max_children`, those that went well are left out."""
    return [_draw(node, Tree(label(node)), label, max_children) for node in list(tree.root.children.values())]


def show_end(output: Output, result: LocalResult, usage: list[UsageRecord]) -> None:
    """Print how a run ended, what was paid, and whose answers these are."""
    style = "green" if result.status == "completed" else "red"
    took = format_duration(result.duration_ms)
    _tell(output.errors, Text.assemble((result.status, style), f" in {took}: {describe_usage(usage)}"))
    if result.error is not None:
        show_error(output.errors, result.error)
    show_who_answered(output.errors, usage)


def show_error(console: Console, error: Mapping[str, Any]) -> None:
    """Print why a run failed, with its step and what else is known."""
    step = f" in step {clean(error['step_id'])}" if error.get("step_id") else ""
    _tell(console, Text(f"{clean(error.get('type', ''))}{step}: {clean(error.get('message', ''))}", style="red"))
    for name, value in (error.get("details") or {}).items():
        _tell(console, Text(f"  {clean(name)}: {clean(value)}", style="dim"))


def show_who_answered(console: Console, usage: list[UsageRecord]) -> None:
    """Print who answered the calls, and in plain words when nobody was called."""
    by_service: dict[str, set[str]] = {}
    for each in usage:
        by_service.setdefault(each.service, set()).add(each.provider)
    for service, providers in sorted(by_service.items(), key=lambda item: (item[0] != LLM_SERVICE, item[0])):
        name = "Language model" if service == LLM_SERVICE else service
        _tell(console, Text(f"{clean(name)} answered by: {', '.join(map(_with_kind, sorted(providers)))}", style="dim"))


def describe_usage(usage: list[UsageRecord]) -> str:
    """Return what calls used and cost, in a few words.

    >>> describe_usage([])
    'no calls, $0.00'
    """
    if not usage:
        return "no calls, $0.00"
    calls = f"{len(usage)} call{'s' if len(usage) > 1 else ''}"
    tokens = tokens_of(usage)
    counted = [calls, *([f"{format_count(tokens)} tokens"] if tokens else []), format_usd(cost_of(usage))]
    return ", ".join(counted)


def _with_kind(provider: str) -> str:
    """Return a provider's name with what its answers are."""
    if provider == RECORDED:
        return "replay (kept answers: nobody was called, nothing was paid)"
    if provider == MADE_UP:
        return "sandbox (made-up answers: nobody was called, nothing was paid)"
    return f"{clean(provider)} (live)"


def _draw(node: StepNode, tree: Tree, label: Callable[[StepNode], RenderableType], max_children: int) -> Tree:
    shown = list(node.children.values())
    if len(shown) > max_children:
        shown = [child for child in shown if not child.is_good][:max_children]
    for child in shown:
        _draw(child, tree.add(label(child)), label, max_children)
    if len(shown) < len(node.children):
        tree.add(Text(f"and {len(node.children) - len(shown)} more", style="dim"))
    return tree


def _final_label(tree: RunTree, node: StepNode) -> Text:
    line = describe_step(node, name=node.name, now=tree.now())
    return line.append("  stopped", style="yellow") if node.is_running else line


def describe_step(node: StepNode, *, name: str, now: float) -> Text:
    """Return a step on one line: how it ended, its name, time, usage, and what went wrong."""
    mark, style = MARKS.get(node.outcome or "", ("", ""))
    line = Text.assemble((f"{mark} " if mark else "", style), (clean(name), "bold" if node.type else "dim"))
    if node.type:
        line.append(f"  {clean(node.type)}", style="dim")
    seconds = node.seconds if node.started is None or node.outcome else now - node.started
    if seconds is not None:
        line.append(f"  {format_duration(seconds * 1000)}")
    if node.usage:
        line.append(f"  {describe_usage(node.usage)}", style="cyan")
    if node.attempts > 1:
        line.append(f"  ({node.attempts} attempts)", style="yellow")
    if node.is_running and node.waits_seconds is not None:
        again = f"  again after {node.waits_seconds:.1f} s"
        line.append(f"{again}: {_short_error(node.error or {})}", style="yellow")
    if node.is_running and node.waits_for:
        left = "" if node.waits_until is None else f", {format_duration(max(0, node.waits_until - now) * 1000)} left"
        line.append(f"  {clean(node.waits_for)}{left}", style="yellow")
    if node.is_running and node.text_length:
        tail = " ".join(clean(node.text_tail).split())[-TAIL_CHARS:]
        line.append(f"  {format_count(node.text_length)} characters …{tail}", style="dim")
    if node.outcome is not None and mark != "✓":
        line.append(f"  {node.outcome}", style=style)
        if node.error is not None:
            line.append(f": {_short_error(node.error)}", style=style)
    return line


def _short_error(error: Mapping[str, Any]) -> str:
    """Return an error's message on one line, without the place, which stands before it."""
    text = _PLACE.sub("", " ".join(clean(error.get("message", "")).split()))
    return text if len(text) <= MAX_ERROR_CHARS else f"{text[:MAX_ERROR_CHARS]}…"


def _tell(console: Console, text: Text) -> None:
    console.print(text, highlight=False, soft_wrap=True)
