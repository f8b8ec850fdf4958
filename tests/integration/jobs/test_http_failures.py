"""What callers see when providers, time limits and values fail: the error document of the job, and its costs."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, ask, running_app, say, workflow

MAX_OUTPUT_BYTES = 20_000


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


@pytest.fixture
async def server(database_url: str, tmp_path: Path, fake: FakeLLM) -> AsyncIterator[Server]:
    async with running_app(
        database_url, tmp_path, llm_url=fake.ollama_url, max_step_output_bytes=MAX_OUTPUT_BYTES
    ) as server:
        yield server


@pytest.fixture
async def sqlite_server(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """For what has nothing to do with the database."""
    async with FakeLLM() as fake, running_app(sqlite_url, tmp_path, llm_url=fake.ollama_url) as server:
        yield server


async def run(server: Server, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the job that runs `steps`, once it has ended."""
    server.files.write(workflow("tried", list(steps), **fields))
    return await server.ended(await server.submit("tried"))


class TestProviderFailures:
    @pytest.mark.parametrize(
        ("prompt", "code", "retryable"),
        [
            pytest.param("[[fail:401]]", "provider_auth_failed", False, id="401"),
            pytest.param("[[fail:400]]", "provider_bad_request", False, id="400"),
            pytest.param("[[fail:429:retry=7]]", "provider_rate_limited", True, id="429"),
            pytest.param("[[fail:500]]", "provider_server_error", True, id="500"),
            pytest.param("[[fail:503]]", "provider_server_error", True, id="503"),
            pytest.param("[[garbage]]", "provider_answer_unusable", True, id="garbage"),
            pytest.param("[[html]]", "provider_answer_unusable", True, id="a page of a proxy"),
            pytest.param("[[empty]]", "provider_answer_unusable", True, id="an empty answer"),
            pytest.param("[[no-choice]]", "provider_answer_unusable", True, id="no choice"),
            pytest.param("[[half]]", "provider_answer_unusable", True, id="half an answer"),
            pytest.param("[[close]]", "provider_unreachable", True, id="nothing"),
            pytest.param("[[error-in-answer:502]]", "provider_server_error", True, id="200 with an error inside"),
        ],
    )
    async def test_are_told_with_step_and_way_out(
        self, sqlite_server: Server, prompt: str, code: str, retryable: bool
    ) -> None:
        job = await run(sqlite_server, say("before", "fine"), ask("think", prompt))

        error = job["error"]
        assert (job["status"], job["result"]) == ("failed", None)
        assert set(error) == {"type", "category", "message", "retryable", "step_id", "details"}
        assert (error["type"], error["category"], error["retryable"]) == (code, "provider", retryable)
        assert error["step_id"] == "think"
        assert job["error_message"] == error["message"]
        assert '"tried"' in error["message"]
        assert '"think"' in error["message"]
        assert (job["steps_completed"], job["current_step"]) == (1, "think")

    async def test_of_a_provider_that_never_answers_end_with_the_steps_time(self, server: Server) -> None:
        job = await run(server, ask("think", "[[hang]]", timeout_seconds=1))

        assert (job["error"]["type"], job["error"]["retryable"]) == ("provider_timeout", True)

    async def test_say_what_the_provider_said_without_keys(self, server: Server) -> None:
        job = await run(server, ask("think", "[[fail:400]][[reason:max_tokens is too large, sk-abcdef123456789]]"))

        assert "max_tokens is too large" in job["error_message"]
        assert "sk-abcdef" not in str(job)
        assert job["error"]["details"]["http_status"] == 400

    async def test_are_tried_again_after_the_time_that_the_provider_asks_for(
        self, server: Server, fake: FakeLLM
    ) -> None:
        prompt = "[[key:k]][[fail:429:retry=1:times=1]][[say:done]]"
        retry = {"max_attempts": 3, "delay_seconds": 0.01, "jitter": False}
        started = time.monotonic()

        job = await run(server, ask("think", prompt, retry=retry))

        assert (job["status"], fake.started["k"]) == ("completed", 2)
        assert time.monotonic() - started >= 1
        assert len(job["cost_data"]["llm_calls"]) == 1

    async def test_keep_what_was_paid_before(self, server: Server) -> None:
        job = await run(server, ask("first", "[[tokens:120:30]]"), ask("second", "[[fail:400]]"))

        assert (job["status"], job["cost_data"]["total_tokens"]) == ("failed", 150)

    async def test_may_be_gone_past(self, server: Server) -> None:
        job = await run(server, ask("think", "[[fail:500]]", error_mode="continue"), say("after", "fine"))

        steps = (await server.client.get(f"{API}/jobs/{job['job_id']}/steps")).json()["items"]
        assert job["status"] == "completed"
        assert [(step["step_id"], step["status"]) for step in steps] == [
            ("think", "continued"),
            ("after", "succeeded"),
        ]
        assert steps[0]["error"]["type"] == "provider_server_error"


