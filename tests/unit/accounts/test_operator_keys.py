"""The keys that settings give, those that a first start makes, and what production wants."""

import stat
from pathlib import Path
from typing import Any

import pytest

from callboard.accounts.errors import MissingKeysError
from callboard.accounts.operator_keys import ensure_development_keys, prepare_keys, require_production_keys
from callboard.accounts.scopes import ALL_SCOPES
from callboard.core.config import Settings
from callboard.core.repository import TenantScope

SECRET = "s" * 32
KEY = "k" * 16


def settings(home: Path, **values: Any) -> Settings:
    return Settings(callboard_home=home, **values)


class TestPrepareKeys:
    def test_makes_and_announces_a_key_at_the_first_start_alone(self, tmp_path: Path) -> None:
        said: list[str] = []

        first = prepare_keys(settings(tmp_path), announce=said.append)
        second = prepare_keys(settings(tmp_path), announce=said.append)

        assert first == second
        assert len(said) == 1
        assert first.operator_keys[0].key in said[0]
        assert str(tmp_path / "api_key") in said[0]

    def test_prints_the_new_key_where_no_log_goes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        keys = prepare_keys(settings(tmp_path))

        assert keys.operator_keys[0].key in capsys.readouterr().err

    def test_lets_the_development_key_do_everything(self, tmp_path: Path) -> None:
        [key] = prepare_keys(settings(tmp_path), announce=lambda _: None).operator_keys

        assert (key.caller.scopes, key.caller.tenant) == (ALL_SCOPES, TenantScope.every_tenant())

    def test_makes_no_key_where_one_is_set(self, tmp_path: Path) -> None:
        keys = prepare_keys(settings(tmp_path, admin_api_key=KEY))

        assert [each.key for each in keys.operator_keys] == [KEY]
        assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]

    def test_writes_nothing_where_everything_is_set(self, tmp_path: Path) -> None:
        keys = prepare_keys(settings(tmp_path / "home", admin_api_key=KEY, secret_key=SECRET))

        assert keys.secret_key == SECRET
        assert not (tmp_path / "home").exists()

    def test_gives_each_configured_key_its_own_rights(self, tmp_path: Path) -> None:
        keys = prepare_keys(settings(tmp_path, admin_api_key=KEY, llm_microservice_api_key="service" * 4))

        admin, service = (each.caller for each in keys.operator_keys)
        assert (admin.is_admin, admin.tenant, admin.tenant_id) == (True, TenantScope.every_tenant(), "default")
        assert (service.scopes, service.tenant) == (frozenset({"jobs:read", "jobs:write"}), TenantScope("default"))

    def test_shows_no_secret_in_its_repr(self, tmp_path: Path) -> None:
        keys = prepare_keys(settings(tmp_path, admin_api_key=KEY, secret_key=SECRET))

        assert KEY not in repr(keys)
        assert SECRET not in repr(keys)

    def test_refuses_production_before_anything_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(MissingKeysError):
            prepare_keys(settings(tmp_path, environment="production"))

        assert list(tmp_path.iterdir()) == []


class TestRequireProductionKeys:
    @pytest.mark.parametrize(
        ("values", "missing"),
        [
            pytest.param({}, ["LLM_MICROSERVICE_API_KEY or ADMIN_API_KEY", "SECRET_KEY"], id="both"),
            pytest.param({"secret_key": SECRET}, ["LLM_MICROSERVICE_API_KEY or ADMIN_API_KEY"], id="the key"),
            pytest.param({"admin_api_key": KEY}, ["SECRET_KEY"], id="the secret"),
        ],
    )
    def test_names_each_that_is_missing(self, tmp_path: Path, values: dict[str, Any], missing: list[str]) -> None:
        with pytest.raises(MissingKeysError) as caught:
            require_production_keys(settings(tmp_path, environment="production", **values))

        assert [line.partition(":")[0] for line in str(caught.value).splitlines()[1:]] == missing

    @pytest.mark.parametrize("name", ["admin_api_key", "llm_microservice_api_key"])
    def test_is_content_with_one_key_and_the_secret(self, tmp_path: Path, name: str) -> None:
        require_production_keys(settings(tmp_path, environment="production", secret_key=SECRET, **{name: KEY}))

    @pytest.mark.parametrize("environment", ["development", "test"])
    def test_wants_nothing_elsewhere(self, tmp_path: Path, environment: Any) -> None:
        require_production_keys(settings(tmp_path, environment=environment))


class TestEnsureDevelopmentKeys:
    def test_keeps_both_in_files_that_the_owner_alone_reads(self, tmp_path: Path) -> None:
        keys = ensure_development_keys(tmp_path / "home")

        files = {path.name: path for path in (tmp_path / "home").iterdir()}
        assert {name: stat.S_IMODE(path.stat().st_mode) for name, path in files.items()} == {
            "api_key": 0o600,
            "secret_key": 0o600,
        }
        assert files["api_key"].read_text().strip() == keys.api_key
        assert keys.is_new
        assert not ensure_development_keys(tmp_path / "home").is_new
