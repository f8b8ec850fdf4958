"""Paths of step instances."""

import pytest

from callboard.jobs.paths import step_id_of


class TestStepIdOf:
    @pytest.mark.parametrize(
        ("path", "step_id"),
        [("draft", "draft"), ("places/hospitals/search", "search"), ("each[3]/draft", "draft"), ("a/each[12]", "each")],
    )
    def test_is_the_last_segment_without_its_item(self, path: str, step_id: str) -> None:
        assert step_id_of(path) == step_id
