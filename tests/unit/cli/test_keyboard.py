"""The questions that a run asks at the keyboard: typed into a pipe here, into a terminal by `tests/integration`."""

import asyncio
import io
import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from rich.console import Console

from callboard.cli.keyboard import Keyboard, flat_fields
from callboard.cli.output import Output
from callboard.core.json_values import JsonValue
from callboard.workflows.memory import NobodyAnswersError
from callboard.workflows.steps.waiting import Wait, WaitKind


class Typist:
    """A keyboard, what is typed on it, and what it shows."""

    def __init__(self) -> None:
        self._screen = io.StringIO()
        reading, self._writing = os.pipe()
        self._open = {reading, self._writing}
        console = Console(file=self._screen, width=100)
        self.keyboard = Keyboard(Output(False, console, console), quiet=nullcontext, descriptor=reading)

    @property
    def shown(self) -> str:
        return self._screen.getvalue()

    def type(self, *lines: str) -> None:
        os.write(self._writing, "".join(f"{line}\n" for line in lines).encode())

    def leave(self) -> None:
        os.close(self._writing)
        self._open.discard(self._writing)

    def close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)

    async def answer(self, form: dict[str, Any] | None = None, **fields: Any) -> JsonValue:
        wait = Wait(kind=WaitKind.APPROVAL, step_id="ok", form_schema=form, **{"title": "Fine?", **fields})
        async with asyncio.timeout(10):
            return await self.keyboard.ask("ok", wait)


@pytest.fixture
def typist() -> Iterator[Typist]:
    made = Typist()
    yield made
    made.close()


def form(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


class TestAsk:
    async def test_shows_what_is_asked(self, typist: Typist) -> None:
        typist.type("yes")

        await typist.answer(title="Send it to [Ada]?", instructions="It *says*:\n\n- hello")

        assert "? Send it to [Ada]?  ok" in typist.shown
        assert "It says:" in typist.shown
        assert "• hello" in typist.shown

    @pytest.mark.parametrize(
        ("typed", "answer"),
        [
            pytest.param(["fine by me"], "fine by me", id="text"),
            pytest.param(['{"a": [1]}'], {"a": [1]}, id="json"),
            pytest.param(["3"], 3, id="number"),
            pytest.param([""], None, id="nothing"),
            pytest.param(['{"a": 1', "7"], 7, id="again after broken json"),
        ],
    )
    async def test_takes_anything_without_a_form(self, typist: Typist, typed: list[str], answer: JsonValue) -> None:
        typist.type(*typed)

        assert await typist.answer() == answer

    async def test_asks_for_each_field_of_a_flat_form(self, typist: Typist) -> None:
        typist.type("y", "3", "0.5", "brief", "")
        wanted = form(
            "fine",
            fine={"type": "boolean", "title": "Is it fine?"},
            stars={"type": "integer", "maximum": 5},
            share={"type": "number"},
            tone={"enum": ["kind", "brief"]},
            remark={"type": "string"},
        )

        assert await typist.answer(wanted) == {"fine": True, "stars": 3, "share": 0.5, "tone": "brief"}
        for prompt in (
            "Is it fine? (yes or no): ",
            "stars (a whole number; may be left out): ",
            "(kind, brief; may be",
        ):
            assert prompt in typist.shown

    @pytest.mark.parametrize(
        ("about", "typed", "value", "said"),
        [
            pytest.param({"type": "boolean"}, ["perhaps", "no"], False, "yes or no.", id="boolean"),
            pytest.param({"type": "integer"}, ["few", "3"], 3, "A whole number.", id="integer"),
            pytest.param({"enum": ["a", 1]}, ["b", "1"], 1, "One of: a, 1.", id="choice"),
            pytest.param({"type": "integer"}, ["", "3"], 3, "A whole number.", id="required"),
        ],
    )
    async def test_asks_a_field_again(
        self, typist: Typist, about: dict[str, Any], typed: list[str], value: JsonValue, said: str
    ) -> None:
        typist.type(*typed)

        assert await typist.answer(form("x", x=about)) == {"x": value}
        assert said in typist.shown

    async def test_takes_defaults_for_nothing(self, typist: Typist) -> None:
        typist.type("")

        assert await typist.answer(form("tone", tone={"type": "string", "default": "kind"})) == {"tone": "kind"}
        assert "nothing for kind" in typist.shown

    async def test_asks_all_again_where_the_form_refuses(self, typist: Typist) -> None:
        typist.type("9", "4")

        assert await typist.answer(form("stars", stars={"type": "integer", "maximum": 5})) == {"stars": 4}
        assert "/stars 9 is greater than the maximum of 5" in typist.shown

    async def test_takes_json_for_other_forms(self, typist: Typist) -> None:
        typist.type('{"rows": "x"}', '{"rows": [1]}')

        assert await typist.answer(form(rows={"type": "array"})) == {"rows": [1]}

    async def test_asks_for_a_signal(self, typist: Typist) -> None:
        typist.type('{"sum": 5}')

        payload = await typist.keyboard.ask("pay", Wait(kind=WaitKind.EVENT, step_id="pay", name="paid"))

        assert payload == {"sum": 5}
        assert "? Signal paid  pay" in typist.shown

    async def test_ends_when_the_keyboard_is_closed(self, typist: Typist) -> None:
        typist.leave()

        with pytest.raises(NobodyAnswersError):
            await typist.answer()

    async def test_asks_one_after_the_other(self, typist: Typist) -> None:
        both = asyncio.gather(typist.answer(title="First?"), typist.answer(title="Second?"))
        await asyncio.sleep(0)
        typist.type("1", "2")

        assert list(await both) == [1, 2]
        assert typist.shown.index("Second?") > typist.shown.index("answer as JSON")

    async def test_can_be_left(self, typist: Typist) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await typist.answer()

        typist.type("later")

        assert await typist.answer() == "later"


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": True}},
        {"type": "string"},
    ],
    ids=["none", "empty", "no fields", "a list", "anything", "text"],
)
def test_flat_fields_of_other_forms(given: dict[str, Any] | None) -> None:
    assert flat_fields(given) is None
