"""Runs in memory: what watchers see, what is recorded, and that what is recorded plays as it ran."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import pytest
from pydantic import BaseModel

from callboard.core.json_values import JsonValue
from callboard.core.playback import Match, Playback, answers_of
from callboard.core.pricing import Cost
from callboard.core.recording import Recorder, Tape
from callboard.core.replay import read_recording
from callboard.integrations.errors import ServiceUnavailableError
from callboard.integrations.port import ServiceResult
from callboard.integrations.recording import RecordingService
from callboard.integrations.registry import ServiceRegistry
from callboard.llm.client import LLMClient
from callboard.llm.errors import LLMError, ProviderAuthError, ProviderServerError
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse, Usage
from callboard.llm.pricing import ModelPrices
from callboard.llm.recording import RecordingClient
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.local_runs import LocalResult, LocalRun, NoObserver, recording_of
from callboard.workflows.steps.base import StepRecord, UsageRecord
from callboard.workflows.steps.conditional import ConditionalStep
from callboard.workflows.steps.external_api import ExternalApiStep
from callboard.workflows.steps.llm import LLMStep
from callboard.workflows.steps.parallel import ParallelStep
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.scripted_steps import compile_steps, echo

ONE_CENT = Cost(usd=Decimal("0.01"), source="list-price")
SECRET = "s3cr3t-token"
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


class Model:
    """A provider that answers its script in order, and the last entry from then on; None: an answer never comes."""

    def __init__(self, name: str, *script: str | LLMError | None) -> None:
        self.name = name
        self.keeps_waiting = asyncio.Event()
        self._script = list(script)

    async def generate(self, request: LLMRequest) -> LLMResponse:
        outcome = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(outcome, LLMError):
            raise outcome
        if outcome is None:
            self.keeps_waiting.set()
            await asyncio.Event().wait()
        return LLMResponse(
            content=str(outcome),
            model=request.model,
            provider=self.name,
            usage=Usage(input_tokens=3, output_tokens=2),
            cost=ONE_CENT,
            duration_ms=7,
            finish_reason="stop",
        )

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        response = await self.generate(request)
        yield LLMChunk(text=response.content)
        yield LLMChunk(response=response)

    async def close(self) -> None:
        """Nothing is held here."""


class LookUp(BaseModel):
    """What the service takes."""

    word: str
    token: str = ""


class Dictionary:
    """A service that explains words: "away" is a bad day, and "times" counts the calls."""

    name = provider = "dictionary"
    methods: Mapping[str, type[BaseModel]] = {"look_up": LookUp}

    def __init__(self) -> None:
        self.times = 0

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        self.times += 1
        if parameters["word"] == "away":
            raise ServiceUnavailableError(f"away, asked with {parameters.get('token')}")
        data = {"word": parameters["word"], "times": self.times, "sent": parameters.get("token")}
        return ServiceResult(data=data, status_code=200, units=1, cost=ONE_CENT, duration_ms=3)

    async def close(self) -> None:
        """Nothing is held here."""


class World:
    """Models and a service, and the runs that they answer. A world without models answers no call."""

    def __init__(self, *models: Model) -> None:
        self.dictionary = Dictionary()
        self._registry = StepRegistry(
            [
                LLMStep(RecordingClient(LLMClient(models), ModelPrices())),
                ExternalApiStep(ServiceRegistry([RecordingService(self.dictionary)])),
                ParallelStep(),
                ConditionalStep(),
            ]
        )

    def compile(self, *steps: Mapping[str, Any], **top_level: Any) -> CompiledWorkflow:
        definition = {"name": "test", "steps": list(steps), **top_level}
        defaults = {"provider": "one", "model": "m"}
        return compile_workflow(Bundle(definition=definition, defaults=defaults), self._registry)


async def record(
    workflow: CompiledWorkflow, input_data: JsonValue = None, *, secrets: Mapping[str, str] | None = None
) -> tuple[LocalResult, dict[str, Any]]:
    """Return how the run ended, and its recording."""
    recorder = Recorder()
    run = LocalRun(workflow, tape=Tape(recorder=recorder), secrets=secrets)
    result = await run.perform({} if input_data is None else input_data)
    recording = recording_of(run, recorder, workflow="test", defaults={}, origin="a test", keys={"key-12345678"})
    return result, recording


def playback(recording: Mapping[str, Any], tmp_path: Any, *, match: Match = "request") -> Playback:
    path = tmp_path / "test.replay.json"
    path.write_text(json.dumps(recording), "utf-8")
    return Playback(answers_of(read_recording(path).answers), match=match, way_out=lambda step: f"Record {step} anew.")


async def play(
    workflow: CompiledWorkflow, recording: Mapping[str, Any], tmp_path: Any, input_data: JsonValue = None
) -> tuple[LocalResult, LocalRun]:
    run = LocalRun(workflow, tape=Tape(playback=playback(recording, tmp_path)))
    return await run.perform({} if input_data is None else input_data), run


def ask(step_id: str, prompt: str = "Hi", *, step: Mapping[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "llm", "config": {"prompt_text": prompt, **config}, **(step or {})}


def look_up(step_id: str, word: str, *, step: Mapping[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    config = {"service": "dictionary", "method": "look_up", "parameters": {"word": word, **parameters}}
    return {"id": step_id, "type": "external_api", "config": config, **(step or {})}


def quickly(attempts: int) -> dict[str, Any]:
    return {"retry": {"max_attempts": attempts, "delay_seconds": 0.001, "jitter": False}}


LOOP = {"for_each": ["x", "x", "x"], "max_concurrency": 1, "steps": [ask("a")]}
# name -> (models with what they answer, steps, outputs): everything that a recording must play as it ran
Script: TypeAlias = tuple[str | LLMError, ...]
RUNS: dict[str, tuple[Sequence[Script], Sequence[dict[str, Any]], JsonValue]] = {
    "one call": ([("one", "Hello")], [ask("a")], "${steps.a.content}"),
    "streamed": ([("one", "Hello")], [ask("a", stream=True)], "${steps.a.content}"),
    "the same request twice": (
        [("one", "first", "second")],
        [ask("a"), ask("b")],
        ["${steps.a.content}", "${steps.b.content}"],
    ),
    "a loop over equal items": (
        [("one", "1", "2", "3")],
        [{"id": "each", "type": "parallel", "config": LOOP}],
        "${steps.each.output[*].content}",
    ),
    "a re-ask": ([("one", "no JSON", '{"n": 1}')], [ask("a", output_schema=SCHEMA)], "${steps.a.parsed}"),
    "a retry": (
        [("one", ProviderServerError("down"), "up")],
        [ask("a", step=quickly(2))],
        "${steps.a.content}",
    ),
    "a fallback": (
        [("one", ProviderAuthError("no")), ("two", "yes")],
        [ask("a", fallbacks=[{"provider": "two", "model": "m2"}])],
        ["${steps.a.content}", "${steps.a.model}"],
    ),
    "a failure that is passed over": (
        [("one", "unused")],
        [look_up("a", "away", step={"error_mode": "continue", **quickly(2)}), look_up("b", "x")],
        ["${steps.a.error.type}", "${steps.b.data.times}"],
    ),
    "a failure that ends the run": ([("one", ProviderAuthError("no"))], [ask("a")], None),
}


class TestRecordings:
    @pytest.mark.parametrize("name", RUNS)
    async def test_play_as_the_run_went(self, name: str, tmp_path: Any) -> None:
        scripts, steps, outputs = RUNS[name]
        models = [Model(str(provider), *script) for provider, *script in scripts]
        result, recording = await record(World(*models).compile(*steps, outputs={"out": outputs}))
        nobody = World()

        played, run = await play(nobody.compile(*steps, outputs={"out": outputs}), recording, tmp_path)

        assert (played.status, played.outputs, played.error) == (result.status, result.outputs, result.error)
        assert nobody.dictionary.times == 0
        assert {usage.provider for _, usage in run.usage} <= {"replay"}

    async def test_keep_what_each_call_cost(self, tmp_path: Any) -> None:
        steps = [ask("a"), look_up("b", "x")]
        _, recording = await record(World(Model("one", "Hello")).compile(*steps))

        _, run = await play(World().compile(*steps), recording, tmp_path)

        assert [usage.cost_usd for _, usage in run.usage] == [Decimal("0.01"), Decimal("0.01")]

    async def test_hold_no_secret_and_play_without_it(self, tmp_path: Any) -> None:
        steps = [look_up("a", "${input.w}", token="Bearer ${secrets.T}"), look_up("b", "key-12345678")]
        failing = {"w": "away"}
        _, recording = await record(World().compile(*steps), {"w": "x"}, secrets={"T": SECRET})
        _, failed = await record(World().compile(*steps), failing, secrets={"T": SECRET})

        played, _ = await play(World().compile(*steps[:1]), recording, tmp_path, {"w": "x"})

        for text in (json.dumps(recording), json.dumps(failed)):
            assert SECRET not in text
            assert "key-12345678" not in text
        assert played.outputs["data"]["sent"] == "Bearer [secret]"

    async def test_are_no_answer_to_another_request(self, tmp_path: Any) -> None:
        _, recording = await record(World(Model("one", "Hello")).compile(ask("a", "Hi ${input.n}")), {"n": "Ada"})

        played, _ = await play(World().compile(ask("a", "Hi ${input.n}")), recording, tmp_path, {"n": "Bob"})

        assert played.error is not None
        assert (played.error["type"], played.error["step_id"]) == ("replay_miss", "a")
        for said in ("a#1", "/messages/0/content", "Hi Ada", "Hi Bob", "Record a anew."):
            assert said in played.error["message"]

    async def test_are_where_they_were_when_a_run_is_stopped(self) -> None:
        recorder, model = Recorder(), Model("one", "Hello", None)
        run = LocalRun(World(model).compile(ask("a"), ask("b")), tape=Tape(recorder=recorder))

        performing = asyncio.create_task(run.perform({}))
        await model.keeps_waiting.wait()
        performing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await performing

        assert [answer["step"] for answer in recorder.answers] == ["a#1"]
        assert [call for call, _ in run.usage] == ["a#1"]


class TestPerform:
    async def test_ends_a_run_that_takes_too_long(self) -> None:
        workflow = World(Model("one", None)).compile(ask("a"), timeout_seconds=600)

        result = await LocalRun(workflow, timeout_seconds=0.01).perform({})

        assert result.error is not None
        assert (result.status, result.error["type"]) == ("failed", "run_timeout")
        assert "0.01 seconds" in result.error["message"]

    async def test_names_the_secret_that_is_missing(self) -> None:
        result = await LocalRun(World().compile(look_up("a", "x", token="${secrets.T}"))).perform({})

        assert result.error is not None
        assert "'T'" in result.error["message"]

    async def test_gives_steps_the_reserved_names(self) -> None:
        workflow = compile_steps([echo("a", "${context.workflow} ${context.started_at}")])

        result = await LocalRun(workflow, started_at="2026-01-01T00:00:00Z").perform({})

        assert result.outputs == {"value": "test 2026-01-01T00:00:00Z"}


class Watcher(NoObserver):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def step_started(self, path: str, step_type: str) -> None:
        self.told.append(("started", path, step_type))

    def step_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        self.told.append(("retrying", path, str(attempt), error["type"]))

    def step_ended(self, record: StepRecord) -> None:
        self.told.append(("ended", record.path, record.outcome))

    def text_came(self, path: str, text: str) -> None:
        self.told.append(("text", path, text))

    def call_ended(self, call: str, usage: UsageRecord) -> None:
        self.told.append(("call", call, usage.provider))


class TestRunObserver:
    async def test_is_told_everything_in_order(self) -> None:
        watcher, model = Watcher(), Model("one", ProviderServerError("down"), "Hello")
        workflow = World(model).compile(ask("a", stream=True, step=quickly(2)))

        await LocalRun(workflow, observer=watcher).perform({})

        assert watcher.told == [
            ("started", "a", "llm"),
            ("retrying", "a", "2", "provider_server_error"),
            ("text", "a", "Hello"),
            ("call", "a#1", "one"),
            ("ended", "a", "succeeded"),
        ]

    async def test_is_told_nothing_of_the_choice_of_a_container(self) -> None:
        watcher = Watcher()
        choice = {"id": "c", "type": "conditional", "config": {"condition": "true", "if_true": [look_up("a", "x")]}}

        run = LocalRun(World().compile(choice), observer=watcher)
        await run.perform({})

        assert [told[1] for told in watcher.told if told[0] == "ended"] == ["c/if_true/a", "c"]
        assert list(run.records) == ["c/if_true/a", "c"]
