"""The conditional step: which branch, what comes out, what a replay takes."""

from typing import Any

import pytest

from callboard.workflows.errors import InvalidWorkflowError
from tests.fixtures.scripted_steps import WatchedCheckpointer, World, call, compile_steps, echo, run_workflow


def conditional(**config: Any) -> dict[str, Any]:
    return {"id": "if", "type": "conditional", "config": config}


CASES = {
    "cases": [
        {"when": "input.n > 10", "steps": [echo("big", "big")]},
        {"when": "input.n > 5", "steps": [echo("middle", "middle")]},
    ],
    "default": [echo("small", "small")],
}


class TestConditionalStep:
    @pytest.mark.parametrize(("n", "expected"), [(3, "yes"), (1, "no")], ids=["true", "false"])
    async def test_runs_one_branch(self, n: int, expected: str) -> None:
        step = conditional(condition="input.n > 2", if_true=[echo("a", "yes")], if_false=[echo("b", "no")])

        assert await run_workflow(compile_steps([step]), input_data={"n": n}) == {"value": expected}

    @pytest.mark.parametrize(("n", "expected"), [(11, "big"), (6, "middle"), (1, "small")])
    async def test_takes_the_first_case_that_holds(self, n: int, expected: str) -> None:
        assert await run_workflow(compile_steps([conditional(**CASES)]), input_data={"n": n}) == {"value": expected}

    @pytest.mark.parametrize(
        "config",
        [
            {"condition": False, "if_true": [echo("a", 1)]},
            {"condition": False, "if_true": [echo("a", 1)], "if_false": []},
            {"cases": [{"when": False, "steps": [echo("a", 1)]}]},
            {"condition": True, "if_true": [echo("a", 1, when=False)]},
        ],
        ids=["no else", "empty else", "no default", "all skipped"],
    )
    async def test_gives_null_when_nothing_ran(self, config: dict[str, Any]) -> None:
        assert await run_workflow(compile_steps([conditional(**config)])) == {"value": None}

    async def test_gives_what_the_last_step_that_ran_gave(self) -> None:
        step = conditional(condition=True, if_true=[echo("a", 1), echo("b", 2), echo("c", 3, when=False)])

        assert await run_workflow(compile_steps([step])) == {"value": 2}

    async def test_journals_its_choice_before_the_first_step_of_the_branch(self) -> None:
        journal = WatchedCheckpointer()

        await run_workflow(compile_steps([conditional(**CASES)]), journal, input_data={"n": 6})

        assert [(record.path, record.choice) for record in journal.saved] == [
            ("if?", "cases[1]"),
            ("if/cases[1]/middle", None),
            ("if", "cases[1]"),
        ]

    async def test_takes_the_journaled_branch_again(self) -> None:
        journal = WatchedCheckpointer()
        world = World()
        step = conditional(condition="input.n > 2", if_true=[call("a", "yes")], if_false=[call("b", "no")])
        await run_workflow(compile_steps([step], world), journal, input_data={"n": 3})
        del journal.records["if"]

        # the input is another one now, which no durable run can bring about: only the journal can tell "yes"
        outputs = await run_workflow(compile_steps([step], world), WatchedCheckpointer(journal), input_data={"n": 0})

        assert outputs == {"value": "yes"}
        assert world.finished == {"if/if_true/a": 1}

    @pytest.mark.parametrize(
        "config",
        [{}, {"condition": True, "cases": []}, {"condition": 3}, {"condition": True, "if_true": {"id": "a"}}],
        ids=["neither", "both", "number", "no list"],
    )
    def test_refuses_other_forms(self, config: dict[str, Any]) -> None:
        with pytest.raises(InvalidWorkflowError):
            compile_steps([conditional(**config)])
