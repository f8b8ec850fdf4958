"""The workflows that the scenarios run, and what each gives. `stand.py` writes them where the server looks.

Every call says its own key, under which the provider counts it: so a journaled call names itself, and a right
result is the list of its keys.
"""

from collections.abc import Mapping
from typing import Any

JOB_SECONDS = 600
INPUT = {
    "type": "object",
    "properties": {"key": {"type": "string"}, "delay": {"type": "number", "default": 0}},
    "required": ["key"],
}
FORM = {"type": "object", "required": ["fine"], "properties": {"fine": {"type": "boolean"}}}
CALLS_AT_ONCE = 2  # that one job has in flight at most
ITEMS = 4
TOO_LITTLE_USD = 0.01  # one call could cost more
ENOUGH_USD = 5.0


def call(name: str, *, key: str = "${input.key}") -> dict[str, Any]:
    """Return a step that pays one call, counted and answered as `<key>-<name>`."""
    prompt = f"[[key:{key}-{name}]] [[delay:${{input.delay}}]] [[tokens:20:10]] [[say:{key}-{name}]]"
    return {
        "id": name.partition("$")[0],
        "type": "llm",
        "config": {"prompt_text": prompt, "max_tokens": 10},
    }


def content(step: str) -> str:
    return f"${{steps.{step}.content}}"


def _branches(**branches: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "side_by_side", "type": "parallel", "config": {"branches": branches}}


THREE_CALLS = [call("first"), call("second"), call("third")]
THREE_CONTENTS = {step["id"]: content(step["id"]) for step in THREE_CALLS}
_LOOP = {
    "id": "each",
    "type": "parallel",
    "config": {"for_each": list(range(ITEMS)), "max_concurrency": CALLS_AT_ONCE, "steps": [call("item${index}")]},
}
_APPROVAL = {"id": "review", "type": "approval", "config": {"title": "May it go out?", "form_schema": FORM}}
_SIGNAL = {"id": "news", "type": "wait", "config": {"event": "news"}}
_NESTED = {
    "id": "inner",
    "type": "workflow",
    "config": {"workflow": "three_calls", "input": {"key": "${input.key}-in", "delay": "${input.delay}"}},
}
_NAP = {"id": "nap", "type": "wait", "config": {"seconds": 3}}  # longer than what is sat out in memory

DEFINITIONS: Mapping[str, tuple[list[dict[str, Any]], dict[str, str]]] = {
    "three_calls": (THREE_CALLS, THREE_CONTENTS),
    "looped": ([_LOOP, call("last")], {"items": "${steps.each.output[*].content}", "last": content("last")}),
    "asked": (
        [_branches(people=[_APPROVAL], work=[call("draft")]), call("sent")],
        {"draft": content("draft"), "sent": content("sent"), "by": "${steps.review.answered_by}"},
    ),
    "signalled": (
        [_branches(news=[_SIGNAL, call("heard")], work=[call("first"), call("second")])],
        {"heard": content("heard"), "second": content("second")},
    ),
    "nested": ([_NESTED, call("outer")], {"inner": "${steps.inner.third}", "outer": content("outer")}),
    "napping": ([call("before"), _NAP, call("after")], {"before": content("before"), "after": content("after")}),
    "spending": ([call("first"), call("second")], {"first": content("first"), "second": content("second")}),
    "too_dear": ([call("first")], {"first": content("first")}),
}
MIXED = tuple(DEFINITIONS)
BUDGETS_USD = {"spending": ENOUGH_USD, "too_dear": TOO_LITTLE_USD}


def expected_status(workflow: str) -> str:
    """Return how a job of the workflow ends, unless somebody cancels it."""
    return "failed" if workflow == "too_dear" else "completed"


def expected_result(workflow: str, key: str) -> dict[str, Any]:
    """Return what a completed job gives, without what people said."""
    results: dict[str, dict[str, Any]] = {
        "looped": {"items": [f"{key}-item{index}" for index in range(ITEMS)], "last": f"{key}-last"},
        "nested": {"inner": f"{key}-in-third", "outer": f"{key}-outer"},
    }
    outputs = DEFINITIONS[workflow][1]
    return results.get(workflow) or {name: f"{key}-{name}" for name in outputs if name != "by"}


def paid_keys(workflow: str, key: str) -> set[str]:
    """Return the provider's keys of the calls that a job pays when it is completed."""
    steps = {
        "three_calls": ("first", "second", "third"),
        "looped": (*(f"item{index}" for index in range(ITEMS)), "last"),
        "asked": ("draft", "sent"),
        "signalled": ("heard", "first", "second"),
        "nested": ("in-first", "in-second", "in-third", "outer"),
        "napping": ("before", "after"),
        "spending": ("first", "second"),
        "too_dear": (),
    }[workflow]
    return {f"{key}-{step}" for step in steps}
