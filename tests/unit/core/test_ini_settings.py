"""Settings from ini files: which file wins, what keys mean, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from callboard.core.config import Settings, SettingsError, load_settings
from callboard.core.ini_settings import NAMES_OF_LATER_SETTINGS
from callboard.core.settings_origins import find_origins

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write settings.ini, or the one of an environment, in the folder in which Callboard is started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CALLBOARD_CONFIG_DIR", raising=False)

    def write(text: str, environment: str = "") -> None:
        Path(f"settings.{environment}.ini" if environment else "settings.ini").write_text(text)

    return write


def refused() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


class TestPrecedence:
    def test_each_source_wins_over_the_ones_below(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(Settings.model_config, "env_file", ".env")
        names = ("app_name", "app_description", "app_version", "database_schema", "host")
        write("[x]\n" + "".join(f"{name} = base\n" for name in names))
        write("[x]\n" + "".join(f"{name} = mine\n" for name in names[:4]), "development")
        Path(".env").write_text("".join(f"{name.upper()}=dotenv\n" for name in names[:3]))
        for name in names[:2]:
            monkeypatch.setenv(name.upper(), "environment")

        settings = load_settings(app_name="given")

        assert [getattr(settings, name) for name in names] == ["given", "environment", "dotenv", "mine", "base"]

    @pytest.mark.parametrize("source", ["environment", ".env", "settings.ini"])
    def test_environment_names_the_second_file(
        self, write: Write, monkeypatch: pytest.MonkeyPatch, source: str
    ) -> None:
        write("[app]\nenvironment = ${CHOSEN:-development}\n")
        write("[app]\nname = for tests\n", "test")
        write("[app]\nname = for developers\n", "development")
        if source == "environment":
            monkeypatch.setenv("ENVIRONMENT", "test")
        elif source == ".env":
            monkeypatch.setitem(Settings.model_config, "env_file", ".env")
            Path(".env").write_text("ENVIRONMENT=test\n")
        else:
            monkeypatch.setenv("CHOSEN", "test")

        settings = load_settings()

        assert (settings.environment, settings.app_name) == ("test", "for tests")

    def test_takes_development_without_a_word(self, write: Write) -> None:
        write("[app]\nname = for developers\n", "development")

        assert load_settings().app_name == "for developers"

    def test_an_empty_value_is_not_given(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", "")
        write("[app]\nport = 9000\nname = base\n")
        write("[app]\nport =\nname = ${NOBODY_SETS_THIS:-}\n", "development")

        settings = load_settings()

        assert (settings.port, settings.app_name) == (9000, "base")

    def test_an_alias_in_the_environment_wins_over_the_name_in_a_file(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEFAULT_OPENAI_MODEL_NAME", "from the environment")
        write("[llm]\ndefault_llm_model_name = from the file\n")

        assert load_settings().default_llm_model_name == "from the environment"

    def test_a_variable_of_an_entry_that_is_not_used_need_not_be_set(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_NAME", "environment")
        write("[x]\napp_name = ${NOT_SET}\napp_description = ${NOT_SET}\n")
        write("[x]\napp_description = mine\n", "development")

        settings = load_settings()

        assert (settings.app_name, settings.app_description) == ("environment", "mine")

    def test_variables_come_from_the_dotenv_file_too(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(Settings.model_config, "env_file", ".env")
        Path(".env").write_text("NAME_OF_MINE=from dotenv\n")
        write("[app]\nname = ${NAME_OF_MINE}\n")

        assert load_settings().app_name == "from dotenv"


class TestFolder:
    def test_is_named_by_a_setting(self, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        write("[app]\nname = here\n")
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "settings.ini").write_text("[app]\nname = there\n")
        monkeypatch.setenv("CALLBOARD_CONFIG_DIR", str(tmp_path / "etc"))

        assert load_settings().app_name == "there"

    def test_has_to_be_there(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("CALLBOARD_CONFIG_DIR", str(tmp_path / "nowhere"))

        assert refused() == f"CALLBOARD_CONFIG_DIR: there is no folder {tmp_path / 'nowhere'}."

    @pytest.mark.parametrize("environment", ["../other", "prod"])
    def test_an_unknown_environment_is_no_part_of_a_path(
        self, write: Write, monkeypatch: pytest.MonkeyPatch, environment: str
    ) -> None:
        monkeypatch.setenv("ENVIRONMENT", environment)
        write("[a]\nnothing_of_ours = 1\n", "prod")

        assert refused().startswith("ENVIRONMENT: Input should be 'development', 'production' or 'test'")


class TestKeys:
    @pytest.mark.parametrize(
        ("text", "name", "value"),
        [
            pytest.param("[anything]\nApp_Name = x", "app_name", "x", id="the name in any case"),
            pytest.param("[database]\nurl = sqlite:///x.db", "database_url", "sqlite:///x.db", id="rest of the name"),
            pytest.param("[Google Places]\nbase-url = http://x", "google_places_base_url", "http://x", id="words"),
            pytest.param("[llm]\ndefault_openai_model_name = m", "default_llm_model_name", "m", id="an alias"),
            pytest.param("[database]\ndatabase_schema = s", "database_schema", "s", id="section said twice"),
            pytest.param("[server]\nport = 9000", "port", 9000, id="a number"),
            pytest.param("[server]\nmetrics_public = yes", "metrics_public", True, id="a flag"),
            pytest.param(
                "[cors]\norigins = https://a, https://b", "cors_origins", ("https://a", "https://b"), id="list"
            ),
            pytest.param('[llm]\nmodel_aliases = {\n  "a": "b"}', "model_aliases", {"a": "b"}, id="JSON in lines"),
        ],
    )
    def test_mean_a_setting(self, write: Write, text: str, name: str, value: object) -> None:
        write(text)

        assert getattr(load_settings(), name) == value

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            pytest.param(
                "[llm]\nopenruter_api_key = s3cret",
                "settings.ini, line 2, [llm] openruter_api_key: there is no setting of that name. "
                "Did you mean OPENROUTER_API_KEY?",
                id="a typo",
            ),
            pytest.param("[database]\nurll = s3cret", "Did you mean DATABASE_URL?", id="a typo after the section"),
            pytest.param("[x]\nzzzz = s3cret", "`callboard settings` lists all", id="nothing like it"),
            pytest.param(
                "[database]\nurl = sqlite:///s3cret\n[db]\ndatabase_url = x",
                "line 4, [db] database_url: DATABASE_URL is set in line 2 already",
                id="set twice",
            ),
            pytest.param("[x]\ncallboard_config_dir = s3cret", "cannot stand in it", id="the folder of the file"),
            pytest.param("[database]\nhost = s3cret", "HOST is where Callboard itself listens", id="database's host"),
            pytest.param("[redis]\nport = 6379", "Where redis is, its URL says", id="port of Redis"),
            pytest.param("[x]\napp_name = ${NOT_SET}", "variable NOT_SET is not set", id="unset variable"),
        ],
    )
    def test_are_refused_by_place_without_the_value(self, write: Write, text: str, said: str) -> None:
        write(text)

        message = refused()

        assert said in message
        assert "s3cret" not in message

    def test_every_mistake_is_told_at_once(self, write: Write) -> None:
        write("[x]\naa_one = 1\nbb_two = 1\n")
        write("[x]\ncc_three = 1\n", "development")

        assert [line.partition(":")[0] for line in refused().splitlines()] == [
            "settings.development.ini, line 2, [x] cc_three",
            "settings.ini, line 2, [x] aa_one",
            "settings.ini, line 3, [x] bb_two",
        ]

    def test_a_wrong_value_is_told_with_its_place(self, write: Write) -> None:
        write("[server]\nport = http\n[keys]\nsecret_key = s3cret\n")

        message = refused()

        assert "PORT: Input should be a valid integer" in message
        assert "(from settings.ini, line 2, [server] port)" in message
        assert "(from settings.ini, line 4, [keys] secret_key)" in message
        assert "s3cret" not in message

    def test_names_of_later_settings_are_no_settings_yet(self, write: Write) -> None:
        write("[webhooks]\nllm_webhook_secret = shared-secret\n")

        load_settings()

        assert not NAMES_OF_LATER_SETTINGS & set(Settings.model_fields)


class TestFindOrigins:
    def test_tells_where_each_comes_from(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(Settings.model_config, "env_file", ".env")
        Path(".env").write_text("HOST=0.0.0.0\n")
        monkeypatch.setenv("DEFAULT_OPENAI_MODEL_NAME", "m")
        write("[server]\nport = 9000\nhost = x\n")

        assert find_origins(Settings, {"app_name": "x"}) == {
            "app_name": "this command",
            "default_llm_model_name": "the environment",
            "host": ".env",
            "port": "settings.ini, line 2, [server] port",
        }


class TestExamples:
    """The files under deploy/ that an operator starts from."""

    @pytest.fixture(autouse=True)
    def _folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CALLBOARD_CONFIG_DIR", str(DEPLOY))

    def test_work_on_a_developers_machine_without_anything_else(self) -> None:
        settings = load_settings()

        assert (settings.environment, settings.log_level, settings.port) == ("development", "DEBUG", 8000)
        assert settings.database_url == ""
        assert settings.price_of("google_places") is not None

    def test_tell_what_production_misses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENVIRONMENT", "production")

        message = refused()

        assert "[database] url: the environment variable DATABASE_URL is not set" in message
        assert "[security] secret_key: the environment variable SECRET_KEY is not set" in message

    def test_work_in_production_with_the_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        variables = {
            "ENVIRONMENT": "production",
            "DATABASE_URL": "postgresql://u:p@db/callboard",
            "SECRET_KEY": "x" * 32,
            "LLM_MICROSERVICE_API_KEY": "k" * 16,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

        settings = load_settings()

        assert (settings.host, settings.logs_json, settings.shutdown_grace_seconds) == ("0.0.0.0", True, 130)
        assert settings.database_url == variables["DATABASE_URL"]
