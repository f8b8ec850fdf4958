"""What transforms share: the names an item brings, and what is lent to an operation that asks for too much."""

import pytest

from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.items import names_of


class TestNamesOf:
    def test_are_the_keys_of_an_object_less_those_that_mean_something_else(self) -> None:
        item = {"name": "A", "steps": 1, "item": 2}

        assert names_of(item) == {"name": "A", "item": item}

    def test_are_ours_alone_for_other_values(self) -> None:
        assert names_of("text", 3) == {"item": "text", "index": 3}


class TestTransformTools:
    def test_renders_only_what_the_step_compiled(self) -> None:
        with pytest.raises(TransformError, match="Nothing was compiled for the field condition"):
            TransformTools().render("condition", {})
