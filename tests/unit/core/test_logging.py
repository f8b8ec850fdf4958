"""Log lines: their form, their fields, and that no secret is in them."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from callboard.core.logging import bind, configure_logging, mask_secrets, mask_text

KEY = "cb_Zk3v9QaBf0m1n2o3p4q5r6s7t8u9v0w1x2y3z4A5B6c"


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    structlog.contextvars.clear_contextvars()
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not type(each).__module__.startswith("callboard.core.log")]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)


class TestConfigureLogging:
    def read(self, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    def test_writes_events_as_json_with_the_fields_of_the_task(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO", json=True)
        bind(request_id="r-1", job_id="j-1")

        structlog.get_logger("x").info("step.ended", step="analyse", duration_ms=12)

        [line] = self.read(capsys)
        assert (line["event"], line["level"], line["logger"]) == ("step.ended", "info", "x")
        assert (line["request_id"], line["job_id"], line["step"], line["duration_ms"]) == ("r-1", "j-1", "analyse", 12)
        assert line["timestamp"].endswith("Z")

    def test_gives_other_libraries_lines_the_same_form(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO", json=True)
        bind(request_id="r-1")

        logging.getLogger("uvicorn.error").warning("port %d is taken, key %s", 80, KEY)

        [line] = self.read(capsys)
        assert (line["event"], line["request_id"]) == ("port 80 is taken, key ***", "r-1")

    def test_leaves_out_what_is_below_the_level(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("WARNING", json=True)

        structlog.get_logger("x").info("quiet")
        logging.getLogger("y").info("quiet")

        assert self.read(capsys) == []

    def test_quiets_chatty_libraries(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("DEBUG", json=True)

        logging.getLogger("aiosqlite").debug("executing")
        logging.getLogger("uvicorn.access").info("GET /")

        assert self.read(capsys) == []

    def test_writes_each_line_once_when_called_twice(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO", json=False)
        configure_logging("INFO", json=True)

        structlog.get_logger("x").info("once")

        assert len(self.read(capsys)) == 1

    def test_writes_a_traceback_without_secrets(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO", json=True)

        with pytest.raises(ValueError, match="no connection") as caught:
            raise ValueError(f"no connection to postgresql://app:hunter2@db/x with {KEY}")
        structlog.get_logger("x").error("crashed", exc_info=caught.value)

        [line] = self.read(capsys)
        assert "Traceback" in line["exception"]
        assert "hunter2" not in line["exception"]
        assert KEY not in line["exception"]

    def test_is_readable_without_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO", json=False)

        structlog.get_logger("x").info("job.claimed", job_id="j-1")

        line = capsys.readouterr().err
        assert "job.claimed" in line
        assert "job_id=j-1" in line
        assert "\x1b" not in line


class TestMaskSecrets:
    @pytest.mark.parametrize(
        "name",
        ["api_key", "X-API-Key", "key", "secret", "webhook_secret", "token", "Authorization", "password", "cookie"],
    )
    def test_hides_fields_by_their_name(self, name: str) -> None:
        assert mask_secrets(None, "info", {name: "abc", "event": "e"}) == {name: "***", "event": "e"}

    @pytest.mark.parametrize("name", ["key_id", "input_tokens", "total_tokens", "monkey", "keyboard", "tokens"])
    def test_leaves_other_fields(self, name: str) -> None:
        assert mask_secrets(None, "info", {name: "abc"}) == {name: "abc"}

    def test_reaches_into_nested_values(self) -> None:
        event = {"headers": [{"x-api-key": "abc", "accept": "*/*"}], "url": ("a", f"b?k={KEY}")}

        assert mask_secrets(None, "info", event) == {
            "headers": [{"x-api-key": "***", "accept": "*/*"}],
            "url": ["a", "b?k=***"],
        }


class TestMaskText:
    @pytest.mark.parametrize(
        ("text", "secret"),
        [
            pytest.param(f"key {KEY}.", KEY, id="ours"),
            pytest.param("sk-proj-abcdefghijklmnop1234", "sk-proj-abcdefghijklmnop1234", id="OpenAI"),
            pytest.param("sk-or-v1-0123456789abcdef0123", "0123456789abcdef0123", id="OpenRouter"),
            pytest.param("AIzaSyA-0123456789abcdefghijklmnopqrstuv", "AIzaSy", id="Google"),
            pytest.param("Authorization: Bearer abc.def", "abc.def", id="bearer"),
            pytest.param("redis://:hunter2@cache:6379/0", "hunter2", id="password in a URL"),
            pytest.param("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJzdWIiOiIxIn0", id="JWT"),
        ],
    )
    def test_hides_what_looks_like_a_secret(self, text: str, secret: str) -> None:
        masked = mask_text(text)

        assert secret not in masked
        assert "***" in masked

    @pytest.mark.parametrize(
        "text", ["job 01a1f8b7-d960-7047-9970-c86d28529c10", "http://127.0.0.1:8000/a@b", "task-sk"]
    )
    def test_leaves_other_text(self, text: str) -> None:
        assert mask_text(text) == text
