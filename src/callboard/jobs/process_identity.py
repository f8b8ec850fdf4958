"""Which process this is, and whether another one of this host still lives.

A pid alone says little: it is used again, and another container has the same. `leases.py` writes the
identity; the sweeper asks `is_gone`, so that after a restart nobody waits for a lease to run out.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told apart from every other of any host, boot or container."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started_at: str

    @classmethod
    def of_this_process(cls) -> "ProcessIdentity":
        pid = os.getpid()
        return cls(socket.gethostname(), _boot_id(), _pid_namespace(), pid, _start_time(pid) or "")


def is_gone(other: ProcessIdentity, here: ProcessIdentity) -> bool:
    """Return whether `other` is known to have ended. False where it cannot be seen from `here`."""
    if (other.host, other.boot_id, other.pid_namespace) != (here.host, here.boot_id, here.pid_namespace):
        return False
    started_at = _start_time(other.pid)
    if started_at is None:  # /proc may hide other users' processes (hidepid); a signal 0 tells
        return not _is_alive(other.pid)
    return started_at != other.started_at


def _start_time(pid: int) -> str | None:
    """Return when process `pid` began; "" for its unreaped remains, None where none is to be seen.

    In ticks since the boot: a wall-clock time would change when the clock is set. Systems without /proc
    tell only whether the pid lives.
    Source: man 5 proc, /proc/pid/stat, fields 3 (state) and 22 (starttime), counted behind "(comm)".
    """
    if not _PROC.exists():
        return "" if _is_alive(pid) else None
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return "" if fields[0] in "ZX" else fields[19]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def _pid_namespace() -> str:
    return str(_PID_NAMESPACE.readlink()) if _PID_NAMESPACE.exists() else ""
