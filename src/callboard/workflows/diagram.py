"""A workflow as a picture: the text of a Mermaid flowchart. Called by `service.py` and `callboard diagram`.

Drawn from the definition alone, so that a file whose prompts or references are still wrong, or that uses a
step type of a later version, can be looked at. The same file always gives the same text, with one node on
a line, so that a change of a step is a change of a few lines.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from callboard.core.json_values import JsonValue
from callboard.workflows.definition import ErrorMode, StepDefinition, WorkflowDefinition, read_step, read_steps
from callboard.workflows.mermaid_text import LINE_BREAK, NodeIds, cut, escape_label

MAX_NAME_CHARS = 60
MAX_DETAIL_CHARS = 60
MAX_CONDITION_CHARS = 80
MAX_NAMES_SHOWN = 6  # of inputs and outputs
INDENT = "    "
OTHERWISE = "otherwise"
UNNAMED = "#nbsp;"  # a label that is empty cannot be parsed
UNREADABLE = "steps that cannot be read"

_HEAD = """\
---
title: "{name}"
config:
  flowchart:
    wrappingWidth: 320
    subGraphTitleMargin:
      top: 6
      bottom: 24
---
flowchart TD"""

_SHAPES: Mapping[str, tuple[str, str]] = {
    "llm": ("{{", "}}"),
    "external_api": ("[/", "/]"),
    "transform": ("[", "]"),
    "conditional": ("{", "}"),
    "approval": ("[\\", "/]"),
    "wait": (">", "]"),
    "workflow": ("[[", "]]"),
}
_MARKDOWN_MARKS = re.compile(r"[\\`*_{}\[\]()<>#+!|~&$-]")
_OTHER_SHAPE = ("(", ")")  # a step kind of somebody's own
_END_SHAPE = ("([", "])")
_GATE_SHAPE = ("{", "}")

# pale, with dark text and a border of its own: readable on white and on black
_COLOURS: Mapping[str, str] = {
    "llm": "fill:#e6dcff,stroke:#6d3fc0,color:#1f1f1f",
    "external_api": "fill:#d8ecff,stroke:#1c6cb5,color:#1f1f1f",
    "transform": "fill:#f1f1ee,stroke:#77776f,color:#1f1f1f",
    "decision": "fill:#fff1c9,stroke:#b58a00,color:#1f1f1f",
    "person": "fill:#ffe0d6,stroke:#c2502a,color:#1f1f1f",
    "workflow": "fill:#d9f3ec,stroke:#1d8a6b,color:#1f1f1f",
    "other": "fill:#f1f1ee,stroke:#77776f,color:#1f1f1f,stroke-dasharray:4 3",
    "terminal": "fill:#dff5d8,stroke:#4c8a38,color:#1f1f1f",
    "box": "fill:#8881,stroke:#888,color:#777",
}
_CLASSES: Mapping[str, str] = {
    "llm": "llm",
    "external_api": "external_api",
    "transform": "transform",
    "conditional": "decision",
    "approval": "person",
    "wait": "person",
    "workflow": "workflow",
}


def draw_diagram(definition: WorkflowDefinition) -> str:
    """Return the Mermaid flowchart of a workflow, ending in a line break.

    Every step is a node, or a box where it holds steps that run side by side or once per item. What cannot
    be read of the steps inside others is one node that says so.
    """
    return _Drawing().draw(definition)


def draw_markdown(definition: WorkflowDefinition) -> str:
    """Return the diagram as a Markdown document: a title, the description, and the flowchart in a fence."""
    about = " ".join(definition.description.split())
    paragraph = f"{_plain_markdown(about)}\n\n" if about else ""
    return f"# {definition.name}\n\n{paragraph}```mermaid\n{draw_diagram(definition)}```\n"


@dataclass(frozen=True, slots=True)
class _Exit:
    """An end of what has been drawn: the next node is joined to it, with this text on the line."""

    node: str
    label: str = ""


_Exits: TypeAlias = tuple[_Exit, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What was drawn of a step: where the flow enters it and where it leaves it."""

    entry: str
    exits: _Exits


