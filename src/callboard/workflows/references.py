"""References `${...}`: reading them, compiling values that hold them, and rendering those against a run.

Called by the compiler and the step kinds (`compile_template`, `Template.references`), by the engine
(`Scope`, `StepView`, `Template.render`), and by `conditions.py` and `prompts.py`, which share the path
syntax. Everything is compiled once per workflow; a look-up is a short walk without any parsing.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import orjson

from callboard.core.json_values import MAX_DEPTH, JsonValue
from callboard.workflows.errors import InvalidReferenceError, UnresolvedReferenceError
from callboard.workflows.findings import pointer_of, suggest
from callboard.workflows.reference_syntax import Key, Star, parse_reference, show_key
from callboard.workflows.unknown_values import Unknown

SecretResolver: TypeAlias = Callable[[str], str]

SCOPE_ROOTS = ("input", "steps", "context")
SECRETS_ROOT = "secrets"
MAX_FAULTS = 100  # of one text that are told
LOOP_NAMES = frozenset({"item", "index"})  # of a loop that names them itself by `as`: other names
STEP_FIELDS = frozenset({"output", "success", "error", "skipped"})  # these win over keys of the same name


class _MissingError(Exception):
    """A path that leads to nothing. `depth` is the number of keys that could be followed."""

    def __init__(self, depth: int, holder: JsonValue) -> None:
        self.depth = depth
        self.holder = holder


@dataclass(frozen=True, slots=True)
class StepView:
    """What later steps see of a step that has ended.

    `error` is the journaled error of a step that failed and was continued or defaulted, else None.
    `aliases` are the step's `outputs` names with their values.
    """

    output: JsonValue
    success: bool = True
    error: JsonValue = None
    skipped: bool = False
    aliases: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def is_null_below(self) -> bool:
        """True where nothing came out, so that anything below reads as null instead of as an error."""
        return self.output is None and (self.skipped or not self.success)


@dataclass(frozen=True, slots=True)
class Scope:
    """What references can reach at one place of a run. `locals` win: loop names, prompt variables."""

    input: JsonValue = None
    context: Mapping[str, JsonValue] = field(default_factory=dict)
    steps: Mapping[str, StepView] = field(default_factory=dict)
    locals: Mapping[str, JsonValue] = field(default_factory=dict)

    def with_locals(self, /, **names: JsonValue) -> "Scope":
        """Return a scope in which `names` are reachable too."""
        return replace(self, locals={**self.locals, **names})

    def with_steps(self, steps: Mapping[str, StepView]) -> "Scope":
        """Return a scope in which `steps` are reachable too."""
        return replace(self, steps={**self.steps, **steps})


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${path ?? default}`, ready to be looked up.

    `text` is the path as written. `keys` follow the root. `pointer` leads to the text that holds it,
    inside the value that was compiled, and `position` counts the characters of that text before it.
    `where` names the place for people.
    """

    text: str
    root: str
    keys: tuple[Key, ...] = ()
    has_default: bool = False
    default: JsonValue = None
    pointer: str = ""
    where: str = ""
    position: int = field(default=0, compare=False)
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_plain", all(isinstance(key, str) for key in self.keys))

    @property
    def step_id(self) -> str | None:
        """The id of the step that this reads, or None when it reads something else."""
        return self.keys[0] if self.root == "steps" and self.keys and isinstance(self.keys[0], str) else None

    def resolve(self, scope: Scope, *, secrets: SecretResolver | None = None) -> JsonValue:
        """Return the value this leads to; its default where that is missing or null.

        Behind `[*]` the default stands for each item that lacks the rest of the path.

        Raises: UnresolvedReferenceError, naming the place, the path and the nearest names that exist.
        """
        try:
            value = self._find(scope, secrets)
        except _MissingError as missing:
            if self.has_default:
                return self.default
            raise UnresolvedReferenceError(self._explain(missing, scope)) from None
        return self.default if value is None and self.has_default else value

    def exists(self, scope: Scope) -> bool:
        """Return whether the path leads somewhere; a null at its very end counts, one before it does not."""
        try:
            value = self._find(scope, None)
        except _MissingError:
            return False
        return value is not None or not self._is_null_below(scope)

    def _find(self, scope: Scope, secrets: SecretResolver | None) -> JsonValue:
        root, keys = self.root, self.keys
        if root in scope.locals:
            return self._walk(scope.locals[root], 0)
        if root == "steps":
            return self._find_in_steps(scope.steps)
        if root == "input":
            return self._walk(scope.input, 0)
        if root == "context":
            return self._walk(scope.context, 0)
        if root == "secrets" and secrets is not None:
            return secrets(str(keys[0]))
        raise _MissingError(-1, None)

    def _find_in_steps(self, steps: Mapping[str, StepView]) -> JsonValue:
        keys = self.keys
        try:
            view = steps[keys[0]]  # type: ignore[index]  # the parser lets only text stand here
        except KeyError:
            raise _MissingError(0, steps) from None
        if len(keys) == 1:
            return view.output
        first = keys[1]
        if first == "output":
            return None if view.is_null_below else self._walk(view.output, 2)
        if first == "success":
            return self._walk(view.success, 2)
        if first == "skipped":
            return self._walk(view.skipped, 2)
        if first == "error":
            return None if view.error is None else self._walk(view.error, 2)
        if view.is_null_below:
            return None
        if first in view.aliases:
            return self._walk(view.aliases[first], 2)  # type: ignore[index]
        return self._walk(view.output, 1)

    def _is_null_below(self, scope: Scope) -> bool:
        view = scope.steps.get(self.step_id) if self.step_id is not None else None
        if view is None or self.root in scope.locals or len(self.keys) < 2:
            return False
        if self.keys[1] == "error":
            return view.error is None
        return view.is_null_below and self.keys[1] not in {"success", "skipped"}

    def _walk(self, value: JsonValue, start: int) -> JsonValue:
        if not self.is_plain:
            return self._walk_carefully(value, start)
        found = value
        try:
            for key in self.keys[start:]:
                found = found[key]
        except (KeyError, TypeError):
            return self._walk_carefully(value, start)
        return found

    def _walk_carefully(self, value: JsonValue, start: int) -> JsonValue:
        for depth in range(start, len(self.keys)):
            key = self.keys[depth]
            if isinstance(value, Unknown):
                return value.below(self.keys[depth:])
            if key is Star.ALL:
                return self._collect(value, depth)
            if isinstance(key, int):
                if not isinstance(value, list) or key >= len(value):
                    raise _MissingError(depth, value)
            elif not isinstance(value, Mapping) or key not in value:
                raise _MissingError(depth, value)
            value = value[key]
        return value

    def _collect(self, value: JsonValue, depth: int) -> list[JsonValue]:
        if isinstance(value, Mapping):
            items: list[JsonValue] = list(value.values())
        elif isinstance(value, list):
            items = value
        else:
            raise _MissingError(depth, value)
        collected: list[JsonValue] = []
        is_last_star = Star.ALL not in self.keys[depth + 1 :]
        for item in items:
            found = self._find_in_item(item, depth + 1)
            if is_last_star:
                collected.append(found)
            elif isinstance(found, list):
                collected.extend(found)
            else:  # the default stood in for a list
                collected.append(found)
        return collected

    def _find_in_item(self, item: JsonValue, depth: int) -> JsonValue:
        try:
            found = self._walk_carefully(item, depth)
        except _MissingError:
            if not self.has_default:
                raise
            return self.default
        return self.default if found is None and self.has_default else found

    def _explain(self, missing: _MissingError, scope: Scope) -> str:
        start = f"{self.where}: " if self.where else ""
        if missing.depth < 0:
            return start + _explain_root(self.root, scope)
        path = self.root + "".join(show_key(key) for key in self.keys[: missing.depth])
        holder = missing.holder
        if self.step_id is not None and self.root not in scope.locals and missing.depth == 1:
            aliases = scope.steps[self.step_id].aliases
            path, holder = f"{path}.output", {**aliases, **holder} if isinstance(holder, Mapping) else aliases or holder
        reason = _explain_key(self.keys[missing.depth], path, holder)
        return f"{start}${{{self.text}}} leads to nothing: {reason}"


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value with its references, ready to be rendered any number of times."""

    references: tuple[Reference, ...]
    _node: "_Node"

    @property
    def is_constant(self) -> bool:
        return not self.references

    def render(self, scope: Scope, *, secrets: SecretResolver | None = None) -> JsonValue:
        """Return the value with every reference replaced; a value without any is returned as it is.

        A string that is one reference keeps the type of what it leads to. What was put in is never
        looked at again. `secrets` gives the values of `${secrets.NAME}`; without it those are errors.

        Raises: UnresolvedReferenceError.
        """
        return self._node.render(scope, secrets)


def compile_template(value: JsonValue, *, where: str = "") -> Template:
    """Return `value` compiled: every `${...}` in its texts is read once, here. Keys are left alone.

    >>> scope = Scope(input={"name": "Ada", "tags": ["x", 1]})
    >>> compile_template({"greeting": "Hi ${input.name}", "tags": "${input.tags}"}).render(scope)
    {'greeting': 'Hi Ada', 'tags': ['x', 1]}
    >>> compile_template('costs $${input.price ?? 5}, ${"${"}x}').render(scope)
    'costs $5, ${x}'

    Raises: InvalidReferenceError, naming `where` and the pointer inside `value`.
    """
    node = _compile_node(value, "", where, 0)
    return Template(tuple(node.references()), node)


def read_reference(text: str, start: int, *, pointer: str = "", where: str = "") -> tuple[Reference | str, int]:
    """Return the reference, or the quoted constant, that the `${` at `start` begins, and the index behind it.

    >>> reference, end = read_reference('${steps.a["odd key"][0] ?? []}', 0)
    >>> reference.root, reference.keys, reference.default, end
    ('steps', ('a', 'odd key', 0), [], 30)

    Raises: InvalidReferenceError.
    """
    place = " ".join(part for part in (where, pointer) if part)
    parsed, end = parse_reference(text, start, place=place)
    if isinstance(parsed, str):
        return parsed, end
    reference = Reference(
        parsed.text,
        parsed.root,
        parsed.keys,
        parsed.has_default,
        parsed.default,
        pointer=pointer,
        where=place,
        position=start,
    )
    return reference, end


def as_text(value: JsonValue) -> str:
    """Return `value` as it stands inside text: text as it is, null as nothing, the rest as compact JSON.

    >>> as_text("a"), as_text(None), as_text([1, True])
    ('a', '', '[1,true]')
    """
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def describe_type(value: JsonValue) -> str:
    """Return the kind of `value` in words, for messages.

    >>> describe_type(None), describe_type(2.5), describe_type({"a": 1})
    ('null', 'a fractional number', 'an object with the keys: a')
    """
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        if not value:
            return "an empty object"
        keys = sorted(map(str, value))
        return f"an object with the keys: {', '.join(keys[:12])}" + (", ..." if len(keys) > 12 else "")
    if isinstance(value, list):
        return f"a list of {len(value)}"
    names = ((bool, "true or false"), (int, "a whole number"), (float, "a fractional number"), (str, "text"))
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


class _Node:
    """A compiled part of a template; this one holds nothing to replace."""

    __slots__ = ("constant",)

    def __init__(self, value: JsonValue) -> None:
        self.constant = value

    def render(self, scope: Scope, secrets: SecretResolver | None) -> JsonValue:
        del scope, secrets
        return self.constant

    def references(self) -> Iterator[Reference]:
        yield from ()


class _WholeNode(_Node):
    """A string that is one reference: the value's type is kept."""

    __slots__ = ("_reference",)

    def __init__(self, reference: Reference) -> None:
        super().__init__(None)
        self._reference = reference

    def render(self, scope: Scope, secrets: SecretResolver | None) -> JsonValue:
        return self._reference.resolve(scope, secrets=secrets)

    def references(self) -> Iterator[Reference]:
        yield self._reference


