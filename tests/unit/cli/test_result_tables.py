"""Which tables a result becomes, and which columns they have."""

from io import StringIO
from typing import Any

from rich.console import Console

from callboard.cli.result_tables import result_tables


def _shown(result: dict[str, Any], *, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(*result_tables(result, width=width))
    text = console.file
    assert isinstance(text, StringIO)
    return text.getvalue()


class TestResultTables:
    def test_makes_one_per_list_of_objects_however_deep(self) -> None:
        shown = _shown({"plan": {"contacts": [{"name": "Ada"}], "meetingLocations": [{"name": "Plaza"}]}, "note": "x"})

        assert [line.strip() for line in shown.splitlines() if line[:1].isalpha()] == ["Contacts", "Meeting locations"]
        assert "Ada" in shown
        assert "Plaza" in shown

    def test_leaves_costs_to_their_own_table(self) -> None:
        assert result_tables({"cost_data": {"llm_calls": [{"model": "m"}]}}, width=80) == []

    def test_shows_what_people_look_for_first(self) -> None:
        shown = _shown({"contacts": [{"score": 3, "phone": "911", "name": "Ada"}]})

        header = next(line for line in shown.splitlines() if "name" in line)
        assert header.split() == ["name", "phone", "score"]

    def test_leaves_out_columns_that_hold_long_texts_or_nothing(self) -> None:
        shown = _shown({"contacts": [{"name": "Ada", "reasoning": "because " * 20, "website": None, "tags": ["a"]}]})

        assert "because" not in shown
        assert "website" not in shown
        assert "tags" not in shown

    def test_shows_long_texts_where_there_is_nothing_else(self) -> None:
        assert "because" in _shown({"notes": [{"text": "because " * 20}]})

    def test_takes_as_many_columns_as_can_be_read(self) -> None:
        row = {f"column{number}": number for number in range(10)}

        assert "column4" in _shown({"rows": [row]}, width=80)
        assert "column5" not in _shown({"rows": [row]}, width=80)

    def test_says_yes_and_no(self) -> None:
        shown = _shown({"places": [{"has_parking": True}, {"has_parking": False}]})

        assert [line.strip() for line in shown.splitlines() if line.strip() in {"yes", "no"}] == ["yes", "no"]
