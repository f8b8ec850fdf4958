"""P1 and P2 under a SIGKILL between every two statements of a job's life (see tests/fixtures/kill_points.py)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.kill_points import LIVES_SECONDS, check_life
from tests.fixtures.processes import ROOT, fake_provider


class TestAJobKilledAtEveryStatement:
    def test_ends_once_and_pays_no_journaled_call_again(self, database_url: str, tmp_path: Path) -> None:
        with fake_provider() as provider_url:
            lives = subprocess.run(
                [
                    *(sys.executable, "-m", "tests.fixtures.kill_points", "--database-url", database_url),
                    *("--provider-url", provider_url, "--folder", str(tmp_path)),
                ],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=LIVES_SECONDS,
                check=False,
            )

        assert lives.returncode == 0, lives.stderr[-4000:]
        reports = [json.loads(line) for line in lives.stdout.splitlines()]
        assert len(reports) > 30  # a submit, a claim, three calls and an end take more statements than that
        assert not reports[-1]["was_killed"]
        for report in reports:
            check_life(report)


@pytest.mark.parametrize("journal", [[], ["first#1"]], ids=["nothing journaled", "the first call journaled"])
def test_the_check_itself_sees_a_call_that_was_paid_twice(journal: list[str]) -> None:
    job = {"status": "completed", "usage": 3, "outbox": 1}
    counts = {"first": 3 - len(journal), "second": 1, "third": 1}

    with pytest.raises(AssertionError):
        check_life({"journal": journal, "counts": counts, "jobs": [job]})
