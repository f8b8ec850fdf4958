"""The models of runs in memory: calls are kept as they come back, or answered from what was kept.

`workbench.py` puts a `RecordingClient` before the real `LLMClient` for commands such as `callboard run` and
`callboard test`. Whether a call is recorded, played or simply made is the matter of `core/recording.py`.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from callboard.core.playback import MissedCallError, PlaybackAnswer
from callboard.core.recording import current_call, recorded_failure
from callboard.llm.client import Candidate, LLMClient
from callboard.llm.errors import LLMError, ReplayMissError
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse
from callboard.llm.pricing import ModelPrices
from callboard.llm.replay import CHUNK_CHARACTERS, SERVICE, read_response, recorded_request, recorded_response

PLAYED_BY = "replay"  # the provider of every answer that was kept


class RecordingClient(LLMClient):
    """A client that makes the calls of `live`, but for those that a run has answers for."""

    def __init__(self, live: LLMClient, prices: ModelPrices) -> None:
        super().__init__(())
        self._live = live
        self._prices = prices

    @property
    def provider_names(self) -> tuple[str, ...]:
        return self._live.provider_names

    def open_circuits(self) -> dict[str, float]:
        return self._live.open_circuits()

    async def generate(self, request: LLMRequest, candidates: Sequence[Candidate]) -> LLMResponse:
        """Return the kept answer to `request`, or that of the first candidate that gives one.

        Raises: ReplayMissError, when it should be kept and is not; what was recorded as the end of this
        call; as `LLMClient.generate` otherwise.
        """
        response = self._play(request)
        return self._keep(await self._live.generate(request, candidates) if response is None else response)

    async def stream(self, request: LLMRequest, candidates: Sequence[Candidate]) -> AsyncGenerator[LLMChunk, None]:
        """Yield the answer in pieces, and last the chunk that carries the response. Raises: as `generate`."""
        response = self._play(request)
        if response is not None:
            for start in range(0, len(response.content), CHUNK_CHARACTERS):
                yield LLMChunk(text=response.content[start : start + CHUNK_CHARACTERS])
            yield LLMChunk(response=self._keep(response))
            return
        async with aclosing(self._live.stream(request, candidates)) as chunks:
            async for chunk in chunks:
                if chunk.response is not None:
                    self._keep(chunk.response)
                yield chunk

    async def close(self) -> None:
        """Close every provider."""
        await self._live.close()

    def _play(self, request: LLMRequest) -> LLMResponse | None:
        call = current_call()
        if call is None:
            return None
        try:
            answer = call.ask(SERVICE, recorded_request(request))
        except MissedCallError as error:
            raise ReplayMissError(error.message, details=error.details) from error
        if answer is None:
            return None
        return self._read(answer, request)

    def _read(self, answer: PlaybackAnswer, request: LLMRequest) -> LLMResponse:
        if answer.error is not None:
            raise recorded_failure(answer.error, bases=(LLMError,))
        unknown = {"model": request.model, "provider": PLAYED_BY, "input_tokens": 0, "output_tokens": 0}
        return read_response({**unknown, **(answer.response or {})}, self._prices, provider=PLAYED_BY)

    @staticmethod
    def _keep(response: LLMResponse) -> LLMResponse:
        call = current_call()
        if call is not None:
            call.keep(recorded_response(response))
        return response
