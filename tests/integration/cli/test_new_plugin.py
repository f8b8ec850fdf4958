"""`callboard new plugin`: what it makes is installed by pip and works at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from callboard.core.config import Settings

ROOT = Path(__file__).resolve().parents[3]
PIP_OPTIONS = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")


def callboard(folder: Path, *arguments: str, python_path: str = "") -> subprocess.CompletedProcess[str]:
    ours = {name.upper() for name in Settings.model_fields} | {"FORCE_COLOR"}
    environment = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), python_path]))
    command = [sys.executable, "-m", "callboard.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new package in it."""
    folder = tmp_path_factory.mktemp("code")
    callboard(folder, "new", "plugin", "acme_tools").check_returncode()
    return folder


class TestPlugin:
    def test_what_it_makes_is_installed_and_passes_its_test(self, made: Path, tmp_path: Path) -> None:
        site = str(tmp_path / "site")
        pip = [sys.executable, "-m", "pip", "install", *PIP_OPTIONS, "--target", site, str(made / "acme_tools")]
        subprocess.run(pip, check=True)

        listed: Any = json.loads(callboard(made, "plugins", "--json", python_path=site).stdout)
        tested = callboard(made, "test", "acme_tools", "--json", python_path=site)

        assert [(item["name"], item["problem"]) for item in listed["items"]] == [
            ("acme_tools_catalogue", None),
            ("acme_tools_initials", None),
            ("acme_tools_pick", None),
        ]
        assert json.loads(tested.stdout)["passed"] == 2, tested.stdout

    def test_fills_in_every_word(self, made: Path) -> None:
        texts = [path.read_text("utf-8") for path in (made / "acme_tools").rglob("*") if path.is_file()]

        assert texts
        assert not any(word in text for text in texts for word in ("__NAME__", "__UPPER__", "__DISTRIBUTION__"))

    def test_overwrites_nothing(self, made: Path) -> None:
        again = callboard(made, "new", "plugin", "acme_tools")

        assert again.returncode == 6
        assert "Not overwritten" in again.stderr

    @pytest.mark.parametrize("name", ["acme-tools", "../out", "Acme"])
    def test_refuses_what_python_cannot_import(self, made: Path, name: str) -> None:
        refused = callboard(made, "new", "plugin", name)

        assert refused.returncode == 2
        assert "small letters" in refused.stderr
