"""Processes under measurement: freezing them, and what the operating system says they used. Linux only.

`contestants.py` and the tables of `suite.py` call this. A process counts with all its children and threads.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)
RESET_PEAK = "5"  # of /proc/<pid>/clear_refs: the high water of memory begins anew


def tree_of(pid: int) -> list[int]:
    """Return `pid` and every process below it."""
    return [pid, *_below(pid)]


def freeze(pids: Sequence[int]) -> None:
    """Stop them where they stand. What is sent to them waits in the system's buffers."""
    _signal(pids, signal.SIGSTOP)


def thaw(pids: Sequence[int]) -> None:
    """Have them go on."""
    _signal(pids, signal.SIGCONT)


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time that they have used so far, user and system, with children that have ended."""
    return sum(map(_cpu_seconds_of, pids))


def peak_memory_mb(pids: Sequence[int]) -> float:
    """Return the high water of their resident memory since `reset_peak_memory`, added up, in MB of 10^6 bytes."""
    return sum(map(_peak_kib_of, pids)) * 1024 / 1_000_000


def reset_peak_memory(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(*_GONE):
            Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def backends_of(database: str) -> list[int]:
    """Return the PostgreSQL processes on this machine that serve the database of this name."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(*_GONE):
                title = (folder / "cmdline").read_bytes().decode(errors="replace")
                if title.startswith("postgres:") and f" {database} " in title:
                    found.append(int(folder.name))
    return found


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _below(pid: int) -> Iterator[int]:
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except _GONE:
        return
    for child in (int(text) for line in lists for text in line.split()):
        yield child
        yield from _below(child)


def _cpu_seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except _GONE:
        return 0.0
    return sum(int(text) for text in fields[11:15]) / _TICKS  # utime, stime, and both of children that were waited for


def _peak_kib_of(pid: int) -> int:
    with suppress(*_GONE):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