class TestTimeLimit:
    async def test_ends_a_run_and_aborts_its_call(self, server: Server) -> None:
        job = await run(server, ask("think", "[[hang]]"), timeout_seconds=1)

        assert (job["status"], job["error"]["type"], job["error"]["category"]) == ("failed", "run_timeout", "timeout")
        assert 1000 <= job["duration_ms"] < 5000
        assert job["current_step"] == "think"


class TestValuesThatCannotBeStored:
    async def test_fail_the_step_that_gave_too_much_and_name_the_limit(self, server: Server) -> None:
        job = await run(server, ask("think", f"[[say:{'x' * MAX_OUTPUT_BYTES}]][[tokens:120:30]]"), say("after", "no"))

        error = job["error"]
        assert (job["status"], error["type"], error["step_id"]) == ("failed", "value_not_storable", "think")
        size = f"{error['details']['bytes']:,} bytes as JSON; at most {MAX_OUTPUT_BYTES:,}"
        for part in ('step "think"', size, "MAX_STEP_OUTPUT_BYTES"):
            assert part in error["message"]
        assert job["cost_data"]["total_tokens"] == 150  # paid is paid

    async def test_of_five_megabytes_fail_the_step_with_the_default_limit(
        self, database_url: str, tmp_path: Path
    ) -> None:
        async with running_app(database_url, tmp_path) as server:
            server.files.write(workflow("bloat", [say("grow", "${input.text}" * 8)]))
            job = await server.ended(await server.submit("bloat", {"text": "x" * 655_360}))
            after = await server.ended(await server.submit("bloat", {"text": "x"}))

        assert (job["status"], job["error"]["type"], job["error"]["step_id"]) == (
            "failed",
            "value_not_storable",
            "grow",
        )
        for part in ('step "grow"', "4,194,304", "MAX_STEP_OUTPUT_BYTES"):
            assert part in job["error"]["message"]
        assert after["status"] == "completed"

    @pytest.mark.parametrize(
        "answer",
        ['{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": 9223372036854775808}'],
        ids=["NUL", "surrogate", "65 bit"],
    )
    async def test_in_an_answer_fail_its_step_alone(self, server: Server, answer: str) -> None:
        asked = ask("think", f"[[json:{answer}]]", error_mode="continue")
        asked["config"]["output_schema"] = {"type": "object"}

        job = await run(server, asked, say("after", "fine"))

        steps = (await server.client.get(f"{API}/jobs/{job['job_id']}/steps")).json()["items"]
        assert job["status"] == "completed"
        assert [(step["step_id"], step["status"]) for step in steps] == [
            ("think", "continued"),
            ("after", "succeeded"),
        ]
        assert steps[0]["error"]["category"] in {"workflow", "provider"}


class TestOutputs:
    async def test_may_be_larger_than_what_one_step_may_give(self, server: Server) -> None:
        parts = [say(f"p{n}", "x" * 15_000) for n in range(3)]
        outputs = {f"o{n}": f"${{steps.p{n}.output}}" for n in range(3)}

        job = await run(server, *parts, outputs=outputs)

        assert job["status"] == "completed"
        assert {len(job["result"][name]) for name in outputs} == {15_000}
