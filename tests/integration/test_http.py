"""What every request meets, whatever it asks for: ids, body limits, error answers, CORS, documentation."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from callboard.core.errors import ConflictError, Finding, ServiceUnavailableError, UnprocessableError
from callboard.core.json_values import dumps
from tests.fixtures.api import ADMIN_KEY, Api, api_settings, open_api, served

KEYS = "/api/v1/api-keys"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    async with open_api(api_settings(sqlite_url, max_body_bytes=1024, cors_origins="https://app.test")) as api:
        yield api


def answer_with(api: Api, error: Exception) -> None:
    """Make `GET /raise` raise `error`."""

    @api.app.get("/raise")
    async def read_nothing() -> None:
        raise error


class TestRequestIds:
    async def test_gives_back_the_callers_own(self, api: Api) -> None:
        response = await api.client.get("/", headers={"X-Request-ID": "order-17"})

        assert response.headers.get_list("x-request-id") == ["order-17"]

    @pytest.mark.parametrize(
        "given", ["", "x" * 129, "two words", "caf\u00e9"], ids=["empty", "long", "space", "8 bit"]
    )
    async def test_makes_one_where_the_callers_cannot_serve(self, api: Api, given: str) -> None:
        response = await api.client.get("/", headers={b"X-Request-ID": given.encode("latin-1")})

        assert len(response.headers["x-request-id"]) == 36

    async def test_is_in_the_answer_to_an_error(self, api: Api) -> None:
        response = await api.client.get("/nowhere", headers={"X-Request-ID": "order-17"})

        assert response.json()["request_id"] == response.headers["x-request-id"] == "order-17"

    async def test_is_in_every_log_line(self, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
        await api.client.post(KEYS, json={"name": "a", "scopes": ["jobs:read"]}, headers={"X-Request-ID": "order-17"})

        lines = [line for line in capsys.readouterr().err.splitlines() if "key.created" in line or "answered" in line]
        assert len(lines) == 2
        assert all("order-17" in line for line in lines)


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "headers", "status", "code"),
        [
            pytest.param(b"{", JSON, 400, "invalid_json", id="not JSON"),
            pytest.param(b"\xff\xfe{}", JSON, 400, "invalid_json", id="not UTF-8"),
            pytest.param('{"name": "a"}'.encode("utf-16-le"), JSON, 400, "invalid_json", id="UTF-16"),
            pytest.param(b"[" * 1000, JSON, 400, "invalid_json", id="nested and unfinished"),
            pytest.param(b"1" * 1000, JSON, 422, "validation_error", id="a number"),
            pytest.param(b"", JSON, 422, "validation_error", id="empty"),
            pytest.param(b"null", JSON, 422, "validation_error", id="null"),
            pytest.param(b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", id="text"),
            pytest.param(b"{}", {}, 415, "unsupported_media_type", id="no content type"),
            pytest.param(b" " * 1025, JSON, 413, "body_too_large", id="one byte too many"),
        ],
    )
    async def test_refuses_what_cannot_be_read(
        self, api: Api, body: bytes, headers: dict[str, str], status: int, code: str
    ) -> None:
        response = await api.client.post(KEYS, content=body, headers=headers)

        assert (response.status_code, response.json()["error"]) == (status, code)
        assert response.headers["content-type"] == "application/problem+json"

    async def test_takes_a_body_of_exactly_the_limit(self, api: Api) -> None:
        body = json.dumps({"name": "a", "scopes": ["jobs:read"]}).ljust(1024).encode()

        response = await api.client.post(KEYS, content=body, headers=JSON)

        assert response.status_code == 201

    async def test_says_how_large_a_body_may_be(self, api: Api) -> None:
        response = await api.client.post(KEYS, content=b" " * 5000, headers=JSON)

        assert "1,024 bytes" in response.json()["detail"]

    async def test_stops_reading_a_body_of_unknown_length(self, sqlite_url: str) -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b" " * 65_536

        async with served(api_settings(sqlite_url)) as (host, port), httpx2.AsyncClient() as client:
            response = await client.post(
                f"http://{host}:{port}{KEYS}", content=endless(), headers=JSON | {"X-API-Key": ADMIN_KEY}
            )

        assert (response.status_code, response.json()["error"]) == (413, "body_too_large")

    async def test_answers_a_declared_length_before_the_body_comes(self, sqlite_url: str) -> None:
        async with served(api_settings(sqlite_url)) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"POST /api/v1/api-keys HTTP/1.1\r\nHost: x\r\nContent-Length: 2097152\r\n\r\n")

            status_line = await asyncio.wait_for(reader.readline(), timeout=5)

            writer.close()
        assert b" 413 " in status_line


class TestProblems:
    async def test_carry_every_member(self, api: Api) -> None:
        answer_with(api, ConflictError("The job is done."))

        response = await api.client.get("/raise", headers={"X-Request-ID": "r-1"})

        assert response.status_code == 409
        assert response.json() == {
            "type": "urn:callboard:problem:conflict",
            "title": "Conflict",
            "status": 409,
            "detail": "The job is done.",
            "instance": "/raise",
            "request_id": "r-1",
            "error": "conflict",
            "message": "The job is done.",
        }

    async def test_list_everything_that_is_wrong(self, api: Api) -> None:
        answer_with(api, UnprocessableError(errors=[Finding("/body/a", "one", "x"), Finding("/body/b", "two", "y")]))

        response = await api.client.get("/raise")

        assert response.json()["errors"] == [
            {"pointer": "/body/a", "message": "one", "code": "x"},
            {"pointer": "/body/b", "message": "two", "code": "y"},
        ]

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            pytest.param(ServiceUnavailableError(retry_after_seconds=7), 503, "service_unavailable", id="unavailable"),
            pytest.param(ConnectionRefusedError("no"), 503, "database_unavailable", id="database away"),
        ],
    )
    async def test_say_when_to_try_again(self, api: Api, error: Exception, status: int, code: str) -> None:
        answer_with(api, error)

        response = await api.client.get("/raise")

        assert (response.status_code, response.json()["error"]) == (status, code)
        assert int(response.headers["retry-after"]) > 0

    async def test_answer_503_from_any_path_while_the_database_is_away(self) -> None:
        away = "postgresql+asyncpg://nobody@127.0.0.1:9/away"

        async with open_api(api_settings(away)) as api:
            response = await api.client.get(KEYS)

        assert (response.status_code, response.json()["error"]) == (503, "database_unavailable")

    async def test_tell_a_value_that_cannot_be_stored(self, api: Api) -> None:
        @api.app.get("/raise")
        async def store_nan() -> str:
            return dumps({"a": float("nan")})

        response = await api.client.get("/raise")

        assert response.status_code == 422
        assert "/a: NaN" in response.json()["detail"]

    @pytest.mark.parametrize("error", [RuntimeError("secret-detail"), FileNotFoundError("secret-detail")])
    async def test_hide_a_crash_and_log_it_once(
        self, api: Api, error: Exception, capsys: pytest.CaptureFixture[str]
    ) -> None:
        answer_with(api, error)

        response = await api.client.get("/raise", headers={"X-Request-ID": "r-9", "Origin": "https://app.test"})

        assert (response.status_code, response.json()["error"]) == (500, "internal_error")
        assert "secret-detail" not in response.text
        assert "Traceback" not in response.text
        assert response.headers["x-request-id"] == "r-9"
        assert response.headers["access-control-allow-origin"] == "https://app.test"
        logged = capsys.readouterr().err
        assert logged.count("Traceback") == 1
        assert "secret-detail" in logged

    async def test_answer_unknown_paths_and_methods(self, api: Api) -> None:
        missing = await api.client.get("/api/v1/nothing")
        wrong = await api.client.patch(KEYS)

        assert (missing.status_code, missing.json()["error"]) == (404, "not_found")
        assert (wrong.status_code, wrong.json()["error"]) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "GET, POST"

    async def test_quote_text_that_is_no_text(self, api: Api) -> None:
        answer_with(api, ConflictError("a \ud800 b"))

        response = await api.client.get("/raise")

        assert response.status_code == 409


class TestCors:
    async def test_lets_a_configured_origin_send_a_key(self, api: Api) -> None:
        response = await api.client.options(
            KEYS,
            headers={
                "Origin": "https://app.test",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "x-api-key,content-type",
            },
        )

        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://app.test"
        assert "x-api-key" in response.headers["access-control-allow-headers"]

    async def test_tells_other_origins_nothing(self, api: Api) -> None:
        response = await api.client.get("/", headers={"Origin": "https://evil.test"})

        assert "access-control-allow-origin" not in response.headers


class TestOpenApi:
    @pytest.fixture
    async def document(self, api: Api) -> dict[str, Any]:
        document: dict[str, Any] = (await api.client.get("/openapi.json")).json()
        return document

    async def test_describes_every_operation(self, document: dict[str, Any]) -> None:
        operations = [each for path in document["paths"].values() for each in path.values()]

        assert all(each["summary"] and each["description"] and each["tags"] for each in operations)
        assert len({each["operationId"] for each in operations}) == len(operations)

    async def test_describes_errors_as_problems_alone(self, document: dict[str, Any]) -> None:
        answers = document["paths"][KEYS]["post"]["responses"]

        assert set(answers) == {"201", "400", "401", "403", "409", "413", "415", "422", "429", "503"}
        assert list(answers["422"]["content"]) == ["application/problem+json"]
        assert "HTTPValidationError" not in document["components"]["schemas"]
        assert "Problem" in document["components"]["schemas"]

    async def test_names_the_header_of_the_key(self, document: dict[str, Any]) -> None:
        scheme = document["components"]["securitySchemes"]["ApiKey"]

        assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-API-Key")
        assert document["paths"][KEYS]["get"]["security"] == [{"ApiKey": []}]
