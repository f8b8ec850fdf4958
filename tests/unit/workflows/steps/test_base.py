"""The registry of step kinds, and the paths of what is inside a container."""

import pytest

from callboard.workflows.steps.base import StepSequence
from callboard.workflows.steps.registry import StepRegistry, UnknownStepTypeError, UnsupportedStepTypeError
from tests.fixtures.scripted_steps import EchoStep


class TestStepRegistry:
    def test_names_the_nearest_type(self) -> None:
        with pytest.raises(UnknownStepTypeError, match='Did you mean "echo"'):
            StepRegistry([EchoStep()]).get("ecko")

    def test_tells_types_that_are_to_come_from_wrong_ones(self) -> None:
        with pytest.raises(UnsupportedStepTypeError, match="not yet supported"):
            StepRegistry([EchoStep()]).get("approval")

    def test_takes_each_type_once(self) -> None:
        with pytest.raises(ValueError, match="two step kinds"):
            StepRegistry([EchoStep(), EchoStep()])

    def test_lists_what_it_knows(self) -> None:
        assert StepRegistry([EchoStep()]).types == ("echo",)


class TestStepSequence:
    @pytest.mark.parametrize(
        ("sequence", "index", "prefix"),
        [
            (StepSequence((), branch="hospitals"), None, "places/hospitals/"),
            (StepSequence(()), None, "places/"),
            (StepSequence((), is_loop=True), 3, "places[3]/"),
        ],
        ids=["branch", "step of its own", "item"],
    )
    def test_prefixes_the_paths_of_its_steps(self, sequence: StepSequence, index: int | None, prefix: str) -> None:
        assert sequence.prefix("places", index) == prefix
