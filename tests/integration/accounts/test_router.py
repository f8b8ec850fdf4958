"""Keys over HTTP: made, listed, revoked, and who may do so."""

import asyncio
from typing import Any, ClassVar

import pytest

from callboard.core.ids import new_uuid
from tests.fixtures.api import SERVICE_KEY, Api

KEYS = "/api/v1/api-keys"


async def create(api: Api, **fields: Any) -> dict[str, Any]:
    response = await api.client.post(KEYS, json={"name": "shop", "scopes": ["jobs:read"]} | fields)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


class TestCreate:
    async def test_shows_the_key_once(self, api: Api) -> None:
        created = await create(api)

        listed = (await api.client.get(KEYS)).json()

        assert created["key"].startswith("cb_")
        assert created["prefix"] == created["key"][:11]
        assert [item["id"] for item in listed["items"]] == [created["id"]]
        assert created["key"] not in str(listed)
        assert created["created_at"].endswith("Z")

    async def test_makes_a_key_that_works(self, api: Api) -> None:
        created = await create(api)

        async with api.with_key(created["key"]) as client:
            response = await client.get("/api/v1/models")

        assert response.status_code == 200

    async def test_lets_a_tenants_admin_make_keys_of_that_tenant_alone(self, api: Api) -> None:
        acme = await api.new_key("admin", tenant_id="acme")

        async with api.with_key(acme) as client:
            own = await client.post(KEYS, json={"name": "a", "scopes": ["jobs:read"]})
            other = await client.post(KEYS, json={"name": "b", "scopes": ["jobs:read"], "tenant_id": "default"})

        assert (own.status_code, own.json()["tenant_id"]) == (201, "acme")
        assert (other.status_code, other.json()["error"]) == (403, "other_tenant")

    async def test_lets_the_operator_make_keys_of_any_tenant(self, api: Api) -> None:
        created = await create(api, tenant_id="acme", user_id="user-7")

        assert (created["tenant_id"], created["user_id"]) == ("acme", "user-7")

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            pytest.param({"name": ""}, "/body/name", id="empty name"),
            pytest.param({"name": "a\x00b"}, "/body/name", id="NUL"),
            pytest.param({"name": 7}, "/body/name", id="name is a number"),
            pytest.param({"scopes": []}, "/body/scopes", id="no scope"),
            pytest.param({"scopes": ["root"]}, "/body/scopes/0", id="unknown scope"),
            pytest.param({"tenant_id": "../etc"}, "/body/tenant_id", id="tenant with a slash"),
            pytest.param({"user_id": "u" * 256}, "/body/user_id", id="user too long"),
            pytest.param({"colour": "red"}, "/body/colour", id="unknown field"),
            pytest.param({"scopes": ["admin"], "user_id": "u"}, "/body", id="admin of one user"),
        ],
    )
    async def test_says_where_a_field_is_wrong(self, api: Api, fields: dict[str, Any], pointer: str) -> None:
        response = await api.client.post(KEYS, json={"name": "shop", "scopes": ["jobs:read"]} | fields)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]

    async def test_refuses_text_that_is_no_text(self, api: Api) -> None:
        body = b'{"name": "\\ud800", "scopes": ["jobs:read"]}'

        response = await api.client.post(KEYS, content=body, headers={"Content-Type": "application/json"})

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/body/name"


class TestCreateOnce:
    BODY: ClassVar = {"name": "shop", "scopes": ["jobs:read"]}

    async def test_makes_one_key_of_a_repeated_request(self, api: Api) -> None:
        answers = [await api.client.post(KEYS, json=self.BODY, headers={"Idempotency-Key": "a"}) for _ in range(2)]

        first, second = (answer.json() for answer in answers)
        assert [answer.status_code for answer in answers] == [201, 201]
        assert (first["key"] is None, second["key"]) == (False, None)
        assert first | {"key": None} == second

    async def test_makes_one_key_of_requests_in_a_race(self, api: Api) -> None:
        send = [api.client.post(KEYS, json=self.BODY, headers={"Idempotency-Key": "a"}) for _ in range(5)]

        answers = [answer.json() for answer in await asyncio.gather(*send)]

        assert len({answer["id"] for answer in answers}) == 1
        assert sum(answer["key"] is not None for answer in answers) == 1

    async def test_refuses_the_same_idempotency_key_with_another_body(self, api: Api) -> None:
        await api.client.post(KEYS, json=self.BODY, headers={"Idempotency-Key": "a"})

        other = await api.client.post(KEYS, json=self.BODY | {"name": "b"}, headers={"Idempotency-Key": "a"})

        assert (other.status_code, other.json()["error"]) == (409, "idempotency_conflict")

    async def test_keeps_the_idempotency_keys_of_tenants_apart(self, api: Api) -> None:
        await api.client.post(KEYS, json=self.BODY, headers={"Idempotency-Key": "a"})
        acme = await api.new_key("admin", tenant_id="acme")

        async with api.with_key(acme) as client:
            answer = await client.post(KEYS, json=self.BODY, headers={"Idempotency-Key": "a"})

        assert (answer.json()["tenant_id"], answer.json()["key"] is None) == ("acme", False)