@dataclass(slots=True)
class _Drawing:
    """One diagram on its way: nodes first, then the lines between them."""

    ids: NodeIds = field(default_factory=NodeIds)
    nodes: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    depth: int = 0
    default_error_mode: ErrorMode = ErrorMode.FAIL

    def draw(self, definition: WorkflowDefinition) -> str:
        self.default_error_mode = definition.default_error_mode
        exits: _Exits = (_Exit(self.terminal("Input", _input_names(definition.input_schema))),)
        exits = self.sequence(definition.steps, exits)
        self.lines += _joined(exits, self.terminal("Outputs", _output_names(definition)))
        colours = [f"classDef {name} {_COLOURS[name]}" for name in _COLOURS if name in self.classes]
        boxed = [f"class {box} box" for box in self.boxes]
        body = [*self.nodes, *(INDENT + line for line in (*self.lines, *colours, *boxed))]
        return "\n".join([_HEAD.format(name=definition.name), *body]) + "\n"

    def terminal(self, title: str, names: Sequence[str]) -> str:
        """Draw where the flow begins or ends and return its id."""
        node = self.ids.new("flow", title.lower())
        shown = [*names[:MAX_NAMES_SHOWN], *(["…"] if len(names) > MAX_NAMES_SHOWN else [])]
        self.node(node, [title, cut(", ".join(shown), MAX_DETAIL_CHARS)], _END_SHAPE, "terminal")
        return node

    def sequence(self, steps: Sequence[StepDefinition], before: _Exits) -> _Exits:
        """Draw steps that run one after the other behind `before`; return where the flow leaves the last one."""
        for step in steps:
            passing: _Exits = ()
            if step.when is not True:
                gate = self.ids.new("when", step.id)
                self.node(gate, ["if"], _GATE_SHAPE, "decision")
                self.lines += _joined(before, gate)
                before, passing = (_Exit(gate, _condition(step.when)),), (_Exit(gate, OTHERWISE),)
            place = len(self.lines)
            part = self.step(step)
            self.lines[place:place] = _joined(before, part.entry)  # in front of the lines inside the step
            before = (*part.exits, *passing)
        return before

    def step(self, step: StepDefinition) -> _Part:
        """Draw one step, with all that is inside it."""
        draw = _DRAWN_WITH_STEPS.get(step.type)
        return self.leaf(step) if draw is None else draw(self, step)

    def leaf(self, step: StepDefinition) -> _Part:
        node = self.ids.new("step", step.id)
        kind = _CLASSES.get(step.type, "other")
        self.node(node, _label_of(step, self.default_error_mode), _SHAPES.get(step.type, _OTHER_SHAPE), kind)
        return _Part(node, (_Exit(node),))

    def conditional(self, step: StepDefinition) -> _Part:
        """Draw a decision with a line per branch; branches meet again at whatever comes next."""
        part = self.leaf(step)
        exits: list[_Exit] = []
        for label, raw_steps in _branches_of_conditional(step.config):
            start = (_Exit(part.entry, label),)
            exits += self.sequence(self.read(raw_steps), start) if raw_steps else start
        return _Part(part.entry, tuple(exits) or part.exits)

    def parallel(self, step: StepDefinition) -> _Part:
        """Draw a box: with a box per branch side by side, or with the steps that run once per item."""
        is_loop = step.config.get("for_each") is not None
        fill = partial(self.inside, step.config.get("steps")) if is_loop else partial(self.branches, step)
        return self.box(step.id, _label_of(step, self.default_error_mode), fill)

    def branches(self, step: StepDefinition) -> None:
        raw_branches, raw_steps = step.config.get("branches"), step.config.get("steps")
        if isinstance(raw_branches, dict):
            for name, steps in reversed(raw_branches.items()):  # boxes are placed from right to left
                self.box(f"{step.id}_{name}", [cut(name, MAX_NAME_CHARS)], partial(self.inside, steps))
        elif isinstance(raw_steps, list):
            for each in raw_steps:
                self.inside(each)

    def inside(self, raw_steps: JsonValue) -> None:
        """Draw the steps of a box, in which the flow begins and ends by itself."""
        exits = self.sequence(self.read(raw_steps), ())
        if any(each.label for each in exits):  # a way around the last step has to lead somewhere
            node = self.ids.new("done")
            self.node(node, ["done"], _END_SHAPE, "terminal")
            self.lines += _joined(exits, node)

    def box(self, name: str, title: Sequence[str], fill: Callable[[], None]) -> _Part:
        """Draw a box around what `fill` draws."""
        node = self.ids.new("box", name)
        self.depth += 1
        self.nodes.append(f'{INDENT * self.depth}subgraph {node}["{_text(title)}"]')
        self.nodes.append(f"{INDENT * (self.depth + 1)}direction TB")
        fill()
        self.nodes.append(f"{INDENT * self.depth}end")
        self.depth -= 1
        self.boxes.append(node)
        self.classes.add("box")
        return _Part(node, (_Exit(node),))

    def node(self, node: str, label: Sequence[str], shape: tuple[str, str], kind: str) -> None:
        opening, closing = shape
        self.classes.add(kind)
        self.nodes.append(f'{INDENT * (self.depth + 1)}{node}{opening}"{_text(label)}"{closing}:::{kind}')

    def read(self, raw_steps: JsonValue) -> Sequence[StepDefinition]:
        """Return the steps that stand in a branch; where they are no steps, one that stands for them."""
        if isinstance(raw_steps, dict):
            step, _ = read_step(raw_steps, pointer="")
            found: tuple[StepDefinition, ...] = () if step is None else (step,)
        else:
            found = read_steps(raw_steps, pointer="").steps
        if not found:
            return (StepDefinition(id="unreadable", type="other", display_name=UNREADABLE),)
        return found


_DRAWN_WITH_STEPS: Mapping[str, Callable[[_Drawing, StepDefinition], _Part]] = {
    "conditional": _Drawing.conditional,
    "parallel": _Drawing.parallel,
}


