"""The registry of transforms: what it knows, and what it says of what it does not know."""

import pytest

from callboard.workflows.transforms.base import UnknownTransformError
from callboard.workflows.transforms.join import Join
from callboard.workflows.transforms.merge import Merge
from callboard.workflows.transforms.registry import TransformRegistry


class TestGet:
    def test_finds_a_transform_by_its_operation(self) -> None:
        join = Join()

        assert TransformRegistry([join, Merge()]).get("join") is join

    @pytest.mark.parametrize(
        ("operation", "message"),
        [("jion", "Did you mean join?"), ("xyz", "Known are: join, merge.")],
        ids=["near", "far"],
    )
    def test_suggests_a_name(self, operation: str, message: str) -> None:
        with pytest.raises(UnknownTransformError) as caught:
            TransformRegistry([Join(), Merge()]).get(operation)

        assert message in caught.value.message

    def test_refuses_two_of_one_name(self) -> None:
        with pytest.raises(ValueError, match="'join'"):
            TransformRegistry([Join(), Join()])
