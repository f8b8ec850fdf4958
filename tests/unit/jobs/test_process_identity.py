"""Who lives: judged only where it can be seen, and never by the pid alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from callboard.jobs.process_identity import ProcessIdentity, _start_time, is_gone

HERE = ProcessIdentity.of_this_process()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits until it is ended."""
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield running
    running.kill()
    running.communicate()


def identity_of(pid: int) -> ProcessIdentity:
    return replace(HERE, pid=pid, started_at=_start_time(pid) or "")


class TestOfThisProcess:
    def test_is_the_same_every_time(self) -> None:
        assert ProcessIdentity.of_this_process() == HERE
        assert HERE.pid == os.getpid()
        assert HERE.started_at


class TestIsGone:
    def test_sees_this_process_live(self) -> None:
        assert not is_gone(HERE, HERE)

    def test_sees_another_process_live(self, child: subprocess.Popen[bytes]) -> None:
        assert not is_gone(identity_of(child.pid), HERE)

    def test_sees_a_process_that_was_killed_even_before_its_parent_took_note(
        self, child: subprocess.Popen[bytes]
    ) -> None:
        other = identity_of(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended; its remains are there

        assert is_gone(other, HERE)

    def test_sees_that_a_pid_is_used_again(self, child: subprocess.Popen[bytes]) -> None:
        assert is_gone(replace(identity_of(child.pid), started_at="1"), HERE)

    @pytest.mark.parametrize("field", ["host", "boot_id", "pid_namespace"])
    def test_judges_nobody_that_cannot_be_seen_from_here(self, field: str) -> None:
        facts: dict[str, Any] = {field: "another", "pid": 2**22 + 1}
        elsewhere = replace(HERE, **facts)

        assert not is_gone(elsewhere, HERE)
