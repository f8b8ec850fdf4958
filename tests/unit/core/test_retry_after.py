"""`Retry-After` in all its spellings."""

from datetime import UTC, datetime

import pytest

from callboard.core.retry_after import read_retry_after

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class TestReadRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            pytest.param("30", 30.0, id="seconds"),
            pytest.param(" 1.5 ", 1.5, id="a fraction"),
            pytest.param("Thu, 01 Jan 2026 12:01:00 GMT", 60.0, id="a date"),
            pytest.param("Thu, 01 Jan 2026 13:00:00 +0100", 0.0, id="now, in another zone"),
            pytest.param("Thu, 01 Jan 2026 12:00:10 -0000", 10.0, id="a date without a zone"),
            pytest.param("Wed, 31 Dec 2025 12:00:00 GMT", 0.0, id="past"),
            pytest.param("soon", None, id="words"),
            pytest.param("-5", None, id="negative"),
            pytest.param("nan", None, id="not a number"),
            pytest.param("", None, id="empty"),
            pytest.param("9" * 400, None, id="absurd"),
        ],
    )
    def test_reads(self, value: str, seconds: float | None) -> None:
        assert read_retry_after({"retry-after": value}, now=NOW) == seconds

    def test_milliseconds_go_first(self) -> None:
        assert read_retry_after({"Retry-After": "9", "Retry-After-Ms": "1500"}, now=NOW) == 1.5

    def test_finds_nothing_where_there_is_no_header(self) -> None:
        assert read_retry_after({"Date": "x"}, now=NOW) is None
