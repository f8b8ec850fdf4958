"""Which server and which key a command takes, in which order."""

from pathlib import Path

import pytest

from callboard.accounts.operator_keys import API_KEY_FILE
from callboard.cli.connection import KEY_FILE, find_connection
from callboard.core.config import SettingsError

OPERATORS_KEY = "the-key-of-the-application"


@pytest.fixture(autouse=True)
def _home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setenv("CALLBOARD_HOME", str(home))


class TestFindConnection:
    def test_what_was_given_needs_no_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", "many")

        found = find_connection("http://far", "key")

        assert (found.url, found.api_key) == ("http://far", "key")

    def test_wrong_settings_are_refused_where_they_are_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", "many")

        with pytest.raises(SettingsError):
            find_connection(None, "key")

    def test_takes_host_and_port_of_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOST", "0.0.0.0")
        monkeypatch.setenv("PORT", "9000")

        assert find_connection(None, "key").url == "http://127.0.0.1:9000"

    def test_takes_the_key_file(self, home: Path) -> None:
        (home / "api_key").write_text("cb_from-file\n")

        found = find_connection(None, None)

        assert found.api_key == "cb_from-file"
        assert str(home / "api_key") in found.key_source

    def test_the_settings_key_goes_before_the_file(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "api_key").write_text("cb_from-file")
        monkeypatch.setenv("LLM_MICROSERVICE_API_KEY", OPERATORS_KEY)

        assert find_connection(None, None).api_key == OPERATORS_KEY

    def test_the_settings_key_is_not_sent_to_another_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ADMIN_API_KEY", OPERATORS_KEY)

        assert find_connection("http://far", None).api_key is None

    def test_says_where_it_looked_when_there_is_none(self, home: Path) -> None:
        found = find_connection(None, None)

        assert found.api_key is None
        assert str(home / "api_key") in found.key_source

    def test_shows_no_key_when_it_is_printed(self) -> None:
        assert "hidden" not in repr(find_connection("http://far", "hidden"))


class TestKeyFile:
    def test_is_the_one_that_the_server_writes(self) -> None:
        assert KEY_FILE == API_KEY_FILE
