"""Which kept answer a call is given, and what is said when there is none."""

from typing import Any

import pytest

from callboard.core.playback import Match, MissedCallError, Playback, PlaybackAnswer

ASKED = {"q": "Hi"}


def kept(answer: str, *, step: str | None = None, request: dict[str, Any] | None = None) -> PlaybackAnswer:
    return PlaybackAnswer(service="llm", step=step, request=request, response={"content": answer})


def playback(*answers: PlaybackAnswer, match: Match = "request") -> Playback:
    return Playback(answers, match=match, way_out=lambda step: f"Record {step} anew.")


def take(from_: Playback, request: dict[str, Any], call: str = "draft#1") -> str:
    response = from_.take("llm", request, call=call).response
    assert response is not None
    return str(response["content"])


class TestTake:
    def test_gives_the_same_request_its_answers_in_order(self) -> None:
        answers = playback(kept("one", request=ASKED), kept("two", request=ASKED))

        assert [take(answers, ASKED) for _ in range(3)] == ["one", "two", "two"]

    def test_prefers_the_answer_of_the_same_call(self) -> None:
        answers = playback(
            kept("first", step="each[0]/draft#1", request=ASKED), kept("second", step="each[1]/draft#1", request=ASKED)
        )

        assert take(answers, ASKED, "each[1]/draft#1") == "second"
        assert take(answers, ASKED, "each[0]/draft#1") == "first"

    def test_finds_a_request_whose_step_has_another_name_now(self) -> None:
        assert take(playback(kept("one", step="old#1", request=ASKED)), ASKED) == "one"

    @pytest.mark.parametrize("name", ["each[0]/draft#1", "each[0]/draft", "each/draft", "draft"])
    def test_takes_a_written_answer_by_any_name_of_the_step(self, name: str) -> None:
        assert take(playback(kept("one", step=name)), ASKED, "each[0]/draft#1") == "one"

    def test_prefers_the_most_exact_name(self) -> None:
        answers = playback(kept("any", step="draft"), kept("this", step="each[1]/draft"))

        assert take(answers, ASKED, "each[1]/draft#1") == "this"
        assert take(answers, ASKED, "each[0]/draft#1") == "any"

    def test_gives_a_changed_request_the_answer_of_its_step_and_tells(self) -> None:
        answers = playback(kept("one", step="draft#1", request={"q": "Hello"}), match="step")

        assert take(answers, ASKED) == "one"
        assert [each.pointer for each in answers.changed["draft#1"]] == ["/q"]

    def test_tells_nothing_of_a_request_that_is_the_same(self) -> None:
        answers = playback(kept("one", step="draft#1", request={**ASKED, "n": None}), match="step")

        take(answers, ASKED)

        assert answers.changed == {}

    def test_gives_one_service_nothing_of_another(self) -> None:
        with pytest.raises(MissedCallError):
            playback(kept("one", step="draft")).take("maps", ASKED, call="draft#1")


class TestMiss:
    def test_says_which_step_what_differs_and_what_to_do(self) -> None:
        answers = playback(
            kept("other", step="plan#1", request={"q": "Plan"}),
            kept("one", step="draft#1", request={"q": "Dear all,\nhello\nBye"}),
        )

        with pytest.raises(MissedCallError) as caught:
            answers.take("llm", {"q": "Dear all,\nhi\nBye"}, call="draft#1")

        for said in ("step draft (draft#1)", "the one recorded for it", "/q", "-hello", "+hi", "Record draft anew."):
            assert said in caught.value.message
        assert caught.value.details["differing"] == ["/q"]

    def test_is_short_where_nothing_was_recorded(self) -> None:
        with pytest.raises(MissedCallError) as caught:
            playback().take("llm", ASKED, call="draft#1")

        assert "differs" not in caught.value.message
