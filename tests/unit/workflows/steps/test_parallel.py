"""The parallel step: branches, loops, and what they give."""

import hashlib
from typing import Any

import pytest

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from tests.fixtures.scripted_steps import WatchedCheckpointer, World, call, compile_steps, echo, run_workflow

BROKEN = PermanentError("it is broken")


def parallel(**config: Any) -> dict[str, Any]:
    return {"id": "p", "type": "parallel", "config": config}


class TestBranches:
    async def test_give_an_object_by_name(self) -> None:
        step = parallel(branches={"x": [echo("a", 1), echo("b", 2)], "y": [echo("c", 3)]})

        assert await run_workflow(compile_steps([step])) == {"x": 2, "y": 3}

    async def test_of_single_steps_go_by_their_ids(self) -> None:
        journal = WatchedCheckpointer()

        outputs = await run_workflow(compile_steps([parallel(steps=[echo("a", 1), echo("b", 2)])]), journal)

        assert outputs == {"a": 1, "b": 2}
        assert set(journal.records) == {"p/a", "p/b", "p"}

    async def test_run_side_by_side(self) -> None:
        world = World(slow={"a": 5})

        await run_workflow(compile_steps([parallel(steps=[call("a"), call("b")])], world))

        assert list(world.finished) == ["p/b", "p/a"]

    async def test_are_cancelled_by_the_first_failure(self) -> None:
        world = World({"b": [BROKEN]}, slow={"a": 1000})

        with pytest.raises(RunFailedError):
            await run_workflow(compile_steps([parallel(steps=[call("a"), call("b")])], world))

        assert world.begun == ["p/a", "p/b"]
        assert not world.finished

    async def test_finish_first_without_fail_fast(self) -> None:
        world = World({"b": [BROKEN]}, slow={"a": 50})

        with pytest.raises(RunFailedError):
            await run_workflow(compile_steps([parallel(fail_fast=False, steps=[call("a"), call("b")])], world))

        assert set(world.finished) == {"p/a"}

    async def test_take_a_failure_where_it_stands(self) -> None:
        step = parallel(branches={"x": [call("a", error_mode="continue"), echo("b", 2)], "y": [echo("c", 3)]})

        assert await run_workflow(compile_steps([step], World({"a": [BROKEN]}))) == {"x": 2, "y": 3}


class TestLoop:
    async def test_gives_a_list_in_the_order_of_its_items(self) -> None:
        world = World(slow={"a": 3})
        step = parallel(for_each="${input.list}", steps=[call("a", ["${item}", "${index}"])])

        outputs = await run_workflow(compile_steps([step], world), input_data={"list": ["x", "y"]})

        assert outputs == {"value": [["x", 0], ["y", 1]]}

    @pytest.mark.parametrize("items", [None, []], ids=["null", "empty"])
    async def test_over_nothing_is_an_empty_list(self, items: JsonValue) -> None:
        step = parallel(for_each="${input.list}", steps=[echo("a")])

        assert await run_workflow(compile_steps([step]), input_data={"list": items}) == {"value": []}

    async def test_over_something_else_fails_the_step(self) -> None:
        step = parallel(for_each="${input.list}", steps=[echo("a")])

        with pytest.raises(RunFailedError, match="for_each needs a list, and this is text"):
            await run_workflow(compile_steps([step]), input_data={"list": "abc"})

    async def test_calls_the_item_as_told(self) -> None:
        step = parallel(for_each=[{"n": 1}], **{"as": "row"}, steps=[echo("a", "${row.n}", when="row.n == 1")])

        assert await run_workflow(compile_steps([step])) == {"value": [1]}

    async def test_journals_the_hash_of_its_list_and_paths_by_item(self) -> None:
        journal = WatchedCheckpointer()

        await run_workflow(compile_steps([parallel(for_each=[5, 6], steps=[echo("a")])]), journal)

        assert [record.path for record in journal.saved] == ["p?", "p[0]/a", "p[1]/a", "p"]
        assert journal.saved[0].choice == hashlib.sha256(b"[5,6]").hexdigest()

    @pytest.mark.parametrize("has_ended", [True, False], ids=["ended", "unfinished"])
    async def test_refuses_to_go_on_with_another_list(self, has_ended: bool) -> None:
        workflow = compile_steps([parallel(for_each="${input.list}", steps=[echo("a")])])
        journal = WatchedCheckpointer()
        await run_workflow(workflow, journal, input_data={"list": [1, 2]})
        if not has_ended:
            del journal.records["p"]

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(workflow, WatchedCheckpointer(journal), input_data={"list": [1, 3]})

        assert failed.value.error["type"] == "loop_list_changed"

    async def test_runs_at_most_so_many_items_at_once(self) -> None:
        world = World(slow={"a": 5})
        step = parallel(for_each=list(range(6)), max_concurrency=2, steps=[call("a", "${item}")])

        outputs = await run_workflow(compile_steps([step], world))

        assert outputs == {"value": [0, 1, 2, 3, 4, 5]}
        assert world.begun[:3] == ["p[0]/a", "p[1]/a", "p[2]/a"]

    async def test_items_do_not_see_each_others_steps(self) -> None:
        steps = [echo("a", "${item}", when="index == 0"), echo("b", "${steps.a.output}")]

        assert await run_workflow(compile_steps([parallel(for_each=["x", "y"], steps=steps)])) == {"value": ["x", None]}


class TestParallelConfig:
    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"steps": [echo("a")], "branches": {"x": [echo("b")]}},
            {"for_each": [1], "branches": {"x": [echo("a")]}},
            {"for_each": 3, "steps": [echo("a")]},
            {"for_each": [1], "as": "input", "steps": [echo("a")]},
            {"branches": {"not a name/": [echo("a")]}},
            {"steps": [echo("a")], "max_concurrency": 0},
            {"steps": "a"},
            {"for_each": [1]},
        ],
        ids=["nothing", "both", "loop of branches", "number", "taken name", "branch name", "none at once",
             "text", "no steps"],
    )  # fmt: skip
    def test_refuses_other_forms(self, config: dict[str, Any]) -> None:
        with pytest.raises(InvalidWorkflowError):
            compile_steps([parallel(**config)])
