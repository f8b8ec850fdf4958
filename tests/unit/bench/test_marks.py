"""What processes mark and the bench reads, in the order in which it came."""

from pathlib import Path

from bench.contestants import MarkFile
from bench.protocol.bench_protocol import END, START, Marks


class TestMarkFile:
    def test_sees_what_is_added_after_it_was_opened(self, tmp_path: Path) -> None:
        file = MarkFile(tmp_path / "marks")
        marks = Marks(str(tmp_path / "marks"))

        marks.add(START)
        before = len(file.ends())
        marks.add(END)
        marks.add(END)

        assert (len(file.starts()), before, len(file.ends())) == (1, 0, 2)
        assert file.starts()[0] <= file.ends()[0] <= file.ends()[1]
        file.close()
        marks.close()

    def test_waits_for_the_rest_of_half_a_mark(self, tmp_path: Path) -> None:
        file = MarkFile(tmp_path / "marks")
        marks = Marks(str(tmp_path / "other"))
        marks.add(END)
        whole = (tmp_path / "other").read_bytes()

        (tmp_path / "marks").write_bytes(whole[:5])
        early = len(file.ends())
        with (tmp_path / "marks").open("ab") as rest:
            rest.write(whole[5:])

        assert (early, len(file.ends())) == (0, 1)
        file.close()
        marks.close()
