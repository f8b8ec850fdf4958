"""Images over HTTP: the wire format as OpenAI's own client reads it, what is paid, and what can go wrong."""

import base64
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import openai
import pytest

from callboard.core.http_client import HttpClient
from callboard.core.pricing import UnitPrice
from callboard.llm.errors import (
    ProviderAuthError,
    ProviderConnectionError,
    ProviderRateLimitError,
    ProviderServerError,
    UnusableAnswerError,
)
from callboard.llm.images import Image, ImageMaker, ImageRequest
from callboard.llm.pricing import ModelPrices
from callboard.llm.processors import Processor
from tests.fixtures.fake_images import PIXEL, WRONG_KEY, FakeImages

MODEL = "pixel-model"
Build = Callable[..., ImageMaker]


@pytest.fixture
async def fake() -> AsyncIterator[FakeImages]:
    async with FakeImages() as fake:
        yield fake


@pytest.fixture
async def build(fake: FakeImages) -> AsyncIterator[Build]:
    http = HttpClient()

    def make(**changed: Any) -> ImageMaker:
        given = {"base_url": fake.url, "api_key": "test-key", "model": MODEL, "http": http, "prices": ModelPrices()}
        return ImageMaker("openai_compatible", **{**given, **changed})

    yield make
    await http.close()


class TestRun:
    async def test_gives_bytes_and_what_they_used(self, build: Build) -> None:
        maker: Processor[ImageRequest, tuple[Image, ...]] = build()

        images, raw = await maker.run(ImageRequest("A pixel"))

        assert images == (Image(data=PIXEL),)
        assert (raw.provider, raw.model) == ("openai_compatible", MODEL)
        assert (raw.usage.input_tokens, raw.usage.output_tokens) == (10, 100)

    async def test_gives_addresses_where_the_server_does(self, build: Build) -> None:
        images, _ = await build().run(ImageRequest("[[url]] A pixel", count=2))

        assert images == (Image(url="https://images.example/1.png", revised_prompt="A pixel"),) * 2

    async def test_asks_for_no_more_than_was_said(self, build: Build, fake: FakeImages) -> None:
        await build().run(ImageRequest("A pixel"))
        await build().run(ImageRequest("A pixel", size="1024x1024", quality="low", count=3))

        assert fake.asked == [
            {"model": MODEL, "prompt": "A pixel", "n": 1},
            {"model": MODEL, "prompt": "A pixel", "n": 3, "size": "1024x1024", "quality": "low"},
        ]

    async def test_is_what_the_vendors_own_client_reads(self, build: Build, fake: FakeImages) -> None:
        async with openai.AsyncOpenAI(api_key="test-key", base_url=fake.url, max_retries=0) as sdk:
            theirs = await sdk.images.generate(model=MODEL, prompt="A pixel", n=2)

        images, raw = await build().run(ImageRequest("A pixel", count=2))

        assert [base64.b64decode(image.b64_json or "") for image in theirs.data or []] == [each.data for each in images]
        assert theirs.usage is not None
        assert theirs.usage.total_tokens == raw.usage.total_tokens
        assert fake.asked[0] == fake.asked[1]


class TestCost:
    @pytest.mark.parametrize(
        ("price", "usd"),
        [
            (UnitPrice(call_usd=Decimal("0.04")), "0.08"),  # 2 images x 0.04
            (UnitPrice(input_usd=Decimal("0.00001"), output_usd=Decimal("0.0004")), "0.0401"),  # 10 and 100
        ],
        ids=["per image", "per token"],
    )  # fmt: skip
    async def test_is_the_operators_price(self, build: Build, price: UnitPrice, usd: str) -> None:
        _, raw = await build(price=price).run(ImageRequest("A pixel", count=2))

        assert raw.cost_usd == Decimal(usd)

    @pytest.mark.parametrize("prompt", ["A pixel", "[[no-usage]] A pixel"])
    async def test_is_nothing_where_nobody_knows_a_price(self, build: Build, prompt: str) -> None:
        _, raw = await build().run(ImageRequest(prompt))

        assert (raw.cost_usd, raw.cost.source) == (Decimal(0), "none")


class TestFaults:
    @pytest.mark.parametrize(
        ("prompt", "error"),
        [
            ("[[fail:429]]", ProviderRateLimitError),
            ("[[fail:503]]", ProviderServerError),
            ("[[answer:{}]]", UnusableAnswerError),
            ('[[answer:{"data": [{}]}]]', UnusableAnswerError),
            ('[[answer:{"data": [{"b64_json": "%"}]}]]', UnusableAnswerError),
            ('[[answer:{"data": 7}]]', UnusableAnswerError),
            ("[[answer:<html>]]", UnusableAnswerError),
            ('[[answer:{"error": {"message": "too fast", "code": "rate_limit_exceeded"}}]]', ProviderRateLimitError),
        ],
    )
    async def test_have_names(self, build: Build, prompt: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            await build().run(ImageRequest(prompt))

    async def test_a_wrong_key_is_not_shown(self, build: Build) -> None:
        with pytest.raises(ProviderAuthError) as refused:
            await build(api_key=WRONG_KEY).run(ImageRequest("A pixel"))

        assert WRONG_KEY not in str(refused.value)

    async def test_a_server_that_is_away(self, build: Build) -> None:
        with pytest.raises(ProviderConnectionError):
            await build(base_url="http://127.0.0.1:1/v1").run(ImageRequest("A pixel"))
