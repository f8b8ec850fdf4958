"""The suite's arithmetic: ratios within rounds, what holds, and that what is kept can be written out again."""

from pathlib import Path

import pytest

from bench.figures import Spread
from bench.plots import draw
from bench.results import Bound, Demand, Table, demand_rows, figure_rows, read_json, verdict, write_json, write_markdown

RATE = "runs/s"


def a_table(*, ours: list[float], other: list[float], **demanded: object) -> Table:
    demand = {"bound": Bound.AT_LEAST, "asked": 2.0, "aim": 4.0, **demanded}
    table = Table(key="01_a", title="A", about="About.", rounds=len(ours))
    table.demands = [Demand(label="a / b", ours="Callboard", other="Peer", figure=RATE, **demand)]  # type: ignore[arg-type]
    for mine, theirs in zip(ours, other, strict=True):
        table.add("Callboard", RATE, mine)
        table.add("Peer", RATE, theirs)
    return table


class TestRatio:
    def test_is_taken_within_each_round(self) -> None:
        table = a_table(ours=[10, 100, 30], other=[5, 10, 10])

        ratio = table.ratio(table.demands[0])

        assert ratio == Spread(median=3, low=2, high=10)  # 2, 10, 3; of the medians it would be 30 / 10

    def test_compares_two_figures_where_asked(self) -> None:
        table = a_table(ours=[10], other=[5])
        table.add("Peer", "requests/s", 2)

        ratio = table.ratio(
            Demand(label="", ours="Callboard", other="Peer", figure=RATE, other_figure="requests/s", asked=1)
        )

        assert ratio == Spread(5, 5, 5)

    def test_is_none_without_one_side(self) -> None:
        table = a_table(ours=[10], other=[5])

        table.drop("Peer", "it did not start")

        assert table.ratio(table.demands[0]) is None
        assert verdict(table, table.demands[0]) == "not measured"
        assert table.notes == ["Peer IS LEFT OUT: it did not start"]


class TestVerdict:
    @pytest.mark.parametrize(
        ("bound", "ours", "expected"),
        [
            pytest.param(Bound.AT_LEAST, 40, "aim reached", id="at least: 4 of 4"),
            pytest.param(Bound.AT_LEAST, 20, "holds", id="at least: 2 of 2"),
            pytest.param(Bound.AT_LEAST, 19, "**FALLS SHORT**", id="at least: 1.9 of 2"),
            pytest.param(Bound.AT_MOST, 20, "aim reached", id="at most: 2 of 4, the aim"),
            pytest.param(Bound.AT_MOST, 50, "holds", id="at most: 5 of 8"),
            pytest.param(Bound.AT_MOST, 81, "**FALLS SHORT**", id="at most: 8.1 of 8"),
        ],
    )
    def test_judges_the_median_ratio(self, bound: Bound, ours: float, expected: str) -> None:
        asked = 2.0 if bound is Bound.AT_LEAST else 8.0
        table = a_table(ours=[ours], other=[10], bound=bound, asked=asked, aim=4.0)

        assert verdict(table, table.demands[0]) == expected

    def test_has_nothing_to_say_where_nothing_is_asked(self) -> None:
        table = a_table(ours=[1], other=[10], asked=None, aim=None)

        assert verdict(table, table.demands[0]) == ""
        assert demand_rows(table) == [["a / b", "0.10 (0.10-0.10)", "", "", ""]]


class TestPaper:
    def test_gives_a_row_for_each_contestant_and_a_column_for_each_figure(self) -> None:
        table = a_table(ours=[10, 20, 30], other=[5, 5, 5])
        table.add("Callboard", "CPU s", 1.5)

        head, rows = figure_rows(table)

        assert head == ["", RATE, "CPU s"]
        assert rows == [["Callboard", "20.0 (10.0-30.0)", "1.50 (1.50-1.50)"], ["Peer", "5.00 (5.00-5.00)", ""]]

    def test_reads_back_what_it_kept(self, tmp_path: Path) -> None:
        table = a_table(ours=[10, 20], other=[5, 5])
        table.blocks = [("plan", "Index Scan")]

        write_json(table, tmp_path)

        assert read_json(tmp_path / "01_a.json") == table

    def test_writes_everything_on_one_page(self, tmp_path: Path) -> None:
        table = a_table(ours=[10, 20], other=[5, 5])
        table.blocks = [("plan", "Index Scan")]

        write_markdown([table], tmp_path / "results.md", plots="results")

        text = (tmp_path / "results.md").read_text()
        assert "| A | a / b | 3.00 (2.00-4.00) | at least 2 | 4 | holds |" in text
        assert "![A](results/01_a.svg)" in text
        assert "Index Scan" in text

    def test_draws_a_bar_for_each_contestant(self) -> None:
        svg = draw(a_table(ours=[1000, 2000], other=[5, 5]))

        assert svg.count("<rect") == 3  # the ground and two bars
        assert "runs/s (logarithmic)" in svg
