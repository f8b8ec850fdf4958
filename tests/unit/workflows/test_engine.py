"""The engine: order, error modes, retries, what is journaled, and what a replay sees."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from callboard.core.errors import PermanentError, TemporaryError
from callboard.core.json_values import JsonValue
from callboard.workflows.engine import Engine
from callboard.workflows.errors import RunFailedError
from callboard.workflows.memory import MemoryCheckpointer, MemoryStepContext
from callboard.workflows.steps.base import Progress, RunSuspended, StepOutcome, StepRecord
from tests.fixtures.scripted_steps import (
    WatchedCheckpointer,
    World,
    call,
    compile_steps,
    echo,
    run_workflow,
    subrun,
)

BROKEN = PermanentError("it is broken", details={"why": "wear"})
BUSY = TemporaryError("it is busy")
ALWAYS = [BROKEN]

RETRY_TWICE = {"max_attempts": 3, "delay_seconds": 1, "backoff_multiplier": 2}


class EarlierAttemptsOnly(WatchedCheckpointer):
    """A journal that gives back only what was there when the attempt began, as the contract says."""

    def find(self, path: str) -> None:
        return None


class TestOrder:
    async def test_runs_steps_one_after_the_other(self) -> None:
        workflow = compile_steps([echo("a", 1), echo("b", ["${steps.a.output}", 2]), echo("c", "${steps.b.output}")])

        outputs = await run_workflow(workflow)

        assert outputs == {"value": [1, 2]}

    async def test_makes_a_step_durable_before_the_next_one_starts(self) -> None:
        world = World()
        journal = WatchedCheckpointer(stop_at_save=1)

        with pytest.raises(RunSuspended):
            await run_workflow(compile_steps([call("a"), call("b")], world), journal)

        assert world.begun == ["a"]

    async def test_later_steps_see_what_the_journal_will_give_back(self) -> None:
        workflow = compile_steps([echo("a", {"pair": (1, 2)}), echo("b", "${steps.a.pair}")])

        outputs = await run_workflow(workflow)

        assert outputs == {"value": [1, 2]}  # JSON has no tuples

    async def test_tells_progress_in_top_level_steps(self) -> None:
        journal = WatchedCheckpointer()
        steps = [echo("a"), {"id": "p", "type": "parallel", "branches": {"x": [echo("b")]}}]

        await run_workflow(compile_steps(steps), journal)

        assert journal.started == [
            ("a", Progress(steps_completed=0, current_step="a")),
            ("p", Progress(steps_completed=1, current_step="p")),
            ("p/x/b", None),
        ]
        assert [record.progress for record in journal.saved] == [
            Progress(steps_completed=1, current_step="p"),
            None,
            Progress(steps_completed=2, current_step=None),
        ]


class TestOutputs:
    @pytest.mark.parametrize(
        ("last", "expected"),
        [({"a": 1}, {"a": 1}), ([1], {"value": [1]}), (None, {"value": None}), ("text", {"value": "text"})],
        ids=["object", "list", "null", "text"],
    )
    async def test_are_the_last_steps_output(self, last: JsonValue, expected: JsonValue) -> None:
        assert await run_workflow(compile_steps([echo("a", last)])) == expected

    async def test_are_rendered_when_the_file_has_some(self) -> None:
        workflow = compile_steps([echo("a", 1)], outputs={"n": "${steps.a.output}", "job": "${context.job_id}"})

        assert await run_workflow(workflow) == {"n": 1, "job": "j1"}

    async def test_that_is_no_object_goes_under_value(self) -> None:
        assert await run_workflow(compile_steps([echo("a", 1)], outputs="${steps.a.output}")) == {"value": 1}

    async def test_that_leads_to_nothing_fails_the_run(self) -> None:
        workflow = compile_steps([echo("a", {"cost": 1})], outputs={"n": "${steps.a.cots}"})

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(workflow)

        assert failed.value.error["step_id"] is None
        assert failed.value.error["type"] == "unresolved_reference"
        assert '"cost"' in failed.value.error["message"]

    async def test_an_absent_input_has_the_default_of_its_schema(self) -> None:
        schema = {"properties": {"tone": {"default": "kind"}, "size": {"default": 1}}}
        workflow = compile_steps([echo("a", "${input.tone} ${input.size}")], input_schema=schema)

        assert await run_workflow(workflow, input_data={"size": 2}) == {"value": "kind 2"}


class TestWhen:
    async def test_skips_the_step_and_all_below_it_is_null(self) -> None:
        journal = WatchedCheckpointer()
        world = World()
        steps = [call("a", 1, when="input.wanted"), echo("b", ["${steps.a.x.y}", "${steps.a.skipped}"])]

        outputs = await run_workflow(compile_steps(steps, world), journal, input_data={"wanted": False})

        assert outputs == {"value": [None, True]}
        assert journal.records["a"].outcome is StepOutcome.SKIPPED
        assert not world.begun

    async def test_that_cannot_be_evaluated_is_a_failure_of_the_step(self) -> None:
        steps = [call("a", 1, when="input.n > 1", error_mode="continue"), echo("b", "${steps.a.error.type}")]

        assert await run_workflow(compile_steps(steps), input_data={}) == {"value": "condition_failed"}


class TestErrorModes:
    async def test_fail_ends_the_run_with_the_error(self) -> None:
        journal = WatchedCheckpointer()
        world = World({"a": ALWAYS})

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_steps([call("a"), call("b")], world), journal)

        assert failed.value.error == {
            "type": "step_failed",
            "category": "internal",
            "message": 'Workflow "test", step "a": it is broken',
            "retryable": False,
            "step_id": "a",
            "details": {"why": "wear"},
        }
        assert journal.records["a"].outcome is StepOutcome.FAILED
        assert journal.records["a"].progress is None
        assert world.begun == ["a"]

    async def test_a_failed_step_is_run_again_by_the_next_attempt(self) -> None:
        world = World({"a": [BROKEN, None]})
        workflow = compile_steps([call("a", 1)], world)
        journal = WatchedCheckpointer()
        with pytest.raises(RunFailedError):
            await run_workflow(workflow, journal)

        outputs = await run_workflow(workflow, WatchedCheckpointer(journal))

        assert outputs == {"value": 1}

    async def test_continue_goes_on_with_null_and_tells_the_error(self) -> None:
        journal = WatchedCheckpointer()
        steps = [
            call("a", error_mode="continue", outputs=["plan"]),
            echo("b", ["${steps.a.output}", "${steps.a.plan.x}", "${steps.a.success}", "${steps.a.error.details.why}"]),
        ]

        outputs = await run_workflow(compile_steps(steps, World({"a": ALWAYS})), journal)

        assert outputs == {"value": [None, None, False, "wear"]}
        assert journal.records["a"].outcome is StepOutcome.CONTINUED

    async def test_default_goes_on_with_the_default_value(self) -> None:
        journal = WatchedCheckpointer()
        steps = [
            call("a", error_mode="default", default_value={"n": "${input.n}"}, outputs=["plan"]),
            echo("b", ["${steps.a.n}", "${steps.a.plan.n}", "${steps.a.success}", "${steps.a.error.type}"]),
        ]

        outputs = await run_workflow(compile_steps(steps, World({"a": ALWAYS})), journal, input_data={"n": 7})

        assert outputs == {"value": [7, 7, False, "step_failed"]}
        assert journal.records["a"].output_json == '{"n":7}'

    async def test_retry_is_the_default_policy_and_then_fail(self) -> None:
        journal = WatchedCheckpointer()

        with pytest.raises(RunFailedError):
            await run_workflow(compile_steps([call("a", error_mode="retry")], World({"a": [BUSY]})), journal)

        assert journal.records["a"].attempts == 3

    async def test_the_files_default_holds_for_every_step(self) -> None:
        steps = [call("a"), echo("b", "${steps.a.error.type}")]

        outputs = await run_workflow(compile_steps(steps, World({"a": ALWAYS}), default_error_mode="continue"))

        assert outputs == {"value": "step_failed"}

    @pytest.mark.parametrize(
        "value",
        ["a\x00b", "\ud800", float("nan"), 2**70, "x" * 5_000_000],
        ids=["nul", "surrogate", "nan", "big int", "5 MB"],
    )
    async def test_an_output_that_cannot_be_stored_is_a_failure_of_the_step(self, value: JsonValue) -> None:
        journal = WatchedCheckpointer()
        steps = [echo("a", "${input.v}", error_mode="continue"), echo("b", "${steps.a.error.type}")]

        outputs = await run_workflow(compile_steps(steps), journal, input_data={"v": value})

        assert outputs == {"value": "value_not_storable"}
        assert journal.records["a"].outcome is StepOutcome.CONTINUED

    async def test_an_error_that_cannot_be_stored_is_made_storable(self) -> None:
        error = PermanentError("half\x00done \ud800", details={"n": float("inf")})
        steps = [call("a", error_mode="continue"), echo("b", "${steps.a.error}")]

        outputs = await run_workflow(compile_steps(steps, World({"a": [error]})))

        assert outputs["message"].endswith("half\N{REPLACEMENT CHARACTER}done ?")
        assert outputs["details"] == {}


class TestRetry:
    async def test_tries_a_temporary_error_again_with_growing_delays(self) -> None:
        journal = WatchedCheckpointer()
        world = World({"a": [BUSY, BUSY, None]})

        outputs = await run_workflow(compile_steps([call("a", 5, retry=RETRY_TWICE)], world), journal)

        assert outputs == {"value": 5}
        assert journal.slept == pytest.approx([1, 2], abs=0.01)  # 1 s, then 1 s x 2
        assert [(path, attempt) for path, attempt, _ in journal.retries] == [("a", 2), ("a", 3)]
        assert journal.records["a"].attempts == 3

    async def test_never_tries_a_permanent_error_again(self) -> None:
        journal = WatchedCheckpointer()

        with pytest.raises(RunFailedError):
            await run_workflow(compile_steps([call("a", retry=RETRY_TWICE)], World({"a": ALWAYS})), journal)

        assert not journal.slept

    async def test_waits_as_long_as_the_provider_asks(self) -> None:
        journal = WatchedCheckpointer()
        world = World({"a": [TemporaryError(retry_after_seconds=42), TemporaryError(retry_after_seconds=0.1), None]})

        await run_workflow(compile_steps([call("a", retry=RETRY_TWICE)], world), journal)

        assert journal.slept == pytest.approx([42, 2], abs=0.01)  # the larger of the two

    async def test_the_error_mode_acts_when_retries_are_used_up(self) -> None:
        journal = WatchedCheckpointer()
        steps = [call("a", retry=RETRY_TWICE, error_mode="continue"), echo("b", "${steps.a.error.retryable}")]

        outputs = await run_workflow(compile_steps(steps, World({"a": [BUSY]})), journal)

        assert outputs == {"value": True}
        assert len(journal.slept) == 2

    async def test_a_suspended_run_leaves_the_back_off(self) -> None:
        class Stopping(WatchedCheckpointer):
            async def back_off(self, path: str, *, seconds: float, attempts: int) -> None:
                raise RunSuspended

        steps = [call("a", retry=RETRY_TWICE, error_mode="continue")]

        with pytest.raises(RunSuspended):
            await run_workflow(compile_steps(steps, World({"a": [BUSY]})), Stopping())

    async def test_of_a_container_waits_as_long_as_the_provider_asks(self) -> None:
        journal = WatchedCheckpointer()
        world = World({"a": [TemporaryError(retry_after_seconds=42), None]})
        steps = [{"id": "p", "type": "parallel", "retry": RETRY_TWICE, "steps": [call("a")]}]

        await run_workflow(compile_steps(steps, world), journal)

        assert journal.slept == [42]

    async def test_begins_nothing_when_the_worker_stops_meanwhile(self) -> None:
        class Stopping(WatchedCheckpointer):
            async def back_off(self, path: str, *, seconds: float, attempts: int) -> None:
                self.is_stopping = True

        journal, attempts = Stopping(), list[str]()

        def context_for(path: str) -> MemoryStepContext:
            attempts.append(path)
            return journal.context_for(path)

        with pytest.raises(RunSuspended):
            await Engine().run(
                compile_steps([call("a", retry=RETRY_TWICE)], World({"a": [BUSY]})),
                input_data={},
                context={},
                checkpointer=journal,
                context_for=context_for,
            )
        assert attempts == ["a"]

    async def test_of_a_container_knows_what_this_attempt_did(self) -> None:
        journal = EarlierAttemptsOnly()
        world = World({"b": [BUSY, None]}, slow={"b": 9})
        steps = [{"id": "p", "type": "parallel", "retry": RETRY_TWICE, "steps": [call("a", 1), call("b", 2)]}]

        await run_workflow(compile_steps(steps, world), journal)

        saved = [(record.path, record.outcome) for record in journal.saved]
        assert saved == [
            ("p/a", StepOutcome.SUCCEEDED),
            ("p/b", StepOutcome.FAILED),
            ("p/b", StepOutcome.SUCCEEDED),
            ("p", StepOutcome.SUCCEEDED),
        ]

    async def test_of_a_container_reruns_a_child_whose_row_was_refused(self) -> None:
        class RefusingOnce(EarlierAttemptsOnly):
            has_refused = False

            async def save(self, record: StepRecord) -> None:
                if record.path == "p/a" and not self.has_refused:
                    self.has_refused = True
                    raise TemporaryError("no room")
                await super().save(record)

        journal = RefusingOnce()
        steps = [{"id": "p", "type": "parallel", "retry": RETRY_TWICE, "steps": [call("a", 1)]}]

        assert await run_workflow(compile_steps(steps), journal) == {"a": 1}
        assert [record.outcome for record in journal.saved if record.path == "p/a"] == [
            StepOutcome.FAILED,
            StepOutcome.SUCCEEDED,
        ]

    async def test_of_a_container_reruns_only_children_that_are_not_done(self) -> None:
        world = World({"b": [BUSY, None]}, slow={"b": 9})
        steps = [{"id": "p", "type": "parallel", "retry": RETRY_TWICE, "steps": [call("a", 1), call("b", 2)]}]

        outputs = await run_workflow(compile_steps(steps, world))

        assert outputs == {"a": 1, "b": 2}
        assert world.begun == ["p/a", "p/b", "p/b"]

    async def test_of_a_loop_reruns_only_items_that_are_not_done(self) -> None:
        world = World({"b": [None, BUSY, None]})
        loop = {"id": "each", "type": "parallel", "retry": RETRY_TWICE, "for_each": [1, 2, 3], "max_concurrency": 1}
        steps = [{**loop, "steps": [call("a", "${item}"), call("b", "${steps.a.output}")]}]

        outputs = await run_workflow(compile_steps(steps, world))

        assert outputs == {"value": [1, 2, 3]}
        assert set(world.finished.values()) == {1}
        assert world.begun.count("each[1]/b") == 2

    async def test_of_a_container_stops_at_a_childs_permanent_error(self) -> None:
        world = World({"a": ALWAYS})
        steps = [{"id": "p", "type": "parallel", "retry": RETRY_TWICE, "steps": [call("a")]}]

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_steps(steps, world))

        assert world.begun == ["p/a"]
        assert failed.value.error["step_id"] == "a"
        assert "(p/a)" in failed.value.error["message"]


class TestAliases:
    async def test_name_the_whole_output(self) -> None:
        steps = [echo("a", {"x": 1}, outputs=["plan"]), echo("b", "${steps.a.plan.x}")]

        assert await run_workflow(compile_steps(steps)) == {"value": 1}

    async def test_are_there_again_after_a_replay(self) -> None:
        workflow = compile_steps([echo("a", {"x": 1}, outputs=["plan"]), echo("b", "${steps.a.plan.x}")])
        journal = WatchedCheckpointer(stop_at_save=2)
        with pytest.raises(RunSuspended):
            await run_workflow(workflow, journal)

        assert await run_workflow(workflow, WatchedCheckpointer(journal)) == {"value": 1}


class TestContainers:
    async def test_store_no_output_of_their_own(self) -> None:
        journal = WatchedCheckpointer()
        steps = [{"id": "p", "type": "parallel", "branches": {"x": [echo("a", 1)]}}]

        await run_workflow(compile_steps(steps), journal)

        assert journal.records["p"].output_json is None
        assert journal.records["p/x/a"].output_json == "1"

    async def test_a_failure_inside_goes_to_the_container(self) -> None:
        steps = [
            {"id": "p", "type": "parallel", "error_mode": "continue", "branches": {"x": [call("a"), call("b")]}},
            echo("end", ["${steps.p.output.x}", "${steps.p.error.step_id}", "${steps.a.output}", "${steps.b.x}"]),
        ]

        assert await run_workflow(compile_steps(steps, World({"a": ALWAYS}))) == {"value": [None, "a", None, None]}

    async def test_steps_of_a_skipped_container_read_as_null(self) -> None:
        steps = [
            {"id": "p", "type": "parallel", "when": False, "branches": {"x": [call("a")]}},
            echo("end", ["${steps.a.x}", "${steps.a.skipped}"]),
        ]

        assert await run_workflow(compile_steps(steps)) == {"value": [None, True]}


class TestCancel:
    async def test_passes_through_every_error_mode(self) -> None:
        steps = [call("a", error_mode="continue", retry=RETRY_TWICE), call("b")]
        world = World(slow={"a": 1000})
        run = asyncio.ensure_future(run_workflow(compile_steps(steps, world)))
        await asyncio.sleep(0.001)

        run.cancel()

        with pytest.raises(asyncio.CancelledError):
            await run
        assert world.begun == ["a"]

    async def test_reaches_every_branch(self) -> None:
        world = World(slow={"a": 100_000, "b": 100_000})
        steps = [{"id": "p", "type": "parallel", "error_mode": "continue", "steps": [call("a"), call("b")]}]
        run = asyncio.ensure_future(run_workflow(compile_steps(steps, world)))
        await asyncio.sleep(0.001)

        run.cancel()

        with pytest.raises(asyncio.CancelledError):
            await run
        assert not world.finished
        assert len(asyncio.all_tasks()) == 1


LOOP = {"id": "each", "type": "parallel", "for_each": "${steps.list.output}"}
TWO_CALLS = {"id": "twice", "type": "call", "config": {"value": "t", "calls": 2}}

# their ids are those of the steps around them: neither sees the other
WORKFLOWS: dict[str, dict[str, Any]] = {
    "pair": {
        "input_schema": {"properties": {"x": {}, "y": {"default": 7}}},
        "context": {"tone": "kind"},
        "steps": [call("a", ["${input.x}", "${input.y}"]), call("b", ["${steps.a.output}", "${context.tone}"])],
        "outputs": {"b": "${steps.b.output}"},
    },
    "around": {"steps": [subrun("inner", "pair", {"x": "${input.x}"}), call("b", "${steps.inner.b}")]},
    "careless": {"default_error_mode": "continue", "steps": [call("a", 1), call("b", "${steps.a.error.type}")]},
}

SCENARIOS: dict[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Sequence[Exception | None]]]] = {
    "sequence": ([call("a", 1), echo("b", 2), call("c", ["${steps.a.output}", "${steps.b.output}"])], {}),
    "continued and defaulted": (
        [
            call("a", error_mode="continue"),
            call("b", error_mode="default", default_value=3),
            call("c", ["${steps.a.error.message}", "${steps.b.output}", "${steps.b.error.type}"]),
        ],
        {"a": ALWAYS, "b": ALWAYS},
    ),
    "skipped": ([call("a", 1, when=False), call("b", "${steps.a.x}")], {}),
    "retries": ([call("a", 1, retry=RETRY_TWICE), call("b", 2)], {"a": [BUSY, BUSY, None]}),
    "several calls in a step": ([TWO_CALLS, call("b", "${steps.twice.output}")], {}),
    "retry between two calls of a step": ([{**TWO_CALLS, "retry": RETRY_TWICE}], {"twice": [None, BUSY, None]}),
    "conditional": (
        [
            call("a", 3),
            {
                "id": "if",
                "type": "conditional",
                "condition": "steps.a.output > 2",
                "if_true": [call("yes", 1), call("yes2", "${steps.yes.output}")],
                "if_false": [call("no")],
            },
            call("end", ["${steps.if.output}", "${steps.no.x}", "${steps.yes.output}"]),
        ],
        {},
    ),
    "cases inside cases": (
        [
            {
                "id": "outer",
                "type": "conditional",
                "cases": [
                    {"when": "false", "steps": [call("a")]},
                    {
                        "when": "true",
                        "steps": [
                            call("b", 2),
                            {
                                "id": "inner",
                                "type": "conditional",
                                "cases": [{"when": "false", "steps": [call("c")]}],
                                "default": [call("d", "${steps.b.output}")],
                            },
                        ],
                    },
                ],
            },
            call("end", ["${steps.outer.output}", "${steps.a.x}", "${steps.c.x}", "${steps.d.output}"]),
        ],
        {},
    ),
    "parallel branches": (
        [
            {
                "id": "p",
                "type": "parallel",
                "branches": {"x": [call("a", 1), call("b", "${steps.a.output}")], "y": [call("c", 3)]},
            },
            call("end", ["${steps.p.output}", "${steps.a.output}"]),
        ],
        {},
    ),
    "a branch that fails and is continued": (
        [
            {
                "id": "p",
                "type": "parallel",
                "error_mode": "continue",
                "branches": {"x": [call("a", 1)], "y": [call("c", 3), call("late")]},
            },
            call("end", ["${steps.p.x}", "${steps.a.output}", "${steps.c.output}", "${steps.late.x}"]),
        ],
        {"late": ALWAYS},
    ),
    "a container with a default": (
        [
            {
                "id": "p",
                "type": "parallel",
                "error_mode": "default",
                "default_value": {"x": 0},
                "branches": {"x": [call("a", 1), call("b", 1)]},
            },
            call("end", ["${steps.p.x}", "${steps.a.output}", "${steps.b.error.type}"]),
        ],
        {"b": ALWAYS},
    ),
    "a container inside a container that is continued": (
        [
            {
                "id": "p",
                "type": "parallel",
                "error_mode": "continue",
                "branches": {
                    "x": [
                        {"id": "if", "type": "conditional", "condition": "true", "if_true": [call("a", 1)]},
                        call("b"),
                    ]
                },
            },
            call("end", ["${steps.if.output}", "${steps.a.output}", "${steps.b.error.type}"]),
        ],
        {"b": ALWAYS},
    ),
    "loop": (
        [
            call("list", [1, 2, 3]),
            {**LOOP, "steps": [call("a", ["${item}", "${index}"]), call("b", "${steps.a.output[0]}")]},
            call("end", "${steps.each.output}"),
        ],
        {},
    ),
    "loop in a loop": (
        [
            call("list", [[1, 2], [3], []]),
            {
                **LOOP,
                "as": "row",
                "steps": [
                    {
                        "id": "cells",
                        "type": "parallel",
                        "for_each": "${row}",
                        "steps": [call("a", ["${row}", "${item}"])],
                    },
                    call("b", "${steps.cells.output}"),
                ],
            },
        ],
        {},
    ),
    "conditional in a loop": (
        [
            call("list", [1, 2, 3]),
            {
                **LOOP,
                "steps": [
                    {
                        "id": "if",
                        "type": "conditional",
                        "condition": "item == 2",
                        "if_true": [call("a", "two")],
                        "if_false": [call("b", "${item}")],
                    }
                ],
            },
        ],
        {},
    ),
    "items that fail and are continued": (
        [
            call("list", [1, 2, 3]),
            {**LOOP, "steps": [call("a", "${item}", error_mode="continue"), call("b", "${steps.a.output}")]},
        ],
        {"each[1]/a": ALWAYS},
    ),
    "retry of a container": (
        [
            call("list", [1, 2, 3]),
            {
                **LOOP,
                "retry": RETRY_TWICE,
                "max_concurrency": 1,
                "steps": [
                    {"id": "if", "type": "conditional", "condition": "true", "if_true": [call("a", "${item}")]},
                    call("b", "${steps.a.output}"),
                ],
            },
        ],
        {"b": [None, BUSY, BUSY, None]},
    ),
    "a workflow": (
        [call("a", 1), subrun("sub", "pair", {"x": "${steps.a.output}"}), call("b", ["${steps.sub}", "${steps.a}"])],
        {},
    ),
    "a workflow in a workflow, twice": (
        [subrun("one", "around", {"x": 1}), subrun("two", "around", {"x": "${steps.one}"}), call("b", "${steps.two}")],
        {},
    ),
    "a workflow in a loop": (
        [call("list", [1, 2, 3]), {**LOOP, "steps": [subrun("sub", "pair", {"x": "${item}"}), call("a", "${index}")]}],
        {},
    ),
    "a workflow that fails and is continued": (
        [
            call("a", 1),
            subrun("sub", "pair", {"x": 2}, error_mode="continue"),
            call("b", ["${steps.a.output}", "${steps.sub.b}", "${steps.sub.error.type}"]),
        ],
        {"sub/b": ALWAYS},
    ),
    "a workflow with a default": (
        [subrun("sub", "pair", {"x": 2}, error_mode="default", default_value={"b": 0}), call("b", "${steps.sub.b}")],
        {"sub/b": ALWAYS},
    ),
    "a workflow that is skipped": ([subrun("sub", "pair", {"x": 2}, when=False), call("b", "${steps.sub.b}")], {}),
    "retry of a workflow": (
        [subrun("sub", "around", {"x": 2}, retry=RETRY_TWICE), call("b", "${steps.sub.output}")],
        {"sub/inner/b": [BUSY, BUSY, None]},
    ),
    "a failure that the workflow continues itself": (
        [subrun("sub", "careless", {"x": 2}), call("b", "${steps.sub.output}")],
        {"sub/a": ALWAYS},
    ),
    "a workflow in a branch that fails": (
        [
            {
                "id": "p",
                "type": "parallel",
                "error_mode": "continue",
                "branches": {"x": [subrun("sub", "pair", {"x": 1}), call("late")], "y": [call("c", 3)]},
            },
            call("end", ["${steps.p.x}", "${steps.sub.b[1]}", "${steps.late.error.type}"]),
        ],
        {"late": ALWAYS},
    ),
}


class TestReplay:
    @pytest.mark.parametrize("keeps_row", [False, True], ids=["row lost", "row kept"])
    @pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
    async def test_after_a_stop_at_any_save_nothing_runs_twice_and_all_ends_the_same(
        self, scenario: tuple[Sequence[Mapping[str, Any]], Mapping[str, Sequence[Exception | None]]], keeps_row: bool
    ) -> None:
        steps, failures = scenario
        undisturbed, complete = World(failures), WatchedCheckpointer()
        expected = await run_workflow(compile_steps(steps, undisturbed, workflows=WORKFLOWS), complete)

        for stop_at in range(1, len(complete.saved) + 1):
            world = World(failures)
            workflow = compile_steps(steps, world, workflows=WORKFLOWS)
            first = WatchedCheckpointer(stop_at_save=stop_at, keeps_row=keeps_row)
            with pytest.raises(RunSuspended):
                await run_workflow(workflow, first)

            second = WatchedCheckpointer(first)
            outputs = await run_workflow(workflow, second)

            assert outputs == expected, f"stopped at save {stop_at}"
            assert world.finished == undisturbed.finished, f"stopped at save {stop_at}"
            assert not {record.path for record in second.saved} & {
                path for path, record in first.records.items() if record.outcome.is_replayed
            }
            assert _as_seen(second) == _as_seen(complete)

    @pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
    async def test_of_a_finished_run_starts_nothing(
        self, scenario: tuple[Sequence[Mapping[str, Any]], Mapping[str, Sequence[Exception | None]]]
    ) -> None:
        steps, failures = scenario
        workflow = compile_steps(steps, World(failures), workflows=WORKFLOWS)
        journal = WatchedCheckpointer()
        expected = await run_workflow(workflow, journal)

        again = WatchedCheckpointer(journal)
        again.is_stopping = True  # whatever starts or saves now raises RunSuspended

        assert await run_workflow(workflow, again) == expected

    async def test_after_stops_at_every_save_in_turn_all_ends_the_same(self) -> None:
        steps, failures = SCENARIOS["loop in a loop"]
        world = World(failures)
        workflow = compile_steps(steps, world, workflows=WORKFLOWS)
        journal = WatchedCheckpointer(stop_at_save=2)

        for _ in range(100):
            try:
                outputs = await run_workflow(workflow, journal)
                break
            except RunSuspended:
                journal = WatchedCheckpointer(journal, stop_at_save=2)

        assert outputs == await run_workflow(compile_steps(steps))
        assert set(world.finished.values()) == {1}


def _as_seen(journal: MemoryCheckpointer) -> dict[str, tuple[Any, ...]]:
    return {
        path: (record.outcome, record.output_json, record.choice, record.error)
        for path, record in journal.records.items()
        if record.outcome.is_replayed
    }


class TestSuspension:
    async def test_starts_no_step_once_the_run_is_to_stop(self) -> None:
        journal = WatchedCheckpointer()
        journal.is_stopping = True
        world = World()

        with pytest.raises(RunSuspended):
            await run_workflow(compile_steps([call("a")], world), journal)

        assert not world.begun
        assert not journal.started

    async def test_waits_for_calls_in_flight_so_that_they_are_journaled(self) -> None:
        world = World(slow={"b": 20})
        steps = [{"id": "p", "type": "parallel", "steps": [call("a"), call("b")]}]
        journal = WatchedCheckpointer(stop_at_save=1)

        with pytest.raises(RunSuspended):
            await run_workflow(compile_steps(steps, world), journal)

        assert set(journal.calls) == {"p/a#1", "p/b#1"}


class TestFailFast:
    async def test_a_row_on_its_way_counts_when_its_step_is_cancelled(self) -> None:
        # b fails while a's row is being written: the row is there in the end, so a's output is too
        class SlowJournal(WatchedCheckpointer):
            async def save(self, record: Any) -> None:
                if record.path == "p/a":
                    for _ in range(20):
                        await asyncio.sleep(0)
                await super().save(record)

        steps = [
            {"id": "p", "type": "parallel", "error_mode": "continue", "steps": [call("a", 1), call("b")]},
            echo("end", "${steps.a.output}"),
        ]
        journal = SlowJournal()

        outputs = await run_workflow(compile_steps(steps, World({"b": ALWAYS}, slow={"b": 6})), journal)

        assert journal.records["p/a"].outcome is StepOutcome.SUCCEEDED
        assert outputs == {"value": 1}


class TestSaveIsRefused:
    async def test_fails_the_run_with_a_clear_error(self) -> None:
        class Refusing(WatchedCheckpointer):
            async def save(self, record: StepRecord) -> None:
                raise PermanentError("the row was refused")

        with pytest.raises(RunFailedError, match="the row was refused") as failed:
            await run_workflow(compile_steps([echo("a")]), Refusing())

        assert failed.value.error["step_id"] == "a"


class TestJitter:
    async def test_takes_off_up_to_half_of_the_delay(self) -> None:
        journal = WatchedCheckpointer()
        workflow = compile_steps([call("a", retry={"delay_seconds": 8})], World({"a": [BUSY, None]}))

        await Engine(jitter=lambda: 0.5).run(
            workflow, input_data={}, context={}, checkpointer=journal, context_for=journal.context_for
        )

        assert journal.slept == [6.0]  # 8 s x (0.5 + 0.5 / 2)
