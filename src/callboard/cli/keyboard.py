"""Asks the person at the keyboard what a run in memory waits for: an approval's form, or a signal's payload.

Called by `run` on a terminal. Lines are read by the event loop, not in a thread, so that Ctrl-C and a time-out
end a question at once; other steps go on meanwhile.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from rich.markdown import Markdown
from rich.text import Text

from callboard.cli.formats import clean
from callboard.cli.output import Output
from callboard.core.json_values import JsonValue
from callboard.workflows.json_schemas import JsonSchema
from callboard.workflows.memory import NobodyAnswersError
from callboard.workflows.steps.waiting import Wait, WaitKind

MAX_READ_BYTES = 65_536
_YES, _NO = frozenset({"y", "yes", "true", "j", "ja"}), frozenset({"n", "no", "false", "nein"})
_SCALARS = frozenset({"string", "integer", "number", "boolean"})


class NotReadableError(ValueError):
    """What was typed is no value of its field."""


class Keyboard:
    """Asks one question at a time on stderr. `quiet` keeps what else moves on the screen still meanwhile."""

    def __init__(self, output: Output, *, quiet: Callable[[], AbstractContextManager[None]], descriptor: int) -> None:
        self._output = output
        self._quiet = quiet
        self._descriptor = descriptor
        self._turn = asyncio.Lock()
        self._typed = b""

    async def ask(self, path: str, wait: Wait) -> JsonValue:
        """Return an answer that fits the form, or a signal's payload. Asks until there is one.

        Raises: NobodyAnswersError, when there is nothing more to read (Ctrl-D).
        """
        async with self._turn:
            with self._quiet():
                self._show(path, wait)
                if wait.kind is WaitKind.EVENT:
                    return await self._until_readable("payload as JSON, or nothing", read_json_or_text)
                return await self._answer(wait)

    def _show(self, path: str, wait: Wait) -> None:
        heading = clean(wait.title) if wait.kind is WaitKind.APPROVAL else f"Signal {clean(wait.name or '')}"
        self._say(Text.assemble(("? ", "bold yellow"), (heading, "bold"), (f"  {clean(path)}", "dim")))
        if wait.instructions:
            self._output.errors.print(Markdown(clean(wait.instructions)))

    async def _answer(self, wait: Wait) -> JsonValue:
        form = wait.form_schema
        schema = JsonSchema(form or {})
        fields = flat_fields(form)
        while True:
            if form is not None and fields is not None:
                answer: JsonValue = await self._fields(form, fields)
            else:
                answer = await self._until_readable("answer as JSON, or text", read_json_or_text)
            faults = schema.check(answer)
            if not faults:
                return answer
            for fault in faults:
                self._say(Text(f"  {clean(fault.pointer) or '/'} {clean(fault.message)}", style="red"))

    async def _fields(self, form: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]) -> JsonValue:
        answer: dict[str, JsonValue] = {}
        required = form.get("required", ())
        for name, about in fields.items():
            while True:
                typed = await self._line(prompt_of(name, about, is_required=name in required))
                if not typed and "default" in about:
                    answer[name] = about["default"]
                elif typed or name in required:
                    try:
                        answer[name] = read_field(typed, about)
                    except NotReadableError as error:
                        self._say(Text(f"  {error}", style="red"))
                        continue
                break
        return answer

    async def _until_readable(self, prompt: str, read: Callable[[str], JsonValue]) -> JsonValue:
        while True:
            try:
                return read(await self._line(prompt))
            except NotReadableError as error:
                self._say(Text(f"  {error}", style="red"))

    async def _line(self, prompt: str) -> str:
        """Return the next line that is typed, without spaces around it."""
        self._output.errors.print(Text(f"  {clean(prompt)}: "), end="", highlight=False)
        while b"\n" not in self._typed:
            more = await self._read()
            if not more:
                self._say("")
                raise NobodyAnswersError("The keyboard was closed before it was answered.")
            self._typed += more
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace").strip()

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        is_ready = asyncio.Event()
        loop.add_reader(self._descriptor, is_ready.set)
        try:
            await is_ready.wait()
        finally:
            loop.remove_reader(self._descriptor)
        return os.read(self._descriptor, MAX_READ_BYTES)

    def _say(self, line: Text | str) -> None:
        self._output.errors.print(line, highlight=False, soft_wrap=True)


def flat_fields(form: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, Any]] | None:
    """Return the fields of a form that can be asked one by one: an object of scalars. None for any other."""
    properties = None if form is None or form.get("type") != "object" else form.get("properties")
    if not isinstance(properties, dict) or not properties:
        return None
    for about in properties.values():
        if not isinstance(about, dict) or (about.get("type") not in _SCALARS and "enum" not in about):
            return None
    return properties


def prompt_of(name: str, about: Mapping[str, Any], *, is_required: bool) -> str:
    """Return what to ask for a field.

    >>> prompt_of("fine", {"type": "boolean", "title": "Is it fine?"}, is_required=True)
    'Is it fine? (yes or no)'
    >>> prompt_of("tone", {"enum": ["kind", "brief"], "default": "kind"}, is_required=True)
    'tone (kind, brief; nothing for kind)'
    """
    words = str(about.get("title") or about.get("description") or name)
    if "enum" in about:
        choices = [", ".join(map(_as_typed, about["enum"]))]
    else:
        kinds = {"boolean": "yes or no", "integer": "a whole number", "number": "a number"}
        choices = [kinds[about["type"]]] if about["type"] in kinds else []
    if "default" in about:
        choices.append(f"nothing for {_as_typed(about['default'])}")
    elif not is_required:
        choices.append("may be left out")
    return f"{words} ({'; '.join(choices)})" if choices else words


def read_field(typed: str, about: Mapping[str, Any]) -> JsonValue:
    """Return what was typed as a value of its field. Raises: NotReadableError.

    >>> read_field("y", {"type": "boolean"}), read_field("3", {"type": "integer"}), read_field("3", {"type": "string"})
    (True, 3, '3')
    """
    if "enum" in about:
        for choice in about["enum"]:
            if typed == _as_typed(choice):
                return choice
        raise NotReadableError(f"One of: {', '.join(map(_as_typed, about['enum']))}.")
    kind = about["type"]
    if kind == "string":
        return typed
    if kind == "boolean":
        if typed.lower() in _YES | _NO:
            return typed.lower() in _YES
        raise NotReadableError("yes or no.")
    try:
        return int(typed) if kind == "integer" else float(typed)
    except ValueError as error:
        raise NotReadableError("A whole number." if kind == "integer" else "A number.") from error


def read_json_or_text(typed: str) -> JsonValue:
    """Return JSON as it is, nothing as null, and what is no JSON as text. Raises: NotReadableError.

    >>> read_json_or_text('{"a": 1}'), read_json_or_text(""), read_json_or_text("fine by me")
    ({'a': 1}, None, 'fine by me')
    """
    if not typed:
        return None
    try:
        return json.loads(typed)
    except ValueError as error:
        if typed.startswith(("{", "[", '"')):
            raise NotReadableError(f"That is not JSON: {error}.") from error
        return typed


def _as_typed(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
