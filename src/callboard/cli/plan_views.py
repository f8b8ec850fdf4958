"""How the plan of a run looks to people: its steps as a tree with tokens and cost, and what all of it takes.

Called by `dry_run.py` with what the server's API gives, or the same made here.
"""

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from callboard.cli.formats import clean, format_count, format_duration, format_usd
from callboard.cli.job_views import new_table
from callboard.cli.output import Output
from callboard.workflows.dry_runs.schemas import EstimateRead, PlanBranchRead, PlanStepRead, ValidationRead
from callboard.workflows.schemas import FindingRead

UNKNOWN = "?"
_STYLES = {"certain": "", "possible": "", "never": "dim"}


def show_rehearsal(output: Output, found: ValidationRead, *, shows_prompts: bool, is_local: bool) -> None:
    """Print everything that was found: what is wrong, the plan, the prompts on demand, the totals and their basis."""
    _show_findings(output, found)
    if found.plan is None:
        output.say(f"{clean(found.workflow_name)} cannot run.", style="red")
        return
    if shows_prompts:
        _show_prompts(output, found.plan)
    output.say(_plan_table(found.plan))
    _show_totals(output, found)
    _show_basis(output, found, is_local=is_local)


def _show_findings(output: Output, found: ValidationRead) -> None:
    for finding in (*(found.errors or ()), *found.warnings):
        style = "bold red" if finding.severity == "error" else "bold yellow"
        output.complain(Text.assemble((finding.severity, style), f": {_place(finding)}{clean(finding.message)}"))


def _place(finding: FindingRead) -> str:
    return f"{clean(finding.pointer)} " if finding.pointer else ""


def _plan_table(plan: Sequence[PlanStepRead]) -> Table:
    numbers = ("times", "tokens in", "tokens out", "cost")
    table = new_table("step", "what", *numbers, right=numbers)
    for name, step in _lines(plan, ""):
        if step is None:
            table.add_row(Text(name, style="dim"))
            continue
        style = _STYLES[step.certainty]
        table.add_row(
            Text(name, style=style),
            Text(_what(step), style=style),
            *(Text(cell, style=style) for cell in _numbers(step)),
        )
    return table


def _lines(steps: Sequence[PlanStepRead], indent: str) -> Iterator[tuple[str, PlanStepRead | None]]:
    """Yield a line per step, and one per branch that stands above its steps."""
    for step in steps:
        yield f"{indent}{clean(step.id)}", step
        for branch in step.branches:
            heading = _heading(step, branch)
            if heading:
                yield f"{indent}  {heading}", None
            yield from _lines(branch.steps, indent + ("    " if heading else "  "))


def _heading(step: PlanStepRead, branch: PlanBranchRead) -> str:
    if step.loop is not None:
        return ""
    if step.type == "conditional":
        said = f"if {clean(branch.condition)}" if branch.condition is not None else "otherwise"
        fate = {"certain": "taken", "never": "not taken"}.get(branch.certainty, f"{branch.share:.0%} likely")
        return f"{said}: {fate}"
    return f"{clean(branch.name)}:" if branch.name else ""


def _what(step: PlanStepRead) -> str:
    if step.problem is not None:
        return "would fail"
    if step.certainty == "never":
        return "does not run"
    parts = [clean(step.type)]
    if step.calls:
        call = step.calls[0]
        parts = [clean(f"{call.provider} {call.model}") if call.model else clean(f"{call.service} {call.method}")]
    if step.waits is not None:
        parts = [clean(step.waits)]
    if step.loop is not None:
        about = "" if step.loop.is_count_known else "about "
        over = f" of {clean(step.loop.over)}" if step.loop.over else ""
        parts = [f"for {about}{step.loop.count.likely:g} items{over}"]
    if step.when is not None:
        parts.append(f"when {clean(step.when)}")
    return ", ".join(parts)


def _numbers(step: PlanStepRead) -> tuple[str, str, str, str]:
    if step.certainty == "never" or step.problem is not None:
        return "", "", "", ""
    tokens_in, tokens_out = int(step.input_tokens.likely), int(step.output_tokens.likely)
    times = "" if step.times.likely == 1 else f"{step.times.likely:g}"
    cost = UNKNOWN if step.cost_usd is None else format_usd(step.cost_usd.likely) if step.cost_usd.high else ""
    return times, format_count(tokens_in or None), format_count(tokens_out or None), cost


def _show_totals(output: Output, found: ValidationRead) -> None:
    table = new_table("in all", "low", "likely", "high", right=("low", "likely", "high"))
    if found.input_tokens is not None and found.output_tokens is not None:
        table.add_row("tokens in", *_ends(found.input_tokens))
        table.add_row("tokens out", *_ends(found.output_tokens))
    if found.cost_usd is None:
        table.add_row("cost", UNKNOWN, UNKNOWN, UNKNOWN)
    else:
        table.add_row("cost", *(format_usd(end) for end in _all_ends(found.cost_usd)), style="bold")
    if found.duration_seconds is not None:
        table.add_row("duration", *(format_duration(end * 1000) for end in _all_ends(found.duration_seconds)))
    output.say(table)


def _show_basis(output: Output, found: ValidationRead, *, is_local: bool) -> None:
    if found.basis == "history":
        runs = "1 earlier run" if found.runs_seen == 1 else f"{found.runs_seen} earlier runs"
        output.say(f"Estimated from {runs} of this workflow and from its prompts. Nobody was called.")
    else:
        hint = " A server knows earlier runs: --server." if is_local else " There is no completed run yet."
        output.say(f"Estimated from the prompts, at 4 characters a token. Nobody was called.{hint}")
    for assumption in found.assumptions:
        output.say(f"  {clean(assumption)}", style="dim")
    output.say("  High: 2.5 characters a token, the longest answers, every retry and every re-ask.", style="dim")


def _show_prompts(output: Output, plan: Sequence[PlanStepRead]) -> None:
    for step in plan:
        for number, call in enumerate(step.calls, start=1):
            for message in call.messages:
                which = f" ({number})" if len(step.calls) > 1 else ""
                heading = f"{clean(step.id)}{which}, {clean(message.role)}: about {message.tokens:,} tokens"
                output.say(heading, style="bold")
                output.say(clean(message.text), soft_wrap=True)
                output.say()
        for branch in step.branches:
            _show_prompts(output, branch.steps)


def _ends(estimate: EstimateRead) -> tuple[str, str, str]:
    low, likely, high = (format_count(int(end)) for end in _all_ends(estimate))
    return low, likely, high


def _all_ends(estimate: EstimateRead) -> tuple[float, float, float]:
    return estimate.low, estimate.likely, estimate.high
