"""Log files `{service}.{level}.{date}.log`: every line of a service, by day and by how severe it is.

`core/logging.py` adds the handler when LOG_DIR is set. The file of a level holds the lines of that level and
of those above it: `error` is all that went wrong, and the file of LOG_LEVEL is the whole story.

The standard library's rotating handlers rename the file that they write to. With several processes of one
service each would rename it under the others. Here the date is part of the name, so that nothing is renamed:
the next day's first line opens the next file. Each line is one write to a file opened with O_APPEND, which
the system puts at the end whole, whoever else writes.
"""

import errno
import logging
import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias, get_args

Service: TypeAlias = Literal["api", "worker", "cli"]

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
FILE_MODE = 0o640  # lines name users and what they ask for

_NAME = re.compile(rf"(?:{'|'.join(get_args(Service))})\.(?:{'|'.join(LEVELS)})\.(\d{{4}}-\d{{2}}-\d{{2}})\.log")

log = logging.getLogger(__name__)


class LogFiles(logging.Handler):
    """Writes each line into the files of its day, which is UTC's, and deletes files older than `keep_days` days.

    `keep_days` 0 keeps all. What cannot be written (a full disk, no such folder) is said once on standard error
    and tried again with each line: the service goes on.
    """

    def __init__(self, folder: Path, service: Service, *, level: int, keep_days: int) -> None:
        super().__init__(level)
        self._folder = folder
        self._service = service
        self._keep_days = keep_days
        self._day: date | None = None
        self._open: dict[str, int] = {}
        self._cut: set[str] = set()  # levels whose file ends in the middle of a line
        self._is_failing = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == __name__:
            return  # our own complaint, which is for the other handlers
        try:
            line = (self.format(record) + "\n").encode("utf-8", errors="backslashreplace")
            self._turn_to(datetime.fromtimestamp(record.created, UTC).date())
            for name, least in LEVELS.items():
                if self.level <= least <= record.levelno:
                    self._write(name, line)
            self._is_failing = False
        except OSError as error:
            self._complain(error)

    def close(self) -> None:
        self._close_files()
        super().close()

    def _turn_to(self, day: date) -> None:
        """Go over to the files of `day`, and delete those that are too old by then."""
        if day == self._day:
            return
        self._close_files()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._day = day
        if self._keep_days:
            try:
                delete_before(self._folder, day - timedelta(days=self._keep_days))
            except OSError as error:  # somebody else's files: ours are written all the same
                log.warning("log_files.not_deleted", extra=self._about(error))

    def _write(self, name: str, line: bytes) -> None:
        if name in self._cut:
            line = b"\n" + line
        written = os.write(self._file(name), line)
        if written < len(line):  # the disk became full on the way
            self._cut.add(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._cut.discard(name)

    def _file(self, name: str) -> int:
        file = self._open.get(name)
        if file is not None and os.fstat(file).st_nlink == 0:  # somebody deleted it; its lines would be lost
            os.close(self._open.pop(name))
            file = None
        if file is None:
            path = self._folder / f"{self._service}.{name}.{self._day}.log"
            file = self._open[name] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE_MODE)
        return file

    def _close_files(self) -> None:
        self._day = None
        self._cut.clear()
        while self._open:
            os.close(self._open.popitem()[1])

    def _complain(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            log.warning("log_files.not_written", extra=self._about(error))

    def _about(self, error: OSError) -> dict[str, str | None]:
        return {"log_dir": str(self._folder), "file": error.filename, "reason": error.strerror}


def delete_before(folder: Path, day: date) -> None:
    """Delete the log files of days before `day`. Files with other names stay, whatever they are."""
    for path in folder.iterdir():
        named = _NAME.fullmatch(path.name)
        if named and named[1] < day.isoformat():
            path.unlink(missing_ok=True)  # another process may have been first