class TestList:
    async def test_pages_by_cursor_newest_first(self, api: Api) -> None:
        ids = [(await create(api, name=f"key {number}"))["id"] for number in range(3)]

        first = (await api.client.get(KEYS, params={"limit": 2})).json()
        second = (await api.client.get(KEYS, params={"limit": 2, "cursor": first["next_cursor"]})).json()

        assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
        assert second["next_cursor"] is None

    async def test_takes_an_offset_from_older_clients(self, api: Api) -> None:
        ids = [(await create(api))["id"] for _ in range(2)]

        page = (await api.client.get(KEYS, params={"offset": 1})).json()

        assert [item["id"] for item in page["items"]] == [ids[0]]

    async def test_shows_a_tenants_admin_that_tenant_alone(self, api: Api) -> None:
        await create(api, tenant_id="default")
        acme = await api.new_key("admin", tenant_id="acme")

        async with api.with_key(acme) as client:
            page = (await client.get(KEYS)).json()

        assert {item["tenant_id"] for item in page["items"]} == {"acme"}

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=abc", "offset=-1", "offset=99999999999"]
    )
    async def test_refuses_a_page_that_cannot_be(self, api: Api, query: str) -> None:
        response = await api.client.get(f"{KEYS}?{query}")

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/query/" + query.partition("=")[0]


class TestRevoke:
    async def test_makes_the_key_useless_at_once(self, api: Api) -> None:
        created = await create(api)
        async with api.with_key(created["key"]) as client:
            before = await client.get("/api/v1/models")

            revoked = await api.client.delete(f"{KEYS}/{created['id']}")

            after = await client.get("/api/v1/models")
        assert (before.status_code, revoked.status_code, after.status_code) == (200, 204, 401)

    async def test_changes_nothing_the_second_time(self, api: Api) -> None:
        created = await create(api)
        await api.client.delete(f"{KEYS}/{created['id']}")
        first = (await api.client.get(KEYS)).json()["items"][0]["revoked_at"]

        again = await api.client.delete(f"{KEYS}/{created['id']}")

        assert again.status_code == 204
        assert (await api.client.get(KEYS)).json()["items"][0]["revoked_at"] == first

    async def test_does_not_reach_into_another_tenant(self, api: Api) -> None:
        created = await create(api, tenant_id="default")
        acme = await api.new_key("admin", tenant_id="acme")

        async with api.with_key(acme) as client:
            response = await client.delete(f"{KEYS}/{created['id']}")

        assert (response.status_code, response.json()["error"]) == (404, "api_key_not_found")

    async def test_answers_404_for_a_key_that_never_was(self, api: Api) -> None:
        missing = new_uuid()

        response = await api.client.delete(f"{KEYS}/{missing}")

        assert response.status_code == 404
        assert str(missing) in response.json()["detail"]


class TestAccess:
    @pytest.mark.parametrize(
        ("key", "code"),
        [
            pytest.param(None, "unauthenticated", id="none"),
            pytest.param("wrong", "invalid_api_key", id="wrong"),
            pytest.param("cb_" + "x" * 43, "invalid_api_key", id="well-formed"),
            pytest.param("cb_\u00e4\u00f6", "invalid_api_key", id="not ASCII"),
        ],
    )
    async def test_answers_401_without_a_valid_key(self, api: Api, key: str | None, code: str) -> None:
        async with api.with_key(None) as client:
            headers = {b"X-API-Key": key.encode("latin-1")} if key else {}
            response = await client.get(KEYS, headers=headers)

        assert (response.status_code, response.json()["error"]) == (401, code)
        assert response.headers["www-authenticate"] == "APIKey"

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_answers_403_and_names_the_scope_that_is_missing(self, api: Api, method: str) -> None:
        async with api.with_key(SERVICE_KEY) as client:
            response = await client.request(method, KEYS, json={} if method == "POST" else None)

        assert (response.status_code, response.json()["error"]) == (403, "missing_scope")
        assert "needs a key with the scope admin; this one has jobs:read, jobs:write" in response.json()["detail"]
