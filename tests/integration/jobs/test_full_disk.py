"""A disk that is full while jobs run: submits are told so, nothing is lost or paid twice, and it goes on by itself.

The server's database lies on a small memory disk that only its own mount namespace has.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.processes import (
    ROOT,
    environment_of,
    fake_provider,
    finished_calls,
    free_port,
    get_json,
    post_json,
    wait_until_ready,
)

KEY = "admin-key-of-the-operator"
DISK = "3m"
END_SECONDS = 40
CALLS = [f"c{number}" for number in range(4)]


def may_mount() -> bool:
    """Return whether this process may make a mount namespace with a disk of its own."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def server_on_small_disk(folder: Path, provider_url: str) -> Iterator[tuple[str, Path]]:
    """Run a server whose database has a disk of `DISK`; give its URL and that disk as seen from here."""
    disk, port = folder / "disk", free_port()
    for path in (disk, folder / "definitions", folder / "prompts"):
        path.mkdir()
    steps = [
        {"id": step, "type": "llm", "config": {"prompt_text": f"[[key:${{input.key}}-{step}]] [[delay:0.4]] x"}}
        for step in CALLS
    ]
    (folder / "definitions" / "calls.json").write_text(json.dumps({"name": "calls", "steps": steps}))
    settings = {
        "database_url": f"sqlite:///{disk}/callboard.db",
        "callboard_home": folder / "home",
        "workflows_dir": folder / "definitions",
        "prompts_dir": folder / "prompts",
        "admin_api_key": KEY,
        "openai_compatible_base_url": provider_url,
        "default_llm_provider": "openai_compatible",
        "default_llm_model_name": "gpt-4o",
        "port": port,
        "log_level": "ERROR",
    }
    script = f'mount -t tmpfs -o size={DISK} tmpfs "$0" && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, str(disk), sys.executable, "-m", "callboard.cli.main", "serve"]
    running = subprocess.Popen(command, cwd=ROOT, env=environment_of(settings), stdout=subprocess.DEVNULL, text=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", running)
        yield f"http://127.0.0.1:{port}/api/v1", Path(f"/proc/{running.pid}/root{disk}")
    finally:
        running.kill()
        running.wait(10)


def fill(disk: Path) -> Path:
    """Fill the disk to its last byte and return the file that does."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 64 * 1024
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
    return ballast


def submit(url: str, key: str) -> Any:
    return post_json(f"{url}/workflow", {"workflow_name": "calls", "input_data": {"key": key}}, KEY)


@pytest.mark.skipif(not may_mount(), reason="making a small disk takes root and unshare(1)")
class TestAFullDisk:
    def test_refuses_submits_and_neither_loses_nor_doubles_a_call_of_running_jobs(self, tmp_path: Path) -> None:
        with fake_provider() as provider_url, server_on_small_disk(tmp_path, provider_url) as (url, disk):
            jobs = [submit(url, f"j{number}")["job_id"] for number in range(5)]
            _until(lambda: len(finished_calls(provider_url)) >= 5)

            ballast = fill(disk)
            with pytest.raises(urllib.error.HTTPError) as refused:
                submit(url, "refused")
            time.sleep(1)
            os.unlink(ballast)  # noqa: PTH108 - beside the write that it undoes

            assert refused.value.code == 503
            assert json.load(refused.value)["error"] == "database_unavailable"
            _until(lambda: all(get_json(f"{url}/jobs/{job}", KEY)["status"] == "completed" for job in jobs))
            assert finished_calls(provider_url) == {f"j{n}-{call}": 1 for n in range(5) for call in CALLS}
            for job in jobs:
                assert len(get_json(f"{url}/jobs/{job}/usage", KEY)["items"]) == len(CALLS)
            submit(url, "accepted again")


def _until(is_so: Any) -> None:
    until = time.monotonic() + END_SECONDS
    while not is_so():
        assert time.monotonic() < until, f"not so after {END_SECONDS} s"
        time.sleep(0.1)
