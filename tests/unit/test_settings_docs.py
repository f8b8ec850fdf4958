"""docs/settings.md and .env.example: they hold every setting, and the check sees when they do not."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from callboard.core.config import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_docs", ROOT / "scripts" / "settings_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestReadSettings:
    def test_describes_every_setting(self, script: ModuleType) -> None:
        settings = script.read_settings()

        assert [setting.name.lower() for setting in settings] == list(Settings.model_fields)
        assert all(setting.description and setting.type for setting in settings)

    @pytest.mark.parametrize(
        ("name", "kind", "default", "allowed"),
        [
            pytest.param("PORT", "whole number", "8000", "at least 0, at most 65535", id="a range"),
            pytest.param("LOG_LEVEL", "one of", "INFO", "DEBUG, INFO, WARNING, ERROR", id="a choice"),
            pytest.param("SECRET_KEY", "secret text", "", "at least 32 characters", id="a secret"),
            pytest.param("METRICS_PUBLIC", "true or false", "false", "", id="a flag"),
            pytest.param("CORS_ORIGINS", "texts, separated by commas", "", "", id="a list"),
            pytest.param("MODEL_ALIASES", "JSON object", "", "", id="an object"),
            pytest.param("DEFAULT_LLM_MODEL_NAME", "text", "", "also read as DEFAULT_OPENAI_MODEL_NAME", id="an alias"),
        ],
    )
    def test_tells_type_default_and_what_is_allowed(
        self, script: ModuleType, name: str, kind: str, default: str, allowed: str
    ) -> None:
        (setting,) = [setting for setting in script.read_settings() if setting.name == name]

        assert (setting.type, setting.default, setting.allowed) == (kind, default, allowed)


class TestEnvExample:
    def test_changes_nothing_when_it_is_copied(self, script: ModuleType) -> None:
        lines = script.env_example(script.read_settings()).splitlines()

        assert all(line.startswith("#") for line in lines if line)

    def test_every_default_is_a_value_that_is_accepted(
        self, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        example = script.env_example(script.read_settings())
        names = {setting.name for setting in script.read_settings()}
        lines = [line[1:] for line in example.splitlines() if line[1:].partition("=")[0] in names]
        (tmp_path / ".env").write_text("\n".join(lines), "utf-8")

        settings = Settings(_env_file=tmp_path / ".env")

        assert len(lines) == len(names)
        assert settings == Settings(_env_file=None)


class TestMain:
    def test_writes_both_and_then_finds_them_right(self, script: ModuleType, tmp_path: Path) -> None:
        assert script.main(["--check"], root=tmp_path) == 1
        assert script.main([], root=tmp_path) == 0
        assert script.main(["--check"], root=tmp_path) == 0

    @pytest.mark.parametrize("name", ["docs/settings.md", ".env.example"])
    def test_check_sees_a_change_and_writes_nothing(
        self, script: ModuleType, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script.main([], root=tmp_path)
        (tmp_path / name).write_text("changed", "utf-8")

        code = script.main(["--check"], root=tmp_path)

        assert code == 1
        assert name in capsys.readouterr().out
        assert (tmp_path / name).read_text("utf-8") == "changed"

    def test_those_in_the_repository_are_right(self, script: ModuleType) -> None:
        assert script.stale(script.files(ROOT)) == []
