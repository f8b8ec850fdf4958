"""`callboard settings`: values with where they come from, and no secret among them."""

from pathlib import Path

import pytest

from callboard.core.config import Settings
from tests.unit.cli.conftest import Command


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings.ini in the folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLBOARD_CONFIG_DIR", ".")
    path = tmp_path / "settings.ini"
    path.write_text(
        "[server]\nport = 9000\n[keys]\nadmin_api_key = s3cret-of-the-operator\n"
        "[database]\nurl = postgresql://app:s3cret@db/callboard\n[llm]\nopenai_api_key = s3cret\n"
    )
    return path


class TestSettings:
    def test_shows_each_with_where_it_comes_from(
        self, command: Command, written: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOST", "0.0.0.0")

        ran = command("settings", "--json")

        shown = {each["name"]: each for each in ran.json["settings"]}
        assert set(shown) == {name.upper() for name in Settings.model_fields}
        assert shown["PORT"] == {"name": "PORT", "value": 9000, "from": "settings.ini, line 2, [server] port"}
        assert shown["HOST"] == {"name": "HOST", "value": "0.0.0.0", "from": "the environment"}
        assert shown["LEASE_SECONDS"] == {"name": "LEASE_SECONDS", "value": 60, "from": "default"}

    def test_names_the_files_it_looked_for(self, command: Command, written: Path) -> None:
        ran = command("settings", "--json")

        assert ran.json["environment"] == "development"
        assert ran.json["files"] == [
            {"path": "settings.development.ini", "exists": False},
            {"path": "settings.ini", "exists": True},
        ]

    @pytest.mark.parametrize("options", [(), ("--json",)], ids=["for people", "for programs"])
    def test_shows_no_secret(self, command: Command, written: Path, options: tuple[str, ...]) -> None:
        ran = command("settings", *options)

        assert ran.exit_code == 0
        assert "s3cret" not in ran.stdout + ran.stderr
        assert "postgresql://***@db/callboard" in ran.stdout

    def test_can_show_what_was_given_alone(self, command: Command, written: Path) -> None:
        ran = command("settings", "--given", "--json")

        names = {each["name"] for each in ran.json["settings"]}
        assert names >= {"PORT", "DATABASE_URL", "CALLBOARD_HOME"}
        assert "LEASE_SECONDS" not in names

    def test_can_show_those_with_a_word_in_their_name(self, command: Command, written: Path) -> None:
        ran = command("settings", "LOG")

        assert "LOG_LEVEL" in ran.stdout
        assert "PORT" not in ran.stdout

    def test_says_so_when_there_is_none_of_that_name(self, command: Command, written: Path) -> None:
        ran = command("settings", "nothing-like-it")

        assert "No such settings" in ran.stdout

    def test_tells_a_mistake_in_a_file(self, command: Command, written: Path) -> None:
        written.write_text("[server]\nprot = s3cret\n")

        ran = command("settings")

        assert ran.exit_code == 2
        assert "settings.ini, line 2, [server] prot: there is no setting of that name. Did you mean PORT?" in ran.stderr
        assert "s3cret" not in ran.stderr
