"""Dry runs and diagrams without any network at all: in a namespace of their own, where not even loopback is up."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from callboard.core.config import Settings

ROOT = Path(__file__).resolve().parents[3]
NO_NETWORK = ["unshare", "--net"]
INPUTS = {
    "hello": "hello.json",
    "emergency_contacts": "emergency_contacts.seattle.json",
    "mission_generation": "mission_generation.portland.json",
}


def may_unshare() -> bool:
    """Return whether this process may make a network namespace."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NO_NETWORK, "true"], check=False, capture_output=True).returncode == 0


def callboard_without_network(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with live providers set up and no way to reach them."""
    ours = {name.upper() for name in Settings.model_fields}
    environment = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    environment |= {
        "PYTHONPATH": str(ROOT / "src"),
        "CALLBOARD_HOME": str(home),
        "OPENROUTER_API_KEY": "sk-live",
        "GOOGLE_PLACES_API_KEY": "live",
    }
    return subprocess.run(
        [*NO_NETWORK, sys.executable, "-m", "callboard.cli.main", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=60,
    )


@pytest.mark.skipif(not may_unshare(), reason="a network namespace takes root and unshare(1)")
class TestWithoutNetwork:
    def test_there_is_none(self) -> None:
        code = "import socket; socket.create_connection(('127.0.0.1', 1), 1)"

        done = subprocess.run([*NO_NETWORK, sys.executable, "-c", code], check=False, capture_output=True, text=True)

        assert "Network is unreachable" in done.stderr

    @pytest.mark.parametrize("name", INPUTS)
    def test_a_dry_run_tells_everything(self, name: str, tmp_path: Path) -> None:
        path = ROOT / "workflows" / "inputs" / INPUTS[name]

        done = callboard_without_network("dry-run", name, "--input", str(path), "--json", home=tmp_path)

        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["valid"] is True
        assert found["cost_usd"]["low"] <= found["cost_usd"]["likely"] <= found["cost_usd"]["high"]
        assert found["estimated_cost_usd"] > 0
        assert "openrouter" in done.stdout  # who would be asked is the live provider

    def test_a_diagram_is_drawn(self, tmp_path: Path) -> None:
        done = callboard_without_network("diagram", "emergency_contacts", home=tmp_path)

        assert (done.returncode, done.stderr) == (0, "")
