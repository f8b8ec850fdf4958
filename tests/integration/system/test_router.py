"""The server about itself, over HTTP."""

from pathlib import Path

import pytest

from callboard.core.telemetry import QueueNumbers
from callboard.workflows.findings import WorkflowFinding
from tests.fixtures.api import SERVICE_KEY, Api, BrokenFile, api_settings, open_api

AWAY = "postgresql+asyncpg://nobody@127.0.0.1:9/away"  # port 9: nothing listens there


class TestAbout:
    async def test_says_where_to_go_on_without_a_key(self, api: Api) -> None:
        async with api.with_key(None) as client:
            response = await client.get("/")

        assert response.status_code == 200
        assert (response.json()["docs"], response.json()["health"]) == ("/docs", "/health")


class TestHealth:
    @pytest.mark.parametrize("path", ["/health", "/api/v1/health"])
    async def test_is_healthy_and_open(self, api: Api, path: str) -> None:
        async with api.with_key(None) as client:
            response = await client.get(path)

        assert response.status_code == 200
        assert response.json() == {
            "status": "healthy",
            "version": "0.1.0",
            "services": {
                "database": "healthy",
                "redis": "not_configured",
                "broker": "not_configured",
                "queue": "healthy",
                "workers": {"count": 1},
                "workflows": {"count": 1, "broken": []},
            },
        }

    async def test_is_degraded_and_names_the_file_when_a_workflow_is_broken(self, api: Api) -> None:
        finding = WorkflowFinding(pointer="", message="Expecting ',' delimiter.", file="draft.json", line=3, column=5)
        api.services.workflow_files.unusable = [BrokenFile(Path("/srv/workflows/draft.json"), (finding,))]

        response = await api.client.get("/health")

        assert (response.status_code, response.json()["status"]) == (200, "degraded")
        assert response.json()["services"]["workflows"]["broken"] == [
            {"file": "draft.json", "message": "draft.json:3:5: Expecting ',' delimiter."}
        ]

    async def test_is_degraded_when_nobody_runs_jobs(self, api: Api) -> None:
        api.services.queue.numbers = QueueNumbers(workers=0, depth=3, oldest_seconds=9.0)

        health = (await api.client.get("/health")).json()

        assert (health["status"], health["services"]["queue"]) == ("degraded", "no_workers")

    async def test_is_degraded_when_the_queue_cannot_be_read(self, api: Api) -> None:
        api.services.queue.numbers = RuntimeError("no such table")

        health = (await api.client.get("/health")).json()

        assert (health["status"], health["services"]["queue"]) == ("degraded", "unhealthy")

    async def test_is_degraded_when_a_configured_redis_is_away(self, sqlite_url: str) -> None:
        async with open_api(api_settings(sqlite_url, redis_url="redis://127.0.0.1:9/0")) as api:
            health = (await api.client.get("/health")).json()

        assert (health["status"], health["services"]["redis"]) == ("degraded", "unhealthy")

    async def test_is_unhealthy_with_503_when_the_database_is_away(self) -> None:
        async with open_api(api_settings(AWAY)) as api:
            response = await api.client.get("/health")

        assert (response.status_code, response.json()["status"]) == (503, "unhealthy")
        assert response.json()["services"]["database"] == "unhealthy"


class TestLiveness:
    async def test_answers_while_the_database_is_away(self) -> None:
        async with open_api(api_settings(AWAY)) as api:
            response = await api.client.get("/health/live")

        assert (response.status_code, response.json()) == (200, {"status": "alive"})


class TestReadiness:
    async def test_answers_200_with_a_database(self, api: Api) -> None:
        assert (await api.client.get("/health/ready")).status_code == 200

    async def test_answers_503_while_the_database_is_away(self) -> None:
        async with open_api(api_settings(AWAY)) as api:
            response = await api.client.get("/health/ready")

        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0


class TestMetrics:
    async def test_shows_the_queue_as_the_database_has_it(self, api: Api) -> None:
        response = await api.client.get("/metrics")

        assert response.headers["content-type"].startswith("text/plain")
        assert 'callboard_jobs{status="queued",workflow="hello"} 2.0' in response.text
        assert "callboard_queue_depth 2.0" in response.text

    async def test_answers_while_the_queue_cannot_be_read(self, api: Api) -> None:
        api.services.queue.numbers = RuntimeError("away")

        assert (await api.client.get("/metrics")).status_code == 200

    @pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong", 401), (SERVICE_KEY, 403)])
    async def test_is_for_admins(self, api: Api, key: str | None, status: int) -> None:
        async with api.with_key(key) as client:
            assert (await client.get("/metrics")).status_code == status

    async def test_is_open_when_the_setting_says_so(self, sqlite_url: str) -> None:
        async with open_api(api_settings(sqlite_url, metrics_public=True)) as api, api.with_key(None) as client:
            assert (await client.get("/metrics")).status_code == 200


class TestModels:
    async def test_lists_models_with_prices_as_numbers(self, api: Api) -> None:
        models = (await api.client.get("/api/v1/models")).json()

        assert models["providers"] == ["openai", "sandbox"]
        assert models["total"] == len(models["items"]) > 0
        assert {type(item["input_usd_per_million"]) for item in models["items"]} == {float}

    async def test_lists_one_providers_models(self, api: Api) -> None:
        models = (await api.client.get("/api/v1/models", params={"provider": "sandbox"})).json()

        assert {item["provider"] for item in models["items"]} <= {"sandbox"}

    async def test_needs_a_key(self, api: Api) -> None:
        async with api.with_key(None) as client:
            assert (await client.get("/api/v1/models")).status_code == 401
