"""Recorded answers: how they are found, and what a broken file does."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from callboard.core.replay import BrokenAnswersError, RecordedAnswers, hash_request, read_recording


def _write(folder: Path, name: str, *answers: dict[str, Any], workflow: str = "hello", **more: Any) -> Path:
    path = folder / f"{name}.replay.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"workflow": workflow, "origin": "written by hand", "answers": list(answers), **more}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _answer(request: dict[str, Any], response: dict[str, Any], service: str = "llm") -> dict[str, Any]:
    return {"service": service, "request": request, "response": response}


class TestFind:
    def test_finds_the_answer_to_the_same_request(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "deep/er/hello", _answer({"q": "Hi", "n": 1}, {"a": "Hello"}))

        found = RecordedAnswers.load(tmp_path).find("llm", {"n": 1.0, "q": "Hi", "none": None})

        assert found is not None
        assert (found.response, found.origin, found.path) == ({"a": "Hello"}, "written by hand", path)

    @pytest.mark.parametrize(
        ("service", "request_"),
        [("llm", {"q": "hi"}), ("google_places", {"q": "Hi"}), ("llm", {"q": "Hi", "more": 1}), ("llm", {})],
        ids=["another text", "another service", "one key more", "nothing"],
    )
    def test_finds_nothing_for_another_request(self, tmp_path: Path, service: str, request_: dict[str, Any]) -> None:
        _write(tmp_path, "hello", _answer({"q": "Hi"}, {"a": "Hello"}))

        assert RecordedAnswers.load(tmp_path).find(service, request_) is None

    def test_of_two_files_the_first_by_path_answers(self, tmp_path: Path) -> None:
        _write(tmp_path, "b", _answer({"q": 1}, {"a": "b"}))
        _write(tmp_path, "a", _answer({"q": 1}, {"a": "a"}))

        found = RecordedAnswers.load(tmp_path).find("llm", {"q": 1})

        assert found is not None
        assert found.response == {"a": "a"}

    def test_a_new_file_is_found_at_once(self, tmp_path: Path) -> None:
        answers = RecordedAnswers.load(tmp_path)
        _write(tmp_path, "hello", _answer({"q": 1}, {"a": 1}))

        assert answers.find("llm", {"q": 1}) is not None

    def test_a_changed_file_is_read_again(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "hello", _answer({"q": 1}, {"a": 1}))
        answers = RecordedAnswers.load(tmp_path)
        _write(tmp_path, "hello", _answer({"q": 1}, {"a": 2}))
        os.utime(path, ns=(1, 1))

        answers.refresh()

        found = answers.find("llm", {"q": 1})
        assert found is not None
        assert found.response == {"a": 2}

    def test_a_removed_file_answers_no_more(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "hello", _answer({"q": 1}, {"a": 1}))
        answers = RecordedAnswers.load(tmp_path)
        path.unlink()

        answers.refresh()

        assert answers.find("llm", {"q": 1}) is None

    def test_a_folder_that_is_not_there_has_no_answers(self, tmp_path: Path) -> None:
        assert RecordedAnswers.load(tmp_path / "nowhere").find("llm", {}) is None


class TestFindNearest:
    def test_names_the_keys_that_differ(self, tmp_path: Path) -> None:
        far = _answer({"model": "n", "messages": ["x"], "top_p": 1}, {})
        near = _answer({"model": "m", "messages": ["x"]}, {"a": "near"})
        _write(tmp_path, "hello", far, near)

        miss = RecordedAnswers.load(tmp_path).find_nearest("llm", {"model": "m", "messages": ["y"]})

        assert miss is not None
        assert (miss.answer.response, miss.differing) == ({"a": "near"}, ("messages",))

    def test_of_a_service_without_answers_there_is_none(self, tmp_path: Path) -> None:
        assert RecordedAnswers.load(tmp_path).find_nearest("llm", {}) is None


class TestHasAnswersFor:
    def test_tells_the_workflows_that_have_some(self, tmp_path: Path) -> None:
        _write(tmp_path, "hello", _answer({}, {}), workflow="hello")
        _write(tmp_path, "empty", workflow="empty")

        answers = RecordedAnswers.load(tmp_path)

        assert [answers.has_answers_for(name) for name in ("hello", "empty", "other")] == [True, False, False]
        assert answers.origins("hello") == ("written by hand",)


class TestBroken:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"{ no json", "unexpected"),
            (b"\xff\xfe", "bad.replay.json"),
            (b"[]", "an object"),
            (b'{"origin": "x", "answers": []}', "/workflow is text"),
            (b'{"workflow": "w", "answers": []}', "/origin is text"),
            (b'{"workflow": "w", "origin": "x", "answers": {}}', "/answers is a list"),
            (b'{"workflow": "w", "origin": "x", "answers": [1]}', "/answers/0"),
            (
                b'{"workflow": "w", "origin": "x", "answers": [{"service": "llm", "request": {}}]}',
                "/answers/0/response",
            ),
        ],
        ids=["json", "utf-8", "list", "workflow", "origin", "answers", "answer", "response"],
    )
    def test_a_broken_file_is_a_finding_and_the_others_serve(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        (tmp_path / "bad.replay.json").write_bytes(content)
        _write(tmp_path, "good", _answer({"q": 1}, {"a": 1}))

        answers = RecordedAnswers.load(tmp_path)

        assert [(found.path.name, message in found.message) for found in answers.broken()] == [
            ("bad.replay.json", True)
        ]
        assert answers.find("llm", {"q": 1}) is not None


class TestHashRequest:
    def test_the_order_of_messages_matters(self) -> None:
        assert hash_request("llm", {"m": [1, 2]}) != hash_request("llm", {"m": [2, 1]})

    def test_nulls_deep_inside_are_left_out(self) -> None:
        assert hash_request("llm", {"a": {"b": None, "c": 1}}) == hash_request("llm", {"a": {"c": 1}})

    def test_what_cannot_be_stored_has_a_hash_too(self) -> None:
        assert hash_request("llm", {"a": "\ud800", "b": 2**70})

    def test_true_is_not_one(self) -> None:
        assert hash_request("llm", {"a": True}) != hash_request("llm", {"a": 1})


class TestReadRecording:
    def test_keeps_order_steps_failures_and_what_the_run_had(self, tmp_path: Path) -> None:
        failed = {"service": "llm", "step": "a#1", "request": {"q": 1}, "error": {"type": "away"}}
        answered = {**_answer({"q": 1}, {"a": 1}), "step": "a#1"}
        path = _write(tmp_path, "run", failed, answered, defaults={"model": "m"}, started_at="2026-01-01T00:00:00Z")

        recording = read_recording(path)

        assert [(each.step, each.error, each.response) for each in recording.answers] == [
            ("a#1", {"type": "away"}, {}),
            ("a#1", None, {"a": 1}),
        ]
        assert (recording.defaults, recording.started_at) == ({"model": "m"}, "2026-01-01T00:00:00Z")

    def test_a_failure_is_no_answer_in_the_folder(self, tmp_path: Path) -> None:
        _write(tmp_path, "run", {"service": "llm", "request": {"q": 1}, "error": {"type": "away"}})

        assert RecordedAnswers.load(tmp_path).find("llm", {"q": 1}) is None
        assert RecordedAnswers.load(tmp_path).broken() == ()

    @pytest.mark.parametrize(
        ("more", "place"),
        [
            ({"defaults": []}, "/defaults"),
            ({"started_at": 5}, "/started_at"),
            ({"answers": [{"step": 1}]}, "/answers/0"),
        ],
        ids=["defaults", "started_at", "an answer"],
    )
    def test_says_what_is_wrong(self, tmp_path: Path, more: dict[str, Any], place: str) -> None:
        with pytest.raises(BrokenAnswersError, match=place):
            read_recording(_write(tmp_path, "run", **more))

    def test_says_that_it_is_no_json(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text("{", "utf-8")

        with pytest.raises(BrokenAnswersError, match="no JSON"):
            read_recording(path)
