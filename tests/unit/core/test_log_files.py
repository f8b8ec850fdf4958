"""Log files: which line goes where, midnight, several writers, and what cannot be written."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
import time_machine

from callboard.core.config import load_settings
from callboard.core.log_files import delete_before
from callboard.core.logging import configure_service_logging

LAST_SECOND = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
KEY = "cb_Zk3v9QaBf0m1n2o3p4q5r6s7t8u9v0w1x2y3z4A5B6c"
LINES_PER_WRITER = 300

Configure = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def configure(folder: Path) -> Iterator[Configure]:
    """Set up the logs of the API; afterwards take everything away again."""

    def configure(**settings: Any) -> None:
        configure_service_logging("api", load_settings(**{"log_dir": folder, **settings}))

    root = logging.getLogger()
    before = list(root.handlers)
    yield configure
    for handler in [each for each in root.handlers if each not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.WARNING)
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)


def events(folder: Path) -> dict[str, list[str]]:
    """Return the events in each file."""
    return {
        path.name: [json.loads(line)["event"] for line in path.read_text().splitlines()]
        for path in sorted(folder.iterdir())
    }


class TestLogFiles:
    @time_machine.travel(LAST_SECOND, tick=False)
    def test_a_level_has_its_lines_and_those_above(self, configure: Configure, folder: Path) -> None:
        configure(log_level="INFO")
        log = structlog.get_logger("x")

        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(log, level)(level)

        assert events(folder) == {
            "api.critical.2026-11-20.log": ["critical"],
            "api.error.2026-11-20.log": ["error", "critical"],
            "api.info.2026-11-20.log": ["info", "warning", "error", "critical"],
            "api.warning.2026-11-20.log": ["warning", "error", "critical"],
        }

    def test_goes_over_to_the_next_file_at_midnight_utc(self, configure: Configure, folder: Path) -> None:
        configure()
        log = structlog.get_logger("x")

        with time_machine.travel(LAST_SECOND, tick=False) as clock:
            log.info("before")
            clock.shift(1)
            log.info("after")

        assert events(folder) == {"api.info.2026-11-20.log": ["before"], "api.info.2026-11-21.log": ["after"]}

    def test_deletes_what_is_older_than_it_is_to_be_kept(self, configure: Configure, folder: Path) -> None:
        configure(log_keep_days=1)
        log = structlog.get_logger("x")

        with time_machine.travel(LAST_SECOND, tick=False) as clock:
            for text in ("20th", "21st", "22nd"):
                log.info(text)
                clock.shift(24 * 3600)

        assert [name[0] for name in events(folder).values()] == ["21st", "22nd"]

    def test_keeps_all_when_told_so(self, configure: Configure, folder: Path) -> None:
        folder.mkdir()
        (folder / "api.info.1999-12-31.log").touch()
        configure(log_keep_days=0)

        structlog.get_logger("x").info("now")

        assert (folder / "api.info.1999-12-31.log").exists()

    @pytest.mark.parametrize("log_format", ["json", "console"])
    def test_writes_json_and_no_secret_whatever_the_console_shows(
        self, configure: Configure, folder: Path, log_format: str
    ) -> None:
        configure(log_format=log_format)

        structlog.get_logger("x").info("key.made", text=f"is {KEY}", job_id="j-1")
        logging.getLogger("uvicorn.error").info("listening\non %d", 80)

        [path] = folder.iterdir()
        first, second = (json.loads(line) for line in path.read_text().splitlines())
        assert (first["event"], first["text"], first["job_id"]) == ("key.made", "is ***", "j-1")
        assert (second["event"], second["level"]) == ("listening\non 80", "info")

    def test_writes_none_without_a_folder(
        self, configure: Configure, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure(log_dir=None)

        structlog.get_logger("x").info("once")

        assert "once" in capsys.readouterr().err
        assert not folder.exists()

    def test_writes_each_line_once_when_set_up_twice(self, configure: Configure, folder: Path) -> None:
        configure()
        configure()

        structlog.get_logger("x").info("once")

        assert list(events(folder).values()) == [["once"]]

    def test_begins_a_file_anew_that_somebody_deleted(self, configure: Configure, folder: Path) -> None:
        configure()
        structlog.get_logger("x").info("first")
        [path] = folder.iterdir()
        path.unlink()

        structlog.get_logger("x").info("second")

        assert events(folder) == {path.name: ["second"]}

    def test_lines_of_several_processes_stay_whole(self, folder: Path) -> None:
        code = (
            "import sys, structlog; from callboard.core.config import load_settings\n"
            "from callboard.core.logging import configure_service_logging\n"
            f"configure_service_logging('worker', load_settings(log_dir={str(folder)!r}))\n"
            f"for number in range({LINES_PER_WRITER}):\n"
            "    structlog.get_logger('x').info(f'{sys.argv[1]} {number}', fill='x' * number * 20)\n"
        )
        writers = [
            subprocess.Popen([sys.executable, "-c", code, name], stderr=subprocess.DEVNULL) for name in ("a", "b", "c")
        ]

        codes = [writer.wait(60) for writer in writers]

        written = [event for lines in events(folder).values() for event in lines]
        assert codes == [0, 0, 0]
        assert sorted(written) == sorted(f"{name} {n}" for name in "abc" for n in range(LINES_PER_WRITER))
        for name in "abc":
            assert [e for e in written if e[0] == name] == [f"{name} {n}" for n in range(LINES_PER_WRITER)]


class TestFailures:
    def test_a_folder_that_cannot_be_made_is_told_once(
        self, configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        configure(log_dir=tmp_path / "file" / "logs")

        structlog.get_logger("x").info("first")
        structlog.get_logger("x").info("second")

        shown = capsys.readouterr().err
        assert shown.count("[warning  ] log_files.not_written") == 1
        assert "Not a directory" in shown
        assert "first" in shown
        assert "second" in shown

    def test_writes_again_when_the_folder_is_there(
        self, configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        in_the_way = tmp_path / "logs"
        in_the_way.touch()
        configure()
        structlog.get_logger("x").info("lost")
        in_the_way.unlink()

        structlog.get_logger("x").info("kept")

        assert list(events(in_the_way).values()) == [["kept"]]

    def test_a_full_disk_is_told_once_and_stops_nothing(
        self, configure: Configure, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder.mkdir()
        with time_machine.travel(LAST_SECOND, tick=False):
            (folder / "api.info.2026-11-20.log").symlink_to("/dev/full")
            configure()

            structlog.get_logger("x").info("first")
            structlog.get_logger("x").info("second")

        shown = capsys.readouterr().err
        assert shown.count("[warning  ] log_files.not_written") == 1
        assert "No space left on device" in shown
        assert "second" in shown

    def test_old_files_that_cannot_be_deleted_stop_nothing(
        self, configure: Configure, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "api.info.1999-12-31.log").mkdir(parents=True)
        configure()

        structlog.get_logger("x").info("written")

        [written] = [path for path in folder.iterdir() if path.is_file()]
        assert json.loads(written.read_text())["event"] == "written"
        shown = capsys.readouterr().err
        assert "log_files.not_deleted" in shown
        assert "api.info.1999-12-31.log" in shown


class TestDeleteBefore:
    def test_deletes_files_of_ours_alone(self, tmp_path: Path) -> None:
        ours = ["api.info.2026-11-01.log", "worker.error.2026-11-01.log", "cli.debug.2026-10-31.log"]
        others = ["api.info.2026-11-02.log", "nginx.info.2026-11-01.log", "api.info.2026-11-01.log.gz", "notes.txt"]
        for name in (*ours, *others):
            (tmp_path / name).touch()

        delete_before(tmp_path, date(2026, 11, 2))

        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
