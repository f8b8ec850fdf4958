"""Where transforms run: small ones at once, what could hold the loop in a thread, and no longer than anybody waits."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from callboard.core.json_values import JsonValue
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import RunFailedError
from callboard.workflows.flows import Flows
from callboard.workflows.memory import MemoryCheckpointer
from callboard.workflows.references import Scope, StepView
from callboard.workflows.steps.base import Children, StepBody, StepExecution, StepSequence
from callboard.workflows.steps.registry import StepRegistry
from callboard.workflows.steps.transform import TransformStep
from callboard.workflows.transforms.allowance import TransformStoppedError
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.registry import TransformRegistry
from tests.fixtures.loop_lag import MAX_LAG_SECONDS, watched_loop
from tests.fixtures.machine_speed import slowness
from tests.fixtures.scripted_steps import run_workflow
from tests.fixtures.transform_steps import compile_transform, make_step

LONG = 100_000


class NoConfig(BaseModel):
    pass


class WhereItRuns(Transform):
    """Gives the name of the thread it runs in."""

    operation = "where"
    config_model = NoConfig

    def apply(self, value: JsonValue, config: Any, tools: TransformTools) -> JsonValue:
        return threading.current_thread().name


class WhereItAlwaysRuns(WhereItRuns):
    operation = "where_always"
    runs_in_thread: ClassVar[bool] = True


class Endless(Transform):
    """Works until it is stopped, and tells when it began and why it ended."""

    operation = "endless"
    config_model = NoConfig
    runs_in_thread: ClassVar[bool] = True

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()

    def apply(self, value: JsonValue, config: Any, tools: TransformTools) -> JsonValue:
        self.began.set()
        try:
            for _ in tools.allowance.watch(iter(int, 1)):
                time.sleep(0)
        except TransformStoppedError:
            self.ended.set()
            raise
        return None


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2, thread_name_prefix="pool") as pool:
        yield pool


async def run(
    step: TransformStep, value: JsonValue, operation: str, *, path: str = "input.value", **more: Any
) -> JsonValue:
    raw = {"id": "t", "type": "transform", "config": {"operation": operation, "input": f"${{{path}}}"}, **more}
    workflow = compile_workflow(Bundle(definition={"name": "test", "steps": [raw]}), StepRegistry([step]))
    outputs = await run_workflow(workflow, input_data={"value": value})
    return outputs["value"]


class TestThreads:
    @pytest.mark.parametrize(
        ("value", "operation", "path", "thread"),
        [
            pytest.param([1, 2, 3], "where", "input.value", "MainThread", id="small"),
            pytest.param(
                [1, 2, 3], "where_always", "input.value", "pool", id="small, of an operation that may take long"
            ),
            pytest.param(list(range(1_000)), "where", "input.value", "pool", id="many items"),
            pytest.param({"a": {"b": "x" * 1_000}}, "where", "input.value", "pool", id="long text"),
            pytest.param([{"a": 1}], "where", "input.value[*].a", "pool", id="of unknown length"),
        ],
    )
    async def test_are_taken_for_what_may_hold_the_loop(
        self, value: JsonValue, operation: str, path: str, thread: str, threads: ThreadPoolExecutor
    ) -> None:
        step = TransformStep(TransformRegistry([WhereItRuns(), WhereItAlwaysRuns()]), threads)

        assert (await run(step, value, operation, path=path)).startswith(thread)

    async def test_end_when_the_step_took_too_long(self, threads: ThreadPoolExecutor) -> None:
        endless = Endless()
        step = TransformStep(TransformRegistry([endless]), threads)

        with pytest.raises(RunFailedError, match=r"took longer than 0.05 s \(timeout_seconds\)") as failed:
            await run(step, 1, "endless", timeout_seconds=0.05)

        assert failed.value.error["type"] == "step_timeout"
        assert failed.value.error["retryable"] is True
        assert endless.ended.wait(10)

    async def test_end_when_the_run_is_cancelled(self, threads: ThreadPoolExecutor) -> None:
        endless = Endless()
        task = asyncio.create_task(run(TransformStep(TransformRegistry([endless]), threads), 1, "endless"))
        assert await asyncio.to_thread(endless.began.wait, 10)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert endless.ended.wait(10)

    async def test_refuse_a_result_that_could_not_be_stored(self, threads: ThreadPoolExecutor) -> None:
        step = make_step(executor=threads, max_output_bytes=1_000)

        with pytest.raises(RunFailedError, match="over 1,000 characters as JSON"):
            await run(step, [f"text {number}" for number in range(LONG)], "unique")


def body_of(step: TransformStep, operation: str, config: dict[str, Any]) -> StepBody:
    return compile_transform(operation, config, step=step, input="${input.value}").steps[0].body


class NoChildren(Children):
    """Of a step that is no container."""

    async def choose(self, decide: Callable[[], str]) -> str:
        raise NotImplementedError

    async def run(self, sequence: StepSequence) -> Sequence[StepView]:
        raise NotImplementedError

    async def run_item(
        self, sequence: StepSequence, index: int, *, names: Mapping[str, JsonValue]
    ) -> Sequence[StepView]:
        raise NotImplementedError

    async def run_apart(
        self, sequence: StepSequence, *, input_data: JsonValue, context: Mapping[str, JsonValue]
    ) -> tuple[Scope, Sequence[StepView]]:
        raise NotImplementedError


def execution_of(value: JsonValue) -> StepExecution:
    """Return one attempt by itself: the engine would write the large result down on the loop."""
    return StepExecution(
        step_id="t",
        path="t",
        scope=Scope(input={"value": value}),
        context=MemoryCheckpointer().context_for("t"),
        timeout_seconds=60,
        children=NoChildren(),
        flows=Flows(on_idle=lambda: None),
    )


TEXTS = [f"text {(number * 7_919) % LONG}" for number in range(LONG)]
ROWS = [{"n": number % 1_000, "text": text, "more": {"id": number}} for number, text in enumerate(TEXTS)]
HOSTILE_TEXT = "a" * 60 + "!"


class TestLag:
    @pytest.mark.parametrize(
        ("operation", "config", "value"),
        [
            pytest.param("sort", {"key": "text"}, ROWS, id="sort by key"),
            pytest.param("sort", {"reverse": True}, TEXTS, id="sort texts"),
            pytest.param("unique", {}, ROWS, id="unique"),
            pytest.param("join", {}, ROWS, id="join"),
            pytest.param(
                "extract_fields", {"fields": {"a": "$[?@.n > 500].text", "b": "$..id"}}, ROWS, id="extract_fields"
            ),
            pytest.param("template", {"template": "${n}: ${text}"}, ROWS, id="template"),
            pytest.param("merge", {"strategy": "deep"}, ROWS, id="merge"),
            pytest.param("regex_extract", {"pattern": r"\d+$"}, TEXTS, id="regex_extract"),
            pytest.param(
                "regex_extract",
                {"pattern": r"\d+", "all_matches": True},
                " ".join(TEXTS)[:1_000_000],
                id="regex_extract of a long text",
            ),
            pytest.param("filter", {"condition": "item.n > 500 && item.text != 'x'"}, ROWS[:10_000], id="filter"),
            pytest.param(
                "filter",
                {"condition": "item.filter(n, n > 5).size() > 3"},
                [list(range(500))] * 100,
                id="filter with a macro at its limit",
            ),
            pytest.param("map", {"expression": "{'n': item.n * 2}"}, ROWS[:10_000], id="map"),
            pytest.param("map", {"fields": {"n": "n", "id": "more.id"}}, ROWS[:10_000], id="map to fields"),
        ],
    )
    async def test_stays_small_beside_much_work(
        self, operation: str, config: dict[str, Any], value: JsonValue, threads: ThreadPoolExecutor
    ) -> None:
        body = body_of(make_step(executor=threads), operation, config)

        async with watched_loop() as lags:
            await body.run(execution_of(value))

        assert max(lags) < MAX_LAG_SECONDS * slowness()

    @pytest.mark.parametrize(
        ("operation", "config", "value"),
        [
            pytest.param("regex_extract", {"pattern": "(a|a)+$"}, HOSTILE_TEXT, id="pattern"),
            pytest.param("regex_extract", {"pattern": "(a|a)+$", "all_matches": True}, HOSTILE_TEXT, id="all matches"),
            pytest.param(
                "extract_fields",
                {"fields": {"a": "$..[?search(@.a, '(a|a)+$')]"}},
                [{"a": HOSTILE_TEXT}] * 100,
                id="pattern in a query",
            ),
        ],
    )
    async def test_stays_small_beside_a_hostile_pattern(
        self, operation: str, config: dict[str, Any], value: JsonValue, threads: ThreadPoolExecutor
    ) -> None:
        body = body_of(make_step(executor=threads), operation, config)

        async with watched_loop() as lags:
            with pytest.raises(TransformError, match="given up after 1 s"):
                await body.run(execution_of(value))

        assert max(lags) < MAX_LAG_SECONDS * slowness()
