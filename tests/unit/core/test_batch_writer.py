"""Group commit: together, in order, again while the database is away, alone when a row is refused."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain

import pytest
from sqlalchemy.exc import IntegrityError

from callboard.core import batch_writer
from callboard.core.batch_writer import MAX_BYTES, MAX_ROWS, MAX_WAITING_FLUSHES, BatchWriter


class Table:
    """Where a writer flushes to. `refuse` names bad rows; `failures` are raised first, one per flush."""

    def __init__(self, *, refuse: Sequence[int] = (), failures: Sequence[Exception] = ()) -> None:
        self.flushes: list[list[int]] = []
        self.refuse = set(refuse)
        self.failures = list(failures)

    async def flush(self, items: Sequence[int]) -> list[str]:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        bad = self.refuse.intersection(items)
        if bad:
            raise IntegrityError(f"refused {sorted(bad)}", None, Exception())
        self.flushes.append(list(items))
        return [f"row {item}" for item in items]


def writer_on(
    table: Table,
    *,
    keep_trying: Callable[[float], bool] = lambda _: True,
    on_flush: Callable[[str, int, float], None] | None = None,
) -> BatchWriter[int, str]:
    return BatchWriter(table.flush, name="test", keep_trying=keep_trying, on_flush=on_flush)


@pytest.fixture(autouse=True)
def _retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_writer, "RETRY_SECONDS", (0.0,))


class TestWrite:
    async def test_writes_what_waits_in_one_flush_and_gives_each_its_own_result(self) -> None:
        table = Table()
        writer = writer_on(table)

        results = await asyncio.gather(*(writer.write(number) for number in range(5)))

        assert table.flushes == [[0, 1, 2, 3, 4]]
        assert results == [f"row {number}" for number in range(5)]

    async def test_gathers_the_next_flush_while_one_is_under_way(self) -> None:
        table = Table()
        writer = writer_on(table)
        first = asyncio.ensure_future(writer.write(0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        await asyncio.gather(first, writer.write(1), writer.write(2))

        assert table.flushes == [[0], [1, 2]]

    async def test_keeps_a_flush_to_its_row_limit(self) -> None:
        table = Table()
        writer = writer_on(table)

        await asyncio.gather(*(writer.write(number) for number in range(MAX_ROWS + 1)))

        assert [len(flush) for flush in table.flushes] == [MAX_ROWS, 1]

    async def test_keeps_a_flush_to_its_byte_limit(self) -> None:
        table = Table()
        writer = writer_on(table)

        await asyncio.gather(*(writer.write(number, size_bytes=MAX_BYTES // 2) for number in range(3)))

        assert table.flushes == [[0, 1], [2]]

    async def test_writes_a_row_that_is_over_the_byte_limit_alone(self) -> None:
        table = Table()
        writer = writer_on(table)

        await asyncio.gather(writer.write(0, size_bytes=MAX_BYTES + 1), writer.write(1))

        assert table.flushes == [[0], [1]]

    async def test_tries_again_while_the_database_is_away(self) -> None:
        table = Table(failures=[ConnectionRefusedError(), ConnectionResetError()])

        assert await writer_on(table).write(7) == "row 7"

    async def test_gives_up_when_told_so(self) -> None:
        table = Table(failures=[ConnectionRefusedError("away")])

        with pytest.raises(ConnectionRefusedError, match="away"):
            await writer_on(table, keep_trying=lambda _: False).write(7)

    @pytest.mark.parametrize("bad", [[0], [3], [7], [2, 5], list(range(8))], ids=str)
    async def test_fails_the_refused_rows_alone(self, bad: list[int]) -> None:
        table = Table(refuse=bad)
        writer = writer_on(table)

        results = await asyncio.gather(*(writer.write(number) for number in range(8)), return_exceptions=True)

        refused = [number for number, result in enumerate(results) if isinstance(result, IntegrityError)]
        assert refused == bad
        assert sorted(chain.from_iterable(table.flushes)) == [number for number in range(8) if number not in bad]

    async def test_fails_everyone_with_a_fault_that_every_flush_has(self) -> None:
        table = Table(failures=[ZeroDivisionError("a bug")] * 3)  # of both rows, then of each
        writer = writer_on(table)

        results = await asyncio.gather(writer.write(0), writer.write(1), return_exceptions=True)

        assert [type(result) for result in results] == [ZeroDivisionError, ZeroDivisionError]

    async def test_one_fault_of_another_kind_spoils_nothing(self) -> None:
        table = Table(failures=[ZeroDivisionError("of one row")])
        writer = writer_on(table)

        results = await asyncio.gather(writer.write(0), writer.write(1), return_exceptions=True)

        assert list(results) == ["row 0", "row 1"]

    async def test_goes_on_after_a_failed_flush(self) -> None:
        table = Table(failures=[ZeroDivisionError("a bug")])
        writer = writer_on(table)
        with pytest.raises(ZeroDivisionError):
            await writer.write(0)

        assert await writer.write(1) == "row 1"

    async def test_writes_what_a_cancelled_caller_left_behind(self) -> None:
        table = Table()
        writer = writer_on(table)
        caller = asyncio.ensure_future(writer.write(0))
        await asyncio.sleep(0)

        caller.cancel()
        await writer.close()

        assert table.flushes == [[0]]


class TestRoom:
    @pytest.mark.parametrize(
        ("rows", "size_bytes"),
        [
            pytest.param(MAX_ROWS * MAX_WAITING_FLUSHES, 1, id="rows"),
            pytest.param(MAX_WAITING_FLUSHES * 2, MAX_BYTES // 2, id="bytes"),
        ],
    )
    async def test_ends_with_one_more_than_the_flushes_that_may_wait(self, rows: int, size_bytes: int) -> None:
        writer = writer_on(Table())
        for number in range(rows):
            writer.submit(number, size_bytes=size_bytes)
        was_full = writer.is_full

        writer.submit(rows, size_bytes=size_bytes)

        assert (was_full, writer.is_full) == (False, True)
        assert writer.waiting == (rows + 1, (rows + 1) * size_bytes)

    async def test_is_waited_for_until_enough_is_written(self) -> None:
        table = Table()
        writer = writer_on(table)
        for number in range(MAX_WAITING_FLUSHES + 3):
            writer.submit(number, size_bytes=MAX_BYTES)

        await writer.wait_for_room()
        written = len(table.flushes)
        await writer.close()

        assert 3 <= written < MAX_WAITING_FLUSHES + 3
        assert writer.waiting == (0, 0)

    async def test_is_made_by_rows_that_are_refused_or_given_up_too(self) -> None:
        table = Table(refuse=[2, 5], failures=[ConnectionRefusedError()])
        writer = writer_on(table, keep_trying=lambda _: bool(table.flushes))
        futures = [writer.submit(number, size_bytes=MAX_BYTES) for number in range(MAX_WAITING_FLUSHES + 1)]

        await asyncio.wait_for(writer.wait_for_room(), 5)
        await writer.close()

        failed = [number for number, future in enumerate(futures) if future.exception() is not None]
        assert failed == [0, 2, 5]
        assert writer.waiting == (0, 0)

    async def test_is_not_asked_for_what_comes_all_the_same(self) -> None:
        table = Table()
        writer = writer_on(table)
        for number in range(MAX_WAITING_FLUSHES + 1):
            writer.submit(number, size_bytes=MAX_BYTES)

        assert writer.is_full
        assert await writer.write(99) == "row 99"


class TestClose:
    async def test_returns_when_everything_is_written(self) -> None:
        table = Table()
        writer = writer_on(table)
        futures = [writer.submit(number) for number in range(3)]

        await writer.close()

        assert [future.result() for future in futures] == ["row 0", "row 1", "row 2"]

    async def test_returns_at_once_when_nothing_was_written(self) -> None:
        await writer_on(Table()).close()


class TestOnFlush:
    async def test_hears_of_every_flush_that_succeeded(self) -> None:
        heard: list[tuple[str, int]] = []
        table = Table(failures=[ConnectionRefusedError()])
        writer = writer_on(table, on_flush=lambda name, rows, _seconds: heard.append((name, rows)))

        await asyncio.gather(writer.write(0), writer.write(1))

        assert heard == [("test", 2)]
