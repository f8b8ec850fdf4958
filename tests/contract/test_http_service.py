"""What every variant of the service `http` keeps: live against a real HTTP server, replay, sandbox."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from callboard.core.errors import PermanentError, StepError, TemporaryError
from callboard.core.json_values import dumps
from callboard.core.pricing import UnitPrice
from callboard.core.replay import RecordedAnswers
from callboard.core.url_guard import AllowedHosts, UrlRefusedError
from callboard.integrations.errors import (
    ReplayMissError,
    ServiceAnswerError,
    ServiceAnswerUnusableError,
    ServiceAuthError,
    ServiceParametersError,
    ServiceRateLimitedError,
    ServiceRejectedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    UnknownServiceError,
)
from callboard.integrations.http import Http
from callboard.integrations.http_parameters import METHODS
from callboard.integrations.http_replay import ReplayHttp
from callboard.integrations.http_sandbox import SandboxHttp
from callboard.integrations.port import ExternalService
from callboard.integrations.recorded import recorded_request
from tests.fixtures.fake_shop import FakeShop

WITHOUT_BODY = ("get", "head", "options")
WITH_BODY = ("post", "put", "patch", "delete")
EVERY_METHOD = (*WITHOUT_BODY, *WITH_BODY)


@pytest.fixture
async def shop() -> AsyncIterator[FakeShop]:
    async with FakeShop() as fake:
        yield fake


@pytest.fixture
async def live(shop: FakeShop) -> AsyncIterator[Http]:
    service = Http(AllowedHosts.parse([shop.host]))
    yield service
    await service.close()


@pytest.fixture
def replay(tmp_path: Path, shop: FakeShop) -> ReplayHttp:
    answers = [
        {
            "service": "http",
            "request": recorded_request(method, METHODS[method].model_validate({"url": f"{shop.url}/orders"})),
            "response": {
                "data": {"headers": {"etag": '"v1"'}} if method in ("head", "options") else {"orders": [{"id": 1}]},
                "status_code": 201 if method == "post" else 200,
            },
        }
        for method in EVERY_METHOD
    ]
    content = {"workflow": "w", "origin": "written for this test", "answers": answers}
    (tmp_path / "shop.replay.json").write_bytes(orjson.dumps(content))
    return ReplayHttp(RecordedAnswers.load(tmp_path))


@pytest.fixture(params=["live", "replay", "sandbox"])
def service(request: pytest.FixtureRequest, live: Http, replay: ReplayHttp) -> ExternalService:
    variants: Mapping[str, ExternalService] = {"live": live, "replay": replay, "sandbox": SandboxHttp()}
    return variants[request.param]


class TestEveryVariant:
    def test_has_one_name_and_the_same_methods(self, service: ExternalService) -> None:
        assert service.name == "http"
        assert set(service.methods) == set(EVERY_METHOD)

    @pytest.mark.parametrize("method", EVERY_METHOD)
    async def test_answers_every_method(self, service: ExternalService, shop: FakeShop, method: str) -> None:
        result = await service.call(method, {"url": f"{shop.url}/orders"})

        assert result.status_code in (200, 201)
        assert set(result.data) <= {"orders", "headers", "note", "request"}
        assert (method in ("head", "options")) == ("headers" in result.data)
        assert result.data == json.loads(dumps(result.data))

    async def test_counts_one_unit_per_request_at_no_cost(self, service: ExternalService, shop: FakeShop) -> None:
        result = await service.call("get", {"url": f"{shop.url}/orders"})

        assert (result.units, result.cached) == (1, False)
        assert result.cost.usd == 0

    async def test_is_not_changed_by_headers_and_limits(self, service: ExternalService, shop: FakeShop) -> None:
        own = {"headers": {"Authorization": "Bearer s3cret"}, "timeout_seconds": 3, "max_bytes": 5000}

        result = await service.call("get", {"url": f"{shop.url}/orders", **own})

        assert result.status_code == 200
        assert "s3cret" not in str(result.data)

    @pytest.mark.parametrize(
        ("method", "parameters", "message"),
        [
            pytest.param("get", {}, "url: Field required", id="no url"),
            pytest.param("get", {"url": "shop.example/x"}, "begins with https://", id="no scheme"),
            pytest.param("get", {"url": "https://a.example", "json": {}}, "json: Extra inputs", id="get with a body"),
            pytest.param("post", {"url": "https://a.example", "json": {}, "body": "x"}, "one body", id="two bodies"),
            pytest.param("post", {"url": "https://a.example", "jsn": {}}, "jsn: Extra inputs", id="unknown"),
            pytest.param("get", {"url": "https://a.example", "timeout_seconds": 0}, "greater than 0", id="no time"),
            pytest.param("get", {"url": "https://a.example", "max_bytes": 10**9}, "less than or equal", id="too large"),
            pytest.param("get", {"url": "https://a.example", "expect_status": 42}, "100", id="no status"),
            pytest.param("get", {"url": "https://a.example", "query": {"a": {"b": 1}}}, "query.a", id="nested query"),
            pytest.param("get", {"url": "https://a.example", "headers": {"A": ["x"]}}, "valid string", id="a list"),
            pytest.param("get", {"url": "https://a.example", "headers": {"A": "x\r\nB: y"}}, "line break", id="CRLF"),
            pytest.param("get", {"url": "https://a.example", "headers": {"A": "x\nB: y"}}, "line break", id="LF"),
            pytest.param("get", {"url": "https://a.example", "headers": {"A": "x\x00"}}, "control char", id="NUL"),
            pytest.param("get", {"url": "https://a.example", "headers": {"A\r\nB": "x"}}, "name has", id="in a name"),
            pytest.param("get", {"url": "https://a.example", "headers": {"A b": "x"}}, "name has", id="a blank"),
            pytest.param("get", {"url": "https://a.example", "headers": {"Host": "b"}}, "leave it out", id="Host"),
            pytest.param(
                "post",
                {"url": "https://a.example", "headers": {"transfer-encoding": "chunked"}},
                "leave it out",
                id="framing",
            ),
            pytest.param(
                "get", {"url": "https://a.example", "headers": {"Proxy-Authorization": "x"}}, "leave it out", id="proxy"
            ),
        ],
    )
    async def test_refuses_bad_parameters_before_any_call(
        self, service: ExternalService, method: str, parameters: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ServiceParametersError, match=message):
            await service.call(method, parameters)

    async def test_names_the_nearest_method(self, service: ExternalService) -> None:
        with pytest.raises(UnknownServiceError, match="Did you mean post"):
            await service.call("pots", {"url": "https://a.example"})

    async def test_never_shows_a_value_in_a_mistake(self, service: ExternalService) -> None:
        with pytest.raises(ServiceParametersError) as caught:
            await service.call("get", {"url": "s3cret", "headers": {"A": "s3cret\n"}, "query": {"a": {"s3cret": 1}}})

        assert "s3cret" not in f"{caught.value.message} {caught.value.details}"

    async def test_closes(self, service: ExternalService) -> None:
        await service.close()


class TestRequest:
    async def test_writes_a_query_as_documented(self, live: Http, shop: FakeShop) -> None:
        values = {"q": "a b&c=d/é", "tag": ["x", "y"], "page": 2, "price": 1.5, "all": True, "none": None, "no": []}

        await live.call("get", {"url": f"{shop.url}/orders?first=1#part", "query": values})

        assert shop.queries == ["first=1&q=a%20b%26c%3Dd/%C3%A9&tag=x&tag=y&page=2&price=1.5&all=true"]

    @pytest.mark.parametrize(
        ("body", "content_type", "sent"),
        [
            pytest.param({"json": {"a": [1, None]}}, "application/json", b'{"a":[1,null]}', id="json"),
            pytest.param({"json": None}, "application/json", b"null", id="json null"),
            pytest.param({"body": "grüezi"}, "text/plain; charset=utf-8", "grüezi".encode(), id="text"),
            pytest.param({"form": {"a": [1, 2]}}, "application/x-www-form-urlencoded", b"a=1&a=2", id="form"),
            pytest.param(
                {"body": "<a/>", "headers": {"content-type": "application/xml"}}, "application/xml", b"<a/>", id="own"
            ),
        ],
    )
    async def test_sends_a_body_with_its_type(
        self, live: Http, shop: FakeShop, body: dict[str, Any], content_type: str, sent: bytes
    ) -> None:
        for method in WITH_BODY:
            await live.call(method, {"url": f"{shop.url}/orders", **body})

        assert [seen.method for seen in shop.seen] == ["POST", "PUT", "PATCH", "DELETE"]
        assert {seen.body for seen in shop.seen} == {sent}
        assert {seen.headers["Content-Type"] for seen in shop.seen} == {content_type}

    async def test_sends_headers_and_says_who_calls(self, live: Http, shop: FakeShop) -> None:
        await live.call("get", {"url": f"{shop.url}/orders", "headers": {"X-Key": "k", "X-Number": 7}})

        headers = shop.seen[0].headers
        assert (headers["X-Key"], headers["X-Number"], headers["Accept"]) == ("k", "7", "*/*")
        assert headers["User-Agent"].startswith("Callboard/")

    async def test_lets_a_header_of_ones_own_win(self, live: Http, shop: FakeShop) -> None:
        await live.call("get", {"url": f"{shop.url}/orders", "headers": {"accept": "text/csv", "user-agent": "mine"}})

        assert (shop.seen[0].headers["Accept"], shop.seen[0].headers["User-Agent"]) == ("text/csv", "mine")


class TestHosts:
    async def test_no_other_is_called_and_the_setting_is_named(self, live: Http) -> None:
        with pytest.raises(UrlRefusedError, match=r"Add other\.example to HTTP_ALLOWED_HOSTS"):
            await live.call("get", {"url": "https://other.example/"})

    async def test_another_port_of_an_allowed_one_is_not_called(self, live: Http, shop: FakeShop) -> None:
        with pytest.raises(UrlRefusedError, match="may not be called on port 9"):
            await live.call("get", {"url": "http://127.0.0.1:9/"})

    async def test_a_redirect_is_not_followed(self, live: Http, shop: FakeShop) -> None:
        with pytest.raises(ServiceRejectedError) as caught:
            await live.call("get", {"url": f"{shop.url}/moved"})

        assert f"answered get with 302 and points to http://{shop.host}/orders." in caught.value.message
        assert "s3cret" not in f"{caught.value.message} {caught.value.details}"
        assert [seen.path for seen in shop.seen] == ["/moved"]

    async def test_a_redirect_that_is_expected_says_where_it_points(self, live: Http, shop: FakeShop) -> None:
        result = await live.call("get", {"url": f"{shop.url}/moved", "expect_status": [302]})

        assert result.status_code == 302
        assert result.data["location"].startswith("http://user:pass@127.0.0.1")

    @pytest.mark.parametrize(
        "url", ["https://api.example.com/x", "https://API.example.com:443", "HTTPS://api.example.com."]
    )
    def test_are_told_in_one_spelling(self, url: str) -> None:
        assert Http(AllowedHosts.parse(["api.example.com"])).host_of({"url": url}) == "api.example.com"

    @pytest.mark.parametrize(
        "parameters", [{}, {"url": None}, {"url": "nonsense"}, {"url": "http://[x"}, {"url": "https://other.example/"}]
    )
    def test_are_told_as_none_where_none_may_be_called(self, live: Http, parameters: dict[str, Any]) -> None:
        assert live.host_of(parameters) == ""


def as_bytes(shop: FakeShop, body: bytes, content_type: str) -> dict[str, Any]:
    return {"url": f"{shop.url}/bytes", "query": {"hex": body.hex(), "type": content_type}}


class TestAnswer:
    @pytest.mark.parametrize(
        ("body", "content_type", "data"),
        [
            pytest.param(b'{"a": 1}', "application/json", {"a": 1}, id="json"),
            pytest.param(b"[1]", "application/json; charset=utf-8", [1], id="json with a charset"),
            pytest.param(b'{"title": "x"}', "application/problem+json", {"title": "x"}, id="+json"),
            pytest.param(b'{"a": 1}', "text/plain", '{"a": 1}', id="text that looks like json"),
            pytest.param(b"a,b\n1,2\n", "text/csv", "a,b\n1,2\n", id="csv"),
            pytest.param(b"<a/>", "application/xml", "<a/>", id="xml"),
            pytest.param("grüezi".encode("latin-1"), "text/plain; charset=iso-8859-1", "grüezi", id="latin-1"),
            pytest.param(b"\xef\xbb\xbfbom", "text/plain", "bom", id="a byte order mark"),
            pytest.param(b"", "application/json", None, id="nothing"),
            pytest.param(b"plain", "binary/octet-stream", "plain", id="text that is called bytes"),
            pytest.param(b"plain", "nonsense", "plain", id="a type that is none"),
        ],
    )
    async def test_is_read_by_its_type(
        self, live: Http, shop: FakeShop, body: bytes, content_type: str, data: object
    ) -> None:
        assert (await live.call("get", as_bytes(shop, body, content_type))).data == data

    @pytest.mark.parametrize(
        ("body", "content_type", "message"),
        [
            pytest.param(b"\x89PNG\x00\xff", "image/png", "answered with image/png, 6 bytes", id="an image"),
            pytest.param(b"a\x00b", "text/plain", "neither JSON nor text", id="NUL"),
            pytest.param(b"abc", "text/plain; charset=klingon", "in the charset", id="unknown charset"),
        ],
    )
    async def test_that_is_no_text_is_refused_for_good(
        self, live: Http, shop: FakeShop, body: bytes, content_type: str, message: str
    ) -> None:
        with pytest.raises(ServiceAnswerUnusableError, match=message):
            await live.call("get", as_bytes(shop, body, content_type))

    @pytest.mark.parametrize("body", [b"<html>", b'{"a": ', b"NaN"])
    async def test_that_is_called_json_and_is_none_may_be_better_next_time(
        self, live: Http, shop: FakeShop, body: bytes
    ) -> None:
        with pytest.raises(ServiceAnswerError, match="calls JSON and that cannot be read"):
            await live.call("get", as_bytes(shop, body, "application/json"))

    @pytest.mark.parametrize("method", ["head", "options"])
    async def test_of_head_and_options_is_the_headers_without_cookies(
        self, live: Http, shop: FakeShop, method: str
    ) -> None:
        headers = (await live.call(method, {"url": f"{shop.url}/orders"})).data["headers"]

        assert (headers["etag"], headers["content-type"]) == ('"v1"', "application/json")
        assert "set-cookie" not in headers

    @pytest.mark.parametrize("zipped", [{}, {"zipped": 1}], ids=["plain", "zipped"])
    async def test_is_read_up_to_the_limit(self, live: Http, shop: FakeShop, zipped: dict[str, Any]) -> None:
        call = {"url": f"{shop.url}/large", "query": {"bytes": 200_000, **zipped}}

        assert len((await live.call("get", call | {"max_bytes": 200_000})).data) == 200_000
        with pytest.raises(ServiceAnswerUnusableError, match=r"more than 199,999 bytes.*`max_bytes` raises that"):
            await live.call("get", call | {"max_bytes": 199_999})


STATUSES: dict[int, type[StepError]] = {
    304: ServiceRejectedError,
    400: ServiceRejectedError,
    401: ServiceAuthError,
    403: ServiceAuthError,
    404: ServiceRejectedError,
    408: ServiceTimeoutError,
    422: ServiceRejectedError,
    425: ServiceRateLimitedError,
    429: ServiceRateLimitedError,
    500: ServiceUnavailableError,
    502: ServiceUnavailableError,
    503: ServiceUnavailableError,
    504: ServiceTimeoutError,
}
TEMPORARY = {ServiceTimeoutError, ServiceRateLimitedError, ServiceUnavailableError}


class TestFaults:
    @pytest.mark.parametrize(("status", "kind"), STATUSES.items())
    async def test_a_status_tells_whether_to_try_again(
        self, live: Http, shop: FakeShop, status: int, kind: type[StepError]
    ) -> None:
        with pytest.raises(kind, match=f"answered get with {status}") as caught:
            await live.call("get", {"url": f"{shop.url}/status/{status}"})

        assert isinstance(caught.value, TemporaryError if kind in TEMPORARY else PermanentError)
        assert caught.value.details["http_status"] == status
        assert caught.value.details["host"] == shop.host

    async def test_the_beginning_of_the_body_is_told(self, live: Http, shop: FakeShop) -> None:
        with pytest.raises(ServiceRejectedError) as caught:
            await live.call("post", {"url": f"{shop.url}/status/400", "body": "because " + "x" * 5000})

        assert "answered post with 400: because xxx" in caught.value.message
        assert caught.value.details["body_start"].startswith("because xxx")
        assert len(caught.value.details["body_start"]) == 500

    @pytest.mark.parametrize("status", [429, 503])
    async def test_retry_after_is_passed_on(self, live: Http, shop: FakeShop, status: int) -> None:
        with pytest.raises(TemporaryError) as caught:
            await live.call("get", {"url": f"{shop.url}/status/{status}", "query": {"retry_after": 7}})

        assert caught.value.retry_after_seconds == 7

    @pytest.mark.parametrize("expected", [404, [200, 404]], ids=["one", "a list"])
    async def test_an_expected_status_is_an_answer(self, live: Http, shop: FakeShop, expected: object) -> None:
        result = await live.call("get", {"url": f"{shop.url}/status/404", "expect_status": expected})

        assert (result.status_code, result.data) == (404, "  the\nreason ")

    async def test_success_that_is_not_expected_is_a_failure(self, live: Http, shop: FakeShop) -> None:
        with pytest.raises(ServiceRejectedError, match="answered get with 200"):
            await live.call("get", {"url": f"{shop.url}/orders", "expect_status": 404})

    async def test_a_connection_that_breaks_may_hold_next_time(self, live: Http, shop: FakeShop) -> None:
        with pytest.raises(ServiceUnavailableError, match="hung up"):
            await live.call("get", {"url": f"{shop.url}/hang-up"})

        assert len(shop.seen) == 1  # only the engine tries again

    async def test_a_host_that_does_not_answer_is_given_up(self, live: Http, shop: FakeShop) -> None:
        async with asyncio.timeout(5):
            with pytest.raises(ServiceTimeoutError, match=r"within 0\.2 s"):
                await live.call("get", {"url": f"{shop.url}/slow", "timeout_seconds": 0.2})


class TestCost:
    async def test_is_the_operators_price_for_the_host_before_that_for_the_service(self, shop: FakeShop) -> None:
        prices = {"http": UnitPrice(call_usd=Decimal("0.5")), f"http:{shop.host}": UnitPrice(call_usd=Decimal("0.25"))}
        service = Http(AllowedHosts.parse([shop.host]), prices=prices)

        cost = (await service.call("get", {"url": f"{shop.url}/orders"})).cost
        await service.close()

        assert (cost.usd, cost.source, cost.price_id) == (Decimal("0.25"), "operator", f"http:{shop.host}")

    async def test_of_a_replay_is_that_of_the_call(self, tmp_path: Path, replay: ReplayHttp, shop: FakeShop) -> None:
        priced = ReplayHttp(RecordedAnswers.load(tmp_path), prices={"http": UnitPrice(call_usd=Decimal("0.5"))})

        assert (await priced.call("get", {"url": f"{shop.url}/orders"})).cost.usd == Decimal("0.5")


class TestReplay:
    async def test_names_the_ways_out_of_a_miss(self, replay: ReplayHttp, shop: FakeShop) -> None:
        with pytest.raises(ReplayMissError) as caught:
            await replay.call(
                "get", {"url": f"{shop.url}/orders", "query": {"a": 1}, "headers": {"Authorization": "s3cret"}}
            )

        for way_out in ("Restore the input", "set HTTP_ALLOWED_HOSTS to its host", "DEFAULT_LLM_PROVIDER=sandbox"):
            assert way_out in caught.value.message
        assert "s3cret" not in f"{caught.value.message} {caught.value.details}"

    async def test_gives_the_recorded_status(self, replay: ReplayHttp, shop: FakeShop) -> None:
        assert (await replay.call("post", {"url": f"{shop.url}/orders"})).status_code == 201


class TestSandbox:
    async def test_gives_the_request_back_without_the_values_of_its_headers(self) -> None:
        call = {"url": "https://a.example/x", "query": {"a": 1}, "json": {"b": 2}, "headers": {"X-Key": "s3cret"}}

        result = await SandboxHttp().call("post", call | {"timeout_seconds": 3})

        assert result.data == {
            "note": "Sandbox: this request was not sent.",
            "request": {
                "method": "post",
                "url": "https://a.example/x",
                "query": {"a": 1},
                "headers": ["x-key"],
                "json": {"b": 2},
            },
        }

    async def test_answers_with_the_status_that_is_expected(self) -> None:
        result = await SandboxHttp().call("get", {"url": "https://a.example/", "expect_status": [404, 200]})

        assert result.status_code == 404
