"""Settings: read, defaulted, and refused by name."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from callboard.core.config import Settings, SettingsError, load_settings
from callboard.core.limits import RateLimit


class TestLoadSettings:
    def test_needs_nothing(self) -> None:
        settings = load_settings()

        assert (settings.environment, settings.port) == ("development", 8000)
        assert settings.resolved_database_url == "sqlite+aiosqlite:///.callboard/callboard.db"

    def test_reads_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", "9000")
        monkeypatch.setenv("CORS_ORIGINS", "https://a.test, https://b.test,")

        settings = load_settings()

        assert (settings.port, settings.cors_origins) == (9000, ("https://a.test", "https://b.test"))

    def test_takes_an_empty_variable_as_not_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("PORT", "ADMIN_API_KEY", "MODEL_ALIASES", "DATABASE_URL"):
            monkeypatch.setenv(name, "")

        settings = load_settings()

        assert (settings.port, settings.admin_api_key, settings.model_aliases) == (8000, None, {})

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            pytest.param("PORT", "70000", "65535", id="port too large"),
            pytest.param("PORT", "http", "integer", id="port is no number"),
            pytest.param("ENVIRONMENT", "prod", "'development', 'production' or 'test'", id="unknown environment"),
            pytest.param("DATABASE_URL", "mysql://x", "postgresql://", id="unknown database"),
            pytest.param("DATABASE_SCHEMA", 'a"; DROP', "pattern", id="schema that is no name"),
            pytest.param("SECRET_KEY", "short", "32", id="short secret"),
            pytest.param("MODEL_ALIASES", "{", "is no JSON", id="broken JSON"),
            pytest.param("MODEL_ALIASES", "[]", "is a JSON object", id="JSON of the wrong kind"),
            pytest.param("EXTERNAL_SERVICE_PRICING", '{"x": {"cost_unit": -1}}', "zero or more", id="negative price"),
            pytest.param("RATE_LIMIT_PER_KEY", "often", '"600/minute"', id="rate that is none"),
            pytest.param("RATE_LIMIT_PER_USER", "10/fortnight", "off is any number", id="rate of an unknown time"),
            pytest.param("TRUSTED_PROXIES", "10.0.0.1, *", "addresses (10.0.0.7)", id="proxy that is no address"),
            pytest.param("REDIS_URL", "localhost:6379", "redis://host:6379/0", id="Redis without a scheme"),
            pytest.param("REDIS_URL", "redis://localhost:port", "redis://host:6379/0", id="Redis at no port"),
            pytest.param("QUEUE_BACKEND", "celery", "needs BROKER_URL", id="Celery without a broker"),
            pytest.param("QUEUE_BACKEND", "arq", "needs REDIS_URL", id="ARQ without Redis"),
            pytest.param("BROKER_URL", "localhost:5672", "amqp://user:password@host", id="broker without a scheme"),
        ],
    )
    def test_refuses_a_wrong_one_by_name(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
    ) -> None:
        monkeypatch.setenv(name, value)

        with pytest.raises(SettingsError) as caught:
            load_settings()

        assert name in str(caught.value)
        assert said in str(caught.value)

    def test_names_every_wrong_one_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", "-1")
        monkeypatch.setenv("LEASE_SECONDS", "0")

        with pytest.raises(SettingsError) as caught:
            load_settings()

        assert {line.partition(":")[0] for line in str(caught.value).splitlines()} == {"PORT", "LEASE_SECONDS"}

    def test_never_shows_a_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_KEY", "hunter2")
        with pytest.raises(SettingsError) as caught:
            load_settings()
        monkeypatch.setenv("SECRET_KEY", "hunter2" * 8)

        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in repr(load_settings())


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "resolved"),
        [
            ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
            ("postgresql://u@h/d", "postgresql+asyncpg://u@h/d"),
            ("postgresql+asyncpg://u@h/d", "postgresql+asyncpg://u@h/d"),
            ("sqlite:///a.db", "sqlite+aiosqlite:///a.db"),
            ("sqlite+aiosqlite:////a.db", "sqlite+aiosqlite:////a.db"),
            ("", "sqlite+aiosqlite:////srv/home/callboard.db"),
        ],
    )
    def test_gives_the_database_url_the_driver_that_is_used(self, given: str, resolved: str) -> None:
        settings = Settings(database_url=given, callboard_home=Path("/srv/home"))

        assert settings.resolved_database_url == resolved

    @pytest.mark.parametrize(
        ("environment", "log_format", "is_json"),
        [
            ("production", "auto", True),
            ("development", "auto", False),
            ("development", "json", True),
            ("production", "console", False),
        ],
    )
    def test_logs_json_in_production_unless_told_otherwise(
        self, environment: Any, log_format: Any, is_json: bool
    ) -> None:
        assert Settings(environment=environment, log_format=log_format).logs_json is is_json

    def test_takes_the_first_provider_that_has_a_key(self) -> None:
        both = load_settings(openai_api_key="x", anthropic_api_key="y")

        assert (both.provider_with_key(), load_settings().provider_with_key()) == ("anthropic", None)

    def test_limits_nobody_who_has_a_key_unless_told_to(self) -> None:
        settings = load_settings(rate_limit_per_user="100 per 5 minutes")

        assert settings.rate_limit("per_key") is None
        assert settings.rate_limit("per_user") == RateLimit(100, 300)
        assert settings.rate_limit("anonymous") == RateLimit(60, 60)
        assert load_settings(rate_limit_anonymous="OFF").rate_limit("anonymous") is None

    def test_reads_prices_without_losing_digits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EXTERNAL_SERVICE_PRICING", '{"maps": {"cost_unit": 0.123456789012345678}}')

        price = load_settings().price_of("maps")

        assert price is not None
        assert price.call_usd == Decimal("0.123456789012345678")

    def test_describes_every_setting(self) -> None:
        assert [name for name, field in Settings.model_fields.items() if not field.description] == []
