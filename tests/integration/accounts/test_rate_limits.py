"""Rate limits over HTTP: headers, 429, who shares what, and what stays open."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fixtures.api import ADMIN_KEY, SECRET_KEY, SERVICE_KEY, Api, api_settings, open_api, served
from tests.fixtures.processes import environment_of, free_port, process, wait_until_ready
from tests.fixtures.redis_server import private_redis
from tests.fixtures.server import eventually, running_app, say, workflow

MODELS = "/api/v1/models"
HEADERS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


@asynccontextmanager
async def server(database_url: str, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client with the operator's key of an API on a real port."""
    async with (
        served(api_settings(database_url, **settings)) as (host, port),
        httpx2.AsyncClient(base_url=f"http://{host}:{port}", headers={"X-API-Key": ADMIN_KEY}) as client,
    ):
        yield client


def rates(response: httpx2.Response) -> tuple[int, ...]:
    """Return limit, remaining and reset of an answer."""
    return tuple(int(response.headers[name]) for name in HEADERS)


class TestPerKey:
    async def test_tells_what_is_left_and_then_refuses(self, sqlite_url: str) -> None:
        async with server(sqlite_url, rate_limit_per_key="3/day") as client:
            answers = [await client.get(MODELS) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [rates(answer)[:2] for answer in answers] == [(3, 2), (3, 1), (3, 0), (3, 0)]
        assert all(0 < rates(answer)[2] <= 86_400 for answer in answers)
        problem = answers[3].json()
        assert answers[3].headers["content-type"] == "application/problem+json"
        assert (problem["error"], problem["status"]) == ("too_many_requests", 429)
        assert "This key has made as many requests as it may (3). Try again in" in problem["detail"]
        assert 0 < int(answers[3].headers["retry-after"]) <= 86_400

    async def test_lets_in_again_when_the_window_has_passed(self, sqlite_url: str) -> None:
        async with server(sqlite_url, rate_limit_per_key="2/second") as client:
            while (refused := await client.get(MODELS)).status_code == 200:
                pass
            began = time.monotonic()
            answer = await eventually(lambda: client.get(MODELS), until=lambda answer: answer.status_code != 429)
            waited = time.monotonic() - began

        assert refused.headers["retry-after"] == "1"
        assert answer.status_code == 200
        assert waited < 2

    async def test_another_key_is_not_concerned(self, sqlite_url: str) -> None:
        async with server(sqlite_url, rate_limit_per_key="1/day") as client:
            await client.get(MODELS)
            refused = await client.get(MODELS)
            other = await client.get(MODELS, headers={"X-API-Key": SERVICE_KEY})

        assert (refused.status_code, other.status_code) == (429, 200)

    async def test_headers_stand_on_errors_too(self, sqlite_url: str) -> None:
        async with server(sqlite_url, rate_limit_per_key="5/day") as client:
            invalid = await client.post("/api/v1/api-keys", json={})
            forbidden = await client.get("/api/v1/api-keys", headers={"X-API-Key": SERVICE_KEY})

        assert (invalid.status_code, rates(invalid)[:2]) == (422, (5, 4))
        assert (forbidden.status_code, rates(forbidden)[:2]) == (403, (5, 4))

    async def test_machines_that_watch_are_not_counted(self, sqlite_url: str) -> None:
        paths = (
            "/",
            "/health",
            "/api/v1/health",
            "/health/live",
            "/health/ready",
            "/metrics",
            "/docs",
            "/openapi.json",
        )
        async with server(sqlite_url, rate_limit_per_key="1/day", rate_limit_anonymous="1/day") as client:
            answers = [await client.get(path) for path in paths for _ in range(3)]

        assert {answer.status_code for answer in answers} == {200}
        assert not any(name in answer.headers for answer in answers for name in HEADERS)

    async def test_nothing_is_told_where_nothing_is_limited(self, sqlite_url: str) -> None:
        async with server(sqlite_url) as client:
            answer = await client.get(MODELS)

        assert answer.status_code == 200
        assert not any(name in answer.headers for name in HEADERS)


class TestPerUser:
    @pytest.fixture
    async def api(self, sqlite_url: str) -> AsyncIterator[Api]:
        async with open_api(api_settings(sqlite_url, rate_limit_per_user="2/day")) as api:
            yield api

    async def test_is_counted_over_all_keys_of_the_user(self, api: Api) -> None:
        keys = [await api.new_key("jobs:read", user_id="ada") for _ in range(3)]
        keys.append(await api.new_key("jobs:read", user_id="bob"))

        statuses = []
        for key in keys:
            async with api.with_key(key) as client:
                statuses.append((await client.get(MODELS)).status_code)

        assert statuses == [200, 200, 429, 200]

    async def test_does_not_concern_keys_without_a_user(self, api: Api) -> None:
        statuses = [(await api.client.get(MODELS)).status_code for _ in range(5)]

        assert statuses == [200] * 5

    async def test_counts_submits_that_name_the_user(self, sqlite_url: str, tmp_path: Path) -> None:
        async with running_app(sqlite_url, tmp_path, rate_limit_per_user="2/day") as app:
            app.files.write(workflow("echo", [say("step", "hello")]))
            bound = await app.new_key("jobs:read", "jobs:write", user_id="ada")

            answers = [
                await app.post_job("echo", user_id="ada"),
                await app.post_job("echo", user_id="ada", by=bound),
                await app.post_job("echo", user_id="ada"),
                await app.post_job("echo", user_id="bob"),
            ]

        assert [answer.status_code for answer in answers] == [202, 202, 429, 202]
        assert [rates(answer)[1] for answer in answers] == [1, 0, 0, 1]
        assert "This user" in answers[2].json()["detail"]


class TestAnonymous:
    async def test_guesses_are_refused_and_callers_of_before_are_not(self, sqlite_url: str) -> None:
        async with server(sqlite_url, rate_limit_anonymous="3/day") as client:
            before = await client.get(MODELS)
            guesses = [await client.get(MODELS, headers={"X-API-Key": f"cb_guess-{number}"}) for number in range(4)]
            without = await client.get(MODELS, headers={"X-API-Key": ""})
            right_guess = await client.get(MODELS, headers={"X-API-Key": SERVICE_KEY})
            after = await client.get(MODELS)

        assert [answer.status_code for answer in guesses] == [401, 401, 401, 429]
        assert [rates(answer)[:2] for answer in guesses] == [(3, 2), (3, 1), (3, 0), (3, 0)]
        assert (without.status_code, right_guess.status_code) == (429, 429)
        assert (before.status_code, after.status_code) == (200, 200)
        assert "Try again in" in guesses[3].json()["detail"]

    async def test_guesses_at_the_metrics_count(self, sqlite_url: str) -> None:
        async with server(sqlite_url, rate_limit_anonymous="1/day") as client:
            statuses = [(await client.get("/metrics", headers={"X-API-Key": "x"})).status_code for _ in range(2)]

        assert statuses == [401, 429]

    @pytest.mark.parametrize(
        ("proxies", "statuses"),
        [
            pytest.param("", [401, 429, 429], id="a header that anybody can write"),
            pytest.param("10.0.0.0/8", [401, 429, 429], id="from somebody else than the proxy"),
            pytest.param("127.0.0.1", [401, 401, 401], id="from the proxy"),
        ],
    )
    async def test_forwarded_addresses_count_from_trusted_proxies_alone(
        self, sqlite_url: str, proxies: str, statuses: list[int]
    ) -> None:
        async with server(sqlite_url, rate_limit_anonymous="1/day", trusted_proxies=proxies) as client:
            answers = [
                await client.get(MODELS, headers={"X-API-Key": "x", "X-Forwarded-For": f"198.51.100.{number}"})
                for number in range(3)
            ]

        assert [answer.status_code for answer in answers] == statuses


@contextmanager
def api_process(folder: Path, **settings: Any) -> Iterator[str]:
    """Run `callboard serve` and give its URL."""
    port = free_port()
    settings |= {
        "database_url": f"sqlite:///{folder / f'{port}.db'}",
        "callboard_home": folder,
        "admin_api_key": ADMIN_KEY,
        "secret_key": SECRET_KEY,
        "port": port,
        "log_level": "ERROR",
    }
    with process("-m", "callboard.cli.main", "serve", "--no-worker", environment=environment_of(settings)) as running:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, running)
        yield url


