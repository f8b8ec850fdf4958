"""Times: always aware, always UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from callboard.core.clock import as_utc, milliseconds_between, now, to_iso

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class TestNow:
    def test_is_aware_and_utc(self) -> None:
        assert now().utcoffset() == timedelta(0)


class TestMillisecondsBetween:
    @pytest.mark.parametrize(
        ("later", "milliseconds"),
        [
            pytest.param(timedelta(seconds=1.5), 1500, id="forward"),
            pytest.param(timedelta(microseconds=1400), 1, id="rounded"),
            pytest.param(timedelta(seconds=-5), 0, id="a clock that was set back"),
        ],
    )
    def test_is_never_below_zero(self, later: timedelta, milliseconds: int) -> None:
        assert milliseconds_between(NOON, NOON + later) == milliseconds


class TestAsUtc:
    def test_takes_a_naive_time_as_utc(self) -> None:
        assert as_utc(NOON.replace(tzinfo=None)) == NOON

    def test_takes_the_offset_off(self) -> None:
        east = datetime(2026, 1, 2, 14, tzinfo=timezone(timedelta(hours=2)))

        assert as_utc(east) == NOON
        assert as_utc(east).utcoffset() == timedelta(0)

    def test_refuses_what_lies_outside_the_calendar(self) -> None:
        with pytest.raises(ValueError, match="1 to 9999"):
            as_utc(datetime.min.replace(tzinfo=timezone(timedelta(hours=2))))


class TestToIso:
    def test_writes_utc_with_z(self) -> None:
        assert to_iso(NOON.astimezone(timezone(timedelta(hours=-3)))) == "2026-01-02T12:00:00Z"
