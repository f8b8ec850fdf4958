"""The sandbox answers the same to the same, says what it is, and costs nothing."""

from decimal import Decimal
from typing import Any

import orjson
import pytest

from callboard.llm.errors import SandboxSchemaError
from callboard.llm.port import LLMRequest, Message
from callboard.llm.sandbox import SandboxProvider

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def _request(text: str = "Who are you?", output_schema: dict[str, Any] | None = None) -> LLMRequest:
    return LLMRequest(model="gpt-4o", messages=(Message("user", text),), output_schema=output_schema)


class TestGenerate:
    async def test_says_that_no_model_wrote_it(self) -> None:
        response = await SandboxProvider().generate(_request())

        assert "No model wrote this" in response.content
        assert "Who are you?" in response.content
        assert (response.provider, response.model) == ("sandbox", "sandbox")

    async def test_the_same_request_gets_the_same_answer(self) -> None:
        answers = [(await SandboxProvider().generate(_request())).content for _ in range(2)]

        assert answers[0] == answers[1]

    async def test_another_request_gets_another_answer(self) -> None:
        answers = [(await SandboxProvider().generate(_request(text))).content for text in ("a", "b")]

        assert answers[0] != answers[1]

    async def test_counts_tokens_from_the_text_and_costs_nothing(self) -> None:
        response = await SandboxProvider().generate(_request("x" * 41))

        assert response.usage.input_tokens == 11  # 41 characters / 4, rounded up
        assert response.usage.output_tokens == -(-len(response.content) // 4)
        assert (response.cost.usd, response.cost.source) == (Decimal(0), "none")

    async def test_with_a_schema_answers_json_that_fits(self) -> None:
        response = await SandboxProvider().generate(_request(output_schema=SCHEMA))

        assert orjson.loads(response.content) == {"name": "[sandbox] name"}

    async def test_says_which_schema_it_cannot_fit(self) -> None:
        with pytest.raises(SandboxSchemaError, match="pattern"):
            await SandboxProvider().generate(_request(output_schema={"type": "string", "pattern": "^x{77}$"}))


class TestStream:
    @pytest.mark.parametrize("text", ["Hello", "", "  two  spaces "])
    async def test_gives_the_same_text_in_pieces(self, text: str) -> None:
        provider = SandboxProvider()
        whole = await provider.generate(_request(text))

        chunks = [chunk async for chunk in provider.stream(_request(text))]

        assert "".join(chunk.text for chunk in chunks) == whole.content
        assert len(chunks) > 2
        assert chunks[-1].response is not None
        assert chunks[-1].response.content == whole.content