class TestProcesses:
    def test_count_together_in_redis_and_alone_without_it(self, tmp_path: Path) -> None:
        headers = {"X-API-Key": ADMIN_KEY}
        with private_redis() as redis, ExitStack() as stack:
            shared = {"redis_url": redis.url, "rate_limit_per_key": "3/day"}
            one, other = (stack.enter_context(api_process(tmp_path, **shared)) for _ in range(2))
            client = stack.enter_context(httpx2.Client(headers=headers))

            together = [client.get(url + MODELS).status_code for url in (one, other, one, other, one)]
            redis.stop()
            alone = [client.get(url + MODELS).status_code for url in (one, one, one, one, other)]

        assert together == [200, 200, 200, 429, 429]
        assert alone == [200, 200, 200, 429, 200]

    def test_do_not_believe_forwarded_addresses(self, tmp_path: Path) -> None:
        with api_process(tmp_path, rate_limit_anonymous="1/day") as url, httpx2.Client() as client:
            answers = [client.get(url + MODELS, headers={"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(2)]

        assert [answer.status_code for answer in answers] == [401, 429]


class TestOpenApi:
    async def test_tells_429_and_the_headers_wherever_a_key_is_needed(self, sqlite_url: str) -> None:
        async with open_api(api_settings(sqlite_url)) as api:
            document = (await api.client.get("/openapi.json")).json()

        operations = [operation for path in document["paths"].values() for operation in path.values()]
        with_key = [operation for operation in operations if "security" in operation]
        assert len(with_key) > 5
        for operation in operations:
            assert ("429" in operation["responses"]) == ("security" in operation)
        for answer in (answer for operation in with_key for answer in operation["responses"].values()):
            assert set(answer["headers"]) >= {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
        assert "Retry-After" in with_key[0]["responses"]["429"]["headers"]
        assert set(document["components"]["headers"]) == {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
