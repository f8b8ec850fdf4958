"""Open files: as many as the system lets us have."""

import resource
import subprocess
import sys

from callboard.core.process_limits import raise_open_file_limit

SCRIPT = """
import resource
from callboard.core.process_limits import raise_open_file_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
print(raise_open_file_limit() == hard == resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


class TestRaiseOpenFileLimit:
    def test_raises_a_low_limit(self) -> None:
        told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

        assert told.stdout.strip().splitlines()[-1] == "True"

    def test_leaves_a_limit_that_is_as_high_as_it_gets(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            assert raise_open_file_limit() == before[1]
            assert raise_open_file_limit() == before[1]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
