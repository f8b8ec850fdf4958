"""The client against a server that speaks the contract."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from callboard.client.client import CallboardClient
from callboard.client.errors import CallboardApiError, ServerAwayError, WaitTimeoutError
from tests.fixtures.fake_callboard import JOB_ID, KEY, Answer, FakeCallboard, fake_callboard, job, problem, step

SUBMIT = "POST /api/v1/workflow"
STATUS = f"GET /api/v1/status/{JOB_ID}"
STEPS = f"GET /api/v1/jobs/{JOB_ID}/steps"


@pytest.fixture
def server() -> Iterator[FakeCallboard]:
    with fake_callboard() as fake:
        yield fake


@pytest.fixture
async def client(server: FakeCallboard) -> AsyncIterator[CallboardClient]:
    async with CallboardClient(server.url, KEY) as opened:
        yield opened


class TestConstruction:
    @pytest.mark.parametrize("suffix", ["", "/", "/api/v1", "/api/v1/"])
    async def test_takes_the_url_with_and_without_the_prefix(self, server: FakeCallboard, suffix: str) -> None:
        server.on(STATUS, Answer(job()))

        async with CallboardClient(server.url + suffix, KEY) as client:
            found = await client.status(JOB_ID)

        assert found["job_id"] == JOB_ID

    @pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://x"])
    def test_refuses_what_is_no_http_url(self, url: str) -> None:
        with pytest.raises(ValueError, match="http://"):
            CallboardClient(url)

    async def test_says_how_it_is_used_when_it_was_not_opened(self) -> None:
        with pytest.raises(RuntimeError, match="async with"):
            await CallboardClient("http://127.0.0.1:1").health()


class TestSubmit:
    async def test_sends_what_was_given_and_nothing_else(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on(SUBMIT, Answer({"job_id": JOB_ID, "status": "queued"}, 202))

        submitted = await client.submit("hello", {"name": "Ada"}, priority=5, user_id=None, idempotency_key="once")

        assert submitted["job_id"] == JOB_ID
        (request,) = server.seen(SUBMIT)
        assert request.body == {"workflow_name": "hello", "input_data": {"name": "Ada"}, "priority": 5}
        assert request.headers["idempotency-key"] == "once"

    async def test_carries_the_whole_problem(self, server: FakeCallboard, client: CallboardClient) -> None:
        errors = [{"pointer": "/body/input_data/name", "message": "is missing", "code": "required"}]
        server.on(SUBMIT, problem(422, "Input not valid", "1 error", code="invalid_input", errors=errors))

        with pytest.raises(CallboardApiError) as caught:
            await client.submit("hello", {})

        assert (caught.value.status, caught.value.code) == (422, "invalid_input")
        assert caught.value.problem.errors[0].pointer == "/body/input_data/name"
        assert caught.value.problem.request_id == "request-1"
        assert "is missing" in str(caught.value)


class TestWait:
    async def test_asks_until_the_job_has_ended(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on(STATUS, Answer(job("queued")), Answer(job("processing")), Answer(job("completed")))

        ended = await client.wait(JOB_ID)

        assert ended["status"] == "completed"
        assert [request.query["wait"] for request in server.seen(STATUS)] == [["30"]] * 3

    async def test_gives_up_when_the_time_is_over(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on(STATUS, Answer(job("processing")))

        with pytest.raises(WaitTimeoutError, match="still processing"):
            await client.wait(JOB_ID, timeout_seconds=0)


class TestIterateSteps:
    async def test_follows_the_cursors(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on(
            STEPS,
            Answer({"items": [step("a")], "next_cursor": "after-a"}),
            Answer({"items": [step("b")], "next_cursor": None}),
        )

        paths = [found["path"] async for found in client.iterate_steps(JOB_ID)]

        assert paths == ["a", "b"]
        assert [request.query.get("cursor") for request in server.seen(STEPS)] == [None, ["after-a"]]


class TestListJobs:
    async def test_sends_only_the_filters_that_were_given(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on("GET /api/v1/jobs", Answer({"jobs": [job()], "next_cursor": None}))

        page = await client.list_jobs(limit=5, status="failed", workflow_name=None)

        assert page["jobs"][0]["job_id"] == JOB_ID
        assert server.requests[0].query == {"limit": ["5"], "status": ["failed"]}


class TestPaths:
    async def test_an_id_with_slashes_stays_one_segment(self, client: CallboardClient) -> None:
        with pytest.raises(CallboardApiError) as caught:
            await client.status("../health")

        assert "%2F" in caught.value.problem.detail


class TestFailures:
    async def test_nothing_listens(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"

            async with CallboardClient(url, KEY) as client:
                with pytest.raises(ServerAwayError) as caught:
                    await client.list_models()

        assert caught.value.url == url
        assert "refused" in caught.value.reason

    async def test_the_connection_breaks(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on(STATUS, Answer(is_broken=True))

        with pytest.raises(ServerAwayError):
            await client.status(JOB_ID)

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(Answer(raw=b"<html>hello</html>", headers={"Content-Type": "text/html"}), id="a page"),
            pytest.param(Answer([1, 2]), id="a list"),
            pytest.param(Answer({}, 302, {"Location": "http://127.0.0.1:1/"}), id="a redirect"),
        ],
    )
    async def test_another_program_listens(
        self, server: FakeCallboard, client: CallboardClient, answer: Answer
    ) -> None:
        server.on("GET /api/v1/models", answer)

        with pytest.raises(CallboardApiError, match="not Callboard's") as caught:
            await client.list_models()

        assert caught.value.code == "unexpected_answer"

    async def test_an_error_without_a_document_is_still_told(
        self, server: FakeCallboard, client: CallboardClient
    ) -> None:
        server.on(STATUS, Answer(raw=b"bad gateway", status=502, headers={"X-Request-ID": "r-9"}))

        with pytest.raises(CallboardApiError) as caught:
            await client.status(JOB_ID)

        assert (caught.value.problem.title, caught.value.problem.request_id) == ("HTTP 502", "r-9")

    async def test_tells_when_to_come_again(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on(STATUS, problem(503, "Away", headers={"Retry-After": "7"}))

        with pytest.raises(CallboardApiError) as caught:
            await client.status(JOB_ID)

        assert caught.value.is_temporary
        assert caught.value.problem.retry_after_seconds == 7


class TestHealth:
    async def test_an_unhealthy_server_is_an_answer(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on("GET /api/v1/health", Answer({"status": "unhealthy"}, 503))

        assert (await client.health())["status"] == "unhealthy"


class TestIsReady:
    async def test_follows_the_answer(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on("GET /health/ready", problem(503, "Not ready"), Answer({"status": "ready"}))

        assert [await client.is_ready(), await client.is_ready()] == [False, True]


class TestRevokeApiKey:
    async def test_takes_the_empty_answer(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on("DELETE /api/v1/api-keys/some-id", Answer(status=204))

        await client.revoke_api_key("some-id")

        assert len(server.requests) == 1


class TestValidate:
    async def test_sends_what_is_to_be_checked(self, server: FakeCallboard, client: CallboardClient) -> None:
        server.on("POST /api/v1/workflow/validate", Answer({"valid": True}))

        found = await client.validate({"workflow_name": "hello", "input_data": None})

        assert found == {"valid": True}
        assert server.requests[0].body == {"workflow_name": "hello", "input_data": None}


class TestGetDiagram:
    async def test_is_the_text(self, server: FakeCallboard, client: CallboardClient) -> None:
        text = "flowchart TD\n"
        server.on(
            "GET /api/v1/workflows/hello/diagram", Answer(raw=text.encode(), headers={"Content-Type": "text/plain"})
        )

        assert await client.get_diagram("hello") == text

    async def test_an_error_is_one(self, client: CallboardClient) -> None:
        with pytest.raises(CallboardApiError) as caught:
            await client.get_diagram("nothing")

        assert caught.value.status == 404
