"""`uvicorn callboard.main:app`: the whole application, started as an operator does."""

import httpx2
import pytest

from callboard import main
from tests.fixtures.api import ADMIN_KEY, api_settings


class TestApp:
    def test_says_what_production_misses_and_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENVIRONMENT", "production")

        with pytest.raises(SystemExit, match="SECRET_KEY"):
            _ = main.app

    def test_names_a_wrong_setting_and_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", "x")

        with pytest.raises(SystemExit, match="PORT"):
            _ = main.app

    def test_has_nothing_else_that_is_made_when_asked_for(self) -> None:
        with pytest.raises(AttributeError):
            _ = main.application


class TestCreateApp:
    async def test_serves_every_domain_with_the_real_services(self, database_url: str) -> None:
        app = main.create_app(api_settings(database_url))
        transport = httpx2.ASGITransport(app=app)

        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://t", headers={"X-API-Key": ADMIN_KEY}) as client,
        ):
            paths = ("/health", "/metrics", "/api/v1/models", "/api/v1/workflows", "/api/v1/jobs", "/api/v1/api-keys")
            answers = {path: (await client.get(path)).status_code for path in paths}

        assert answers == dict.fromkeys(paths, 200)
