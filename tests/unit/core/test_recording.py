"""The call that is under way: kept, or served."""

import pytest

from callboard.core.errors import PermanentError, StepError, TemporaryError
from callboard.core.playback import Playback, PlaybackAnswer
from callboard.core.recording import Recorder, Tape, calling, current_call, recorded_failure

NOT_FOUND = Playback((), match="request", way_out=str)


def fail_in_a_call(tape: Tape, error: StepError) -> None:
    with calling(tape, "a#1") as call:
        call.ask("llm", {"q": 1})
        raise error


class TestCalling:
    def test_there_is_no_call_outside(self) -> None:
        with calling(Tape(), "a#1"):
            assert current_call() is not None

        assert current_call() is None

    def test_keeps_what_was_asked_and_answered(self) -> None:
        recorder = Recorder()

        with calling(Tape(recorder=recorder), "a#1") as call:
            assert call.ask("llm", {"q": 1}) is None
            call.keep({"content": "x"})

        assert recorder.answers == [
            {"service": "llm", "step": "a#1", "request": {"q": 1}, "response": {"content": "x"}}
        ]

    def test_keeps_how_a_call_failed(self) -> None:
        recorder = Recorder()

        with pytest.raises(TemporaryError):
            fail_in_a_call(Tape(recorder=recorder), TemporaryError("Away.", retry_after_seconds=2))

        (kept,) = recorder.answers
        assert (kept["error"]["message"], kept["error"]["retryable"]) == ("Away.", True)
        assert kept["error"]["retry_after_seconds"] == 2

    def test_keeps_nothing_of_a_call_that_had_no_answer_to_be_played(self) -> None:
        recorder = Recorder()

        with pytest.raises(LookupError), calling(Tape(recorder=recorder, playback=NOT_FOUND), "a#1") as call:
            call.ask("llm", {"q": 1})

        assert recorder.answers == []

    def test_what_is_played_can_be_kept_again(self) -> None:
        recorder, answer = Recorder(), PlaybackAnswer(service="llm", step="a", response={"content": "x"})
        tape = Tape(recorder=recorder, playback=Playback((answer,), match="request", way_out=str))

        with calling(tape, "a#1") as call:
            assert call.is_played
            assert call.ask("llm", {"q": 1}) is answer
            call.keep({"content": "x"})

        assert recorder.answers[0]["step"] == "a#1"


class TestRecordedFailure:
    @pytest.mark.parametrize("kind", [TemporaryError, PermanentError])
    def test_is_what_it_was(self, kind: type[StepError]) -> None:
        recorded = {"type": "odd", "category": "service", "message": "No.", "retryable": kind is TemporaryError}

        failure = recorded_failure({**recorded, "details": {"a": 1}})

        assert isinstance(failure, kind)
        assert (failure.code, failure.category, failure.message, failure.details) == ("odd", "service", "No.", {"a": 1})