def _joined(exits: _Exits, node: str) -> Iterator[str]:
    """Yield the lines that lead from `exits` to `node`."""
    for each in exits:
        label = f'|"{escape_label(each.label)}"|' if each.label else ""
        yield f"{each.node} -->{label} {node}"


def _label_of(step: StepDefinition, default_error_mode: ErrorMode) -> list[str]:
    """Return the lines of a step's label: what people call it, its id and what it does, what a failure does."""
    name = cut(step.display_name or step.id, MAX_NAME_CHARS)
    detail = cut(" ".join(filter(None, _details_of(step))), MAX_DETAIL_CHARS)
    about = detail if name == step.id else f"{step.id}: {detail}"
    return [name, about, ", ".join(_marks_of(step, step.error_mode or default_error_mode))]


def _details_of(step: StepDefinition) -> Iterator[str]:
    config = step.config
    match step.type:
        case "llm":
            yield "llm"
            yield _words(config.get("model")) or "default model"
            template = _words(config.get("prompt_template"))
            yield f"({template})" if template else ""
        case "external_api":
            yield _words(config.get("service"))
            yield _words(config.get("method") or config.get("operation"))
        case "transform":
            yield _words(config.get("operation")) or "transform"
        case "conditional":
            yield "decision"
        case "parallel":
            yield from _details_of_parallel(config)
        case "approval":
            count = config.get("required_answers", 1)
            who = f"{_words(count)} people answer" if count != 1 else "a person answers"
            yield f"{who}:" if config.get("title") else who
            yield _words(config.get("title"))
        case "wait":
            yield from _details_of_wait(config)
        case "workflow":
            yield "workflow"
            yield _words(config.get("workflow"))
        case _:
            yield step.type


def _details_of_parallel(config: Mapping[str, Any]) -> Iterator[str]:
    items = config.get("for_each")
    if items is None:
        yield "side by side"
        return
    yield "for each"
    yield _words(config.get("as", "item"))
    yield "of"
    yield f"{len(items)} items" if isinstance(items, list) else _words(items)


def _details_of_wait(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("event") is not None:
        yield f"wait for {_words(config['event'])}"
    elif config.get("until") is not None:
        yield f"wait until {_words(config['until'])}"
    else:
        yield f"wait {_words(config.get('seconds', '?'))} s"


def _marks_of(step: StepDefinition, error_mode: ErrorMode) -> Iterator[str]:
    if step.retry is not None and step.retry.max_attempts > 1:
        yield f"{step.retry.max_attempts} attempts"
    elif error_mode is ErrorMode.RETRY:
        yield "tried again"
    if error_mode is ErrorMode.CONTINUE:
        yield "on error: continue"
    if error_mode is ErrorMode.DEFAULT:
        yield "on error: default value"
    on_timeout = step.config.get("on_timeout") if step.type in {"approval", "wait"} else None
    if on_timeout is not None:
        yield f"on time-out: {'default value' if on_timeout == 'default' else _words(on_timeout)}"


def _branches_of_conditional(config: Mapping[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    """Yield the branches of a conditional step: the text on the line to it, and its steps."""
    cases = config.get("cases")
    if not isinstance(cases, list):
        yield _condition(config.get("condition")), config.get("if_true")
        yield OTHERWISE, config.get("if_false")
        return
    for case in cases:
        if isinstance(case, dict):
            yield _condition(case.get("when", True)), case.get("steps")
    yield OTHERWISE, config.get("default")


def _condition(condition: JsonValue) -> str:
    if isinstance(condition, bool):
        return "always" if condition else "never"
    return cut(_words(condition), MAX_CONDITION_CHARS) or "?"


def _words(value: JsonValue) -> str:
    """Return what the file says at a place, as text; a reference without its `${}`."""
    if not isinstance(value, str | int | float):
        return ""
    text = str(value).strip()
    return text[2:-1].strip() if text.startswith("${") and text.find("}") == len(text) - 1 else text


def _input_names(schema: Mapping[str, Any]) -> list[str]:
    """Return the names of the input's properties, those that must be there first; others end in `?`."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return []
    needed = [name for name in properties if isinstance(required, list) and name in required]
    return [*needed, *(f"{name}?" for name in properties if name not in needed)]


def _output_names(definition: WorkflowDefinition) -> list[str]:
    if not definition.has_outputs:
        return ["what the last step gives"]
    return list(definition.outputs) if isinstance(definition.outputs, dict) else ["value"]


def _text(label: Sequence[str]) -> str:
    return LINE_BREAK.join(escape_label(line) for line in label if line) or UNNAMED


def _plain_markdown(text: str) -> str:
    r"""Return `text` with what Markdown or HTML would read in it escaped.

    >>> _plain_markdown("a_b <i> `c`")
    'a\\_b \\<i\\> \\`c\\`'
    """
    return _MARKDOWN_MARKS.sub(lambda match: "\\" + match.group(), text)
