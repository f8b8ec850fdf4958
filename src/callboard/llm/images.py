"""Images as a processor: what OpenAI's image endpoint makes of a prompt, or any server that speaks the same.

images = ImageMaker("openai", base_url="https://api.openai.com/v1", api_key=key, model="gpt-image-2",
                    http=http, prices=prices)
(image,), raw = await images.run(ImageRequest("A callboard in a theatre, pencil"))
"""

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import structlog
from pydantic import BaseModel, NonNegativeInt, ValidationError

from callboard.core.http_client import HttpClient
from callboard.core.pricing import NO_COST, Cost, UnitPrice, calculate_cost
from callboard.llm.port import CALL_TIMEOUT_SECONDS, Usage
from callboard.llm.pricing import ModelPrices
from callboard.llm.wire import Wire, check_key

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What is to be seen. `size` is WIDTHxHEIGHT in pixels; without one the model decides, as for `quality`."""

    prompt: str
    size: str | None = None
    quality: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Image:
    """One picture: its bytes, or the address where the vendor keeps it for a while. It is not fetched here."""

    data: bytes | None = None
    url: str | None = None
    revised_prompt: str | None = None  # what the model made of the prompt, where it tells


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImages:
    """What an image call used and cost. `usage` is empty where the server counts no tokens."""

    provider: str
    model: str
    usage: Usage
    cost: Cost
    duration_ms: int

    @property
    def cost_usd(self) -> Decimal:
        return self.cost.usd


class ImageMaker:
    """Makes images with one model; a `Processor` from `ImageRequest` to images.

    `price` is the operator's own: `call_usd` is per image, the rest per token. Without one the table of model
    prices is asked, and where nobody knows a price the cost is 0, with a warning.
    """

    def __init__(
        self,
        provider: str,
        *,
        base_url: str,
        api_key: str | None,
        model: str,
        http: HttpClient,
        prices: ModelPrices,
        price: UnitPrice | None = None,
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
        name: str = "image_maker",
    ) -> None:
        key = check_key(provider, api_key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{base_url.rstrip('/')}/images/generations"
        self.name = name
        self._provider = provider
        self._model = model
        self._prices = prices
        self._price = price
        self._timeout_seconds = timeout_seconds
        self._wire = Wire(http, provider=provider, url=url, headers=headers, key=key)

    async def run(self, given: ImageRequest, /) -> tuple[tuple[Image, ...], RawImages]:
        """Return the images of `given`, in the vendor's order, and what they used and cost.

        Raises: what `llm/errors.py` names.
        """
        started = time.monotonic()
        body = await self._wire.post(self._payload(given), timeout_seconds=self._timeout_seconds)
        answer = self._read(body)
        images = tuple(self._image(item) for item in answer.data)
        usage = (answer.usage or _Usage()).as_usage()
        raw = RawImages(
            provider=self._provider,
            model=self._model,
            usage=usage,
            cost=self._cost(usage, images=len(images), is_counted=answer.usage is not None),
            duration_ms=round((time.monotonic() - started) * 1000),
        )
        return images, raw

    def _payload(self, given: ImageRequest) -> dict[str, Any]:
        wanted = {"size": given.size, "quality": given.quality}
        return {
            "model": self._model,
            "prompt": given.prompt,
            "n": given.count,
            **{name: value for name, value in wanted.items() if value is not None},
        }

    def _read(self, body: Mapping[str, Any]) -> "_Answer":
        if body.get("error"):
            raise self._wire.vendor_failure(body["error"], self._model)
        try:
            answer = _Answer.model_validate(body)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise self._wire.unusable(self._model, f"{where} is not as it should be") from error
        if not answer.data:
            raise self._wire.unusable(self._model, "there is no image in it")
        return answer

    def _image(self, item: "_Item") -> Image:
        if item.b64_json is None and item.url is None:
            raise self._wire.unusable(self._model, "an image has neither bytes nor an address")
        try:
            data = None if item.b64_json is None else base64.b64decode(item.b64_json, validate=True)
        except binascii.Error as error:
            raise self._wire.unusable(self._model, "the bytes of an image are no base64") from error
        return Image(data=data, url=item.url, revised_prompt=item.revised_prompt)

    def _cost(self, usage: Usage, *, images: int, is_counted: bool) -> Cost:
        if self._price is not None:
            per_token = UnitPrice(input_usd=self._price.input_usd, output_usd=self._price.output_usd)
            usd = calculate_cost(per_token, usage.input_tokens, usage.output_tokens) + self._price.call_usd * images
            return Cost(usd=usd, source="operator", price_id=self._model, price=self._price)
        if is_counted:
            return self._prices.cost(provider=self._provider, models=(self._model,), usage=usage)
        _log.warning(
            "llm.price_unknown", provider=self._provider, model=self._model, setting="EXTERNAL_SERVICE_PRICING"
        )
        return NO_COST


class _Usage(BaseModel):
    input_tokens: NonNegativeInt = 0
    output_tokens: NonNegativeInt = 0

    def as_usage(self) -> Usage:
        return Usage(input_tokens=self.input_tokens, output_tokens=self.output_tokens)


class _Item(BaseModel):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Answer(BaseModel):
    data: list[_Item] = []
    usage: _Usage | None = None
