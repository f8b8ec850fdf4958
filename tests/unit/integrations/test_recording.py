"""A service before which a recording stands: who is called, and what an answer must have."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from callboard.core.errors import TemporaryError
from callboard.core.playback import Playback, PlaybackAnswer
from callboard.core.pricing import NO_COST
from callboard.core.recording import Recorder, Tape, calling
from callboard.integrations.errors import ReplayMissError, ServiceParametersError
from callboard.integrations.port import ServiceResult
from callboard.integrations.recording import RecordingService


class Word(BaseModel):
    """What the service takes."""

    word: str


class Dictionary:
    """A service that counts its calls."""

    name = provider = "dictionary"
    methods: Mapping[str, type[BaseModel]] = {"look_up": Word}

    def __init__(self) -> None:
        self.calls = 0
        self.is_closed = False

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        self.calls += 1
        return ServiceResult(data=dict(parameters), status_code=200, units=1, cost=NO_COST, duration_ms=1)

    async def close(self) -> None:
        self.is_closed = True


def playing(**answer: Any) -> Tape:
    kept = PlaybackAnswer(service=None, step="a", **answer)
    return Tape(playback=Playback((kept,), match="step", way_out=lambda step: f"Record {step} anew."))


class TestRecordingService:
    async def test_outside_of_a_run_it_is_the_service(self) -> None:
        live = Dictionary()
        service = RecordingService(live)

        result = await service.call("look_up", {"word": "x"})

        assert (result.data, service.provider, service.methods) == ({"word": "x"}, "dictionary", live.methods)

    async def test_records_parameters_as_they_were_understood(self) -> None:
        recorder = Recorder()

        with calling(Tape(recorder=recorder), "a#1"):
            await RecordingService(Dictionary()).call("look_up", {"word": "x"})

        assert recorder.answers[0]["request"] == {"method": "look_up", "parameters": {"word": "x"}}
        assert recorder.answers[0]["response"]["data"] == {"word": "x"}

    async def test_plays_without_a_call(self) -> None:
        live = Dictionary()
        service = RecordingService(live)

        with calling(playing(response={"data": [1], "cost_usd": "0.5", "status_code": 201}), "a#1"):
            result = await service.call("look_up", {"word": "x"})
            provider = service.provider

        assert (result.data, result.cost.usd, result.status_code, provider) == ([1], Decimal("0.5"), 201, "replay")
        assert live.calls == 0

    async def test_plays_failures(self) -> None:
        failure = {"type": "service_unavailable", "message": "Away.", "retryable": True, "retry_after_seconds": 3}

        with calling(playing(error=failure), "a#1"), pytest.raises(TemporaryError, match="Away") as caught:
            await RecordingService(Dictionary()).call("look_up", {"word": "x"})

        assert (caught.value.code, caught.value.retry_after_seconds) == ("service_unavailable", 3)

    async def test_says_what_to_do_when_there_is_no_answer(self) -> None:
        with calling(playing(response={"data": 1}), "b#1"), pytest.raises(ReplayMissError, match="Record b anew"):
            await RecordingService(Dictionary()).call("look_up", {"word": "x"})

    async def test_refuses_parameters_even_where_an_answer_is_kept(self) -> None:
        with calling(playing(response={"data": 1}), "a#1"), pytest.raises(ServiceParametersError, match="word"):
            await RecordingService(Dictionary()).call("look_up", {})

    @pytest.mark.parametrize(
        ("response", "field"),
        [({}, "data"), ({"data": 1, "units": "two"}, "units"), ({"data": 1, "cost_usd": "free"}, "cost_usd")],
        ids=["no data", "units that are none", "a cost that is none"],
    )
    async def test_names_what_is_wrong_in_an_answer(self, response: dict[str, Any], field: str) -> None:
        with calling(playing(response=response), "a#1"), pytest.raises(ReplayMissError, match=field):
            await RecordingService(Dictionary()).call("look_up", {"word": "x"})

    async def test_closes_the_service(self) -> None:
        live = Dictionary()

        await RecordingService(live).close()

        assert live.is_closed