class _TextNode(_Node):
    """Text with references in it."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[str | Reference]) -> None:
        super().__init__(None)
        self._parts = parts

    def render(self, scope: Scope, secrets: SecretResolver | None) -> str:
        return "".join(
            [part if isinstance(part, str) else as_text(part.resolve(scope, secrets=secrets)) for part in self._parts]
        )

    def references(self) -> Iterator[Reference]:
        yield from (part for part in self._parts if isinstance(part, Reference))


class _ListNode(_Node):
    __slots__ = ("_items",)

    def __init__(self, items: list[_Node]) -> None:
        super().__init__(None)
        self._items = items

    def render(self, scope: Scope, secrets: SecretResolver | None) -> list[JsonValue]:
        return [item.render(scope, secrets) for item in self._items]

    def references(self) -> Iterator[Reference]:
        for item in self._items:
            yield from item.references()


class _ObjectNode(_Node):
    __slots__ = ("_items",)

    def __init__(self, items: dict[str, _Node]) -> None:
        super().__init__(None)
        self._items = items

    def render(self, scope: Scope, secrets: SecretResolver | None) -> dict[str, JsonValue]:
        return {key: item.render(scope, secrets) for key, item in self._items.items()}

    def references(self) -> Iterator[Reference]:
        for item in self._items.values():
            yield from item.references()


def _compile_node(value: JsonValue, pointer: str, where: str, depth: int) -> _Node:
    if depth > MAX_DEPTH:
        raise InvalidReferenceError(f"{where}: nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, str):
        return _compile_text(value, pointer, where)
    if isinstance(value, list):
        items = [_compile_node(item, pointer_of(i, base=pointer), where, depth + 1) for i, item in enumerate(value)]
        is_constant = all(type(item) is _Node for item in items)
        return _Node([item.constant for item in items]) if is_constant else _ListNode(items)
    if isinstance(value, dict):
        named = {
            key: _compile_node(item, pointer_of(key, base=pointer), where, depth + 1) for key, item in value.items()
        }
        is_constant = all(type(item) is _Node for item in named.values())
        return _Node({key: item.constant for key, item in named.items()}) if is_constant else _ObjectNode(named)
    return _Node(value)


def _compile_text(text: str, pointer: str, where: str) -> _Node:
    parts = read_parts(text, pointer=pointer, where=where)
    if len(parts) == 1 and isinstance(parts[0], Reference):
        return _WholeNode(parts[0])
    if all(isinstance(part, str) for part in parts):
        return _Node("".join(map(str, parts)))
    return _TextNode(parts)


def read_parts(text: str, *, pointer: str = "", where: str = "") -> list[str | Reference]:
    """Return `text` cut into what is text and what is a reference, in order.

    Raises: InvalidReferenceError.
    """
    parts: list[str | Reference] = []
    done = 0
    while (start := text.find("${", done)) >= 0:
        if start > done:
            parts.append(text[done:start])
        part, done = read_reference(text, start, pointer=pointer, where=where)
        parts.append(part)
    if done < len(text) or not parts:
        parts.append(text[done:])
    return parts


def read_every_reference(text: str, *, where: str = "") -> tuple[list[Reference], list[InvalidReferenceError]]:
    """Return what can be read of the references in `text`, and why the others cannot be."""
    references: list[Reference] = []
    faults: list[InvalidReferenceError] = []
    done = 0
    while (start := text.find("${", done)) >= 0 and len(faults) < MAX_FAULTS:
        try:
            part, done = read_reference(text, start, where=where)
        except InvalidReferenceError as error:
            faults.append(error)
            done = start + 2
        else:
            references += [part] if isinstance(part, Reference) else []
    return references, faults


def texts_in(value: JsonValue, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in `value`, in order, with its pointer; what is nested deeper than `MAX_DEPTH` is left out."""
    stack: list[tuple[JsonValue, str, int]] = [(value, pointer, 0)]
    while stack:
        item, where, depth = stack.pop()
        if isinstance(item, str):
            yield item, where
        elif depth > MAX_DEPTH:
            continue
        elif isinstance(item, list):
            stack.extend((child, f"{where}/{i}", depth + 1) for i, child in reversed(list(enumerate(item))))
        elif isinstance(item, dict):
            stack.extend((child, pointer_of(key, base=where), depth + 1) for key, child in reversed(item.items()))


def explain_unknown_name(name: str, known: Collection[str]) -> str:
    """Return why nothing in a file is called `name`, where there are only `known` and the run's own names.

    >>> explain_unknown_name("inputs", [])
    'there is nothing called "inputs" here. Did you mean "input"?'
    """
    if name == SECRETS_ROOT:
        return "secrets are for the config of external_api steps only."
    if name in LOOP_NAMES:
        return f'"{name}" is there inside a loop only (a parallel step with for_each; its "as" may name it otherwise).'
    return f'there is nothing called "{name}" here.{suggest(name, [*known, *SCOPE_ROOTS], what="There are:")}'


def _explain_root(root: str, scope: Scope) -> str:
    if root == "secrets":
        return "${secrets.NAME} is for the config of external_api steps only."
    return f'There is nothing called "{root}" here.{suggest(root, [*scope.locals, *SCOPE_ROOTS], what="There are:")}'


def _explain_key(key: Key, holder_path: str, holder: JsonValue) -> str:
    if key is Star.ALL:
        return f"{holder_path} is {describe_type(holder)}, and [*] needs a list or an object."
    if isinstance(key, int):
        if isinstance(holder, list):
            return f"{holder_path} has {len(holder)} items, so there is no [{key}] (the first is [0])."
        return f"{holder_path} is {describe_type(holder)}, not a list."
    if not isinstance(holder, Mapping):
        hint = " Add a default with ??, if that may be." if holder is None else ""
        hint = f" Items of a list are reached as [0] or [*], not .{key}." if isinstance(holder, list) else hint
        return f'{holder_path} is {describe_type(holder)}, so it has no "{key}".{hint}'
    what = "There are:" if holder_path != "steps" else "Steps so far:"
    return f'"{key}" is not in {holder_path}.{suggest(key, map(str, holder), what=what) or " It is empty."}'
