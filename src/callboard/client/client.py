"""The client: one method per operation of the API, on one pool of connections.

    async with CallboardClient("http://127.0.0.1:8000", api_key) as client:
        submitted = await client.submit("hello", {"name": "Ada"})
        job = await client.wait(submitted["job_id"])

Used by the CLI and by Python applications. To see a job's steps as they happen, use `watching.watch`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from callboard.client.errors import (
    CallboardApiError,
    ServerAwayError,
    WaitTimeoutError,
    read_problem,
    unexpected_answer,
)
from callboard.client.models import (
    ApiKey,
    CancelledJob,
    Erasure,
    Job,
    JobPage,
    JobStep,
    Json,
    ModelList,
    Page,
    Queue,
    RetentionCleanUp,
    Row,
    StaleCleanUp,
    SubmittedJob,
    UsagePage,
    UsageRow,
    WorkerList,
    has_ended,
)

PREFIX = "/api/v1"
MAX_HOLD_SECONDS = 30  # the server holds `?wait=` no longer
PAGE_SIZE = 200  # the most that a list gives at once
RETRY_SECONDS = 1.0  # between tries when the server is away or says 429 or 503 without Retry-After


class CallboardClient:
    """A connection to one Callboard server. Every method raises CallboardApiError and ServerAwayError."""

    def __init__(self, base_url: str, api_key: str | None = None, *, timeout_seconds: float = 30.0) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"{base_url!r} is no URL of a server: it begins with http:// or https://")
        self.base_url = base_url.rstrip("/").removesuffix(PREFIX)
        self._headers = {"Accept": "application/json", **({"X-API-Key": api_key} if api_key else {})}
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # jobs

    async def submit(
        self,
        workflow_name: str,
        input_data: Json,
        *,
        idempotency_key: str | None = None,
        **fields: Json,
    ) -> SubmittedJob:
        """Submit a workflow and return its job; it is durable when this returns.

        `fields` are the other fields of the request (`priority`, `user_id`, `run_name`, ...); None is left out.
        With an `idempotency_key` the same submit may be sent again and gives the same job.
        """
        body = {"workflow_name": workflow_name, "input_data": input_data}
        body |= {name: value for name, value in fields.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        submitted: SubmittedJob = await self._request("POST", f"{PREFIX}/workflow", body=body, headers=headers)
        return submitted

    async def status(self, job_id: str, *, hold_seconds: int = 0) -> Job:
        """Return the job; with `hold_seconds` (30 at most) when it has ended, or that much later."""
        params = {"wait": str(hold_seconds)} if hold_seconds else {}
        path = f"{PREFIX}/status/{_segment(job_id)}"
        job: Job = await self._request("GET", path, params=params, hold_seconds=hold_seconds)
        return job

    async def wait(self, job_id: str, *, timeout_seconds: float | None = None) -> Job:
        """Return the job when it has ended. Raises: WaitTimeoutError after `timeout_seconds`."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            left = MAX_HOLD_SECONDS if deadline is None else deadline - time.monotonic()
            job = await self.status(job_id, hold_seconds=max(0, min(MAX_HOLD_SECONDS, round(left))))
            if has_ended(job):
                return job
            if timeout_seconds is not None and left <= 0:
                raise WaitTimeoutError(job_id, job["status"], timeout_seconds)

    async def list_jobs(
        self, *, limit: int = 50, cursor: str | None = None, **filters: str | Sequence[str] | None
    ) -> JobPage:
        """Return one page of jobs, the newest first.

        `filters`: status (one or several), workflow_name, user_id, created_after, created_before, related_entity.
        """
        page: JobPage = await self._request("GET", f"{PREFIX}/jobs", params=_page(limit, cursor) | _given(filters))
        return page

    async def list_steps(self, job_id: str, *, limit: int = PAGE_SIZE, cursor: str | None = None) -> Page[JobStep]:
        """Return one page of the steps of a job, in the order in which they began."""
        path = f"{PREFIX}/jobs/{_segment(job_id)}/steps"
        page: Page[JobStep] = await self._request("GET", path, params=_page(limit, cursor))
        return page

    async def list_usage(self, job_id: str, *, limit: int = PAGE_SIZE, cursor: str | None = None) -> UsagePage:
        """Return one page of the paid calls of a job; its `totals` are those of the whole job."""
        path = f"{PREFIX}/jobs/{_segment(job_id)}/usage"
        page: UsagePage = await self._request("GET", path, params=_page(limit, cursor))
        return page

    def iterate_steps(self, job_id: str) -> AsyncIterator[JobStep]:
        """Give every step of a job, page after page."""
        return _every(lambda cursor: self.list_steps(job_id, cursor=cursor))

    def iterate_usage(self, job_id: str) -> AsyncIterator[UsageRow]:
        """Give every paid call of a job, page after page."""
        return _every(lambda cursor: self.list_usage(job_id, cursor=cursor))

    async def cancel(self, job_id: str) -> CancelledJob:
        """Ask the server to stop a job and return what became of that; a job that has ended stays as it was."""
        cancelled: CancelledJob = await self._request("DELETE", f"{PREFIX}/workflow/{_segment(job_id)}")
        return cancelled

    # what the server has

    async def list_workflows(self) -> dict[str, Json]:
        """Return the workflows that can be submitted."""
        body: dict[str, Json] = await self._request("GET", f"{PREFIX}/workflows")
        return body

    async def get_workflow(self, name: str) -> dict[str, Json]:
        """Return one workflow with its input schema."""
        body: dict[str, Json] = await self._request("GET", f"{PREFIX}/workflows/{_segment(name)}")
        return body

    async def validate(self, body: Mapping[str, Json]) -> dict[str, Json]:
        """Return what is wrong with a workflow and its input, and what a run of it would do and take.

        `body` has `workflow_name` or `definition`, and perhaps `input_data`. Nothing is called or stored.
        """
        found: dict[str, Json] = await self._request("POST", f"{PREFIX}/workflow/validate", body=dict(body))
        return found

    async def get_diagram(self, name: str) -> str:
        """Return a workflow as the text of a Mermaid flowchart."""
        text: str = await self._request("GET", f"{PREFIX}/workflows/{_segment(name)}/diagram", is_text=True)
        return text

    async def list_models(self) -> ModelList:
        """Return the language models and providers that the server can use."""
        body: ModelList = await self._request("GET", f"{PREFIX}/models")
        return body

    async def health(self) -> dict[str, Json]:
        """Return the health of the server and its parts. It answers without a key, and when it is unhealthy."""
        body: dict[str, Json] = await self._request("GET", f"{PREFIX}/health", accepted=(503,))
        return body

    async def is_ready(self) -> bool:
        """Tell whether the server takes requests now; False also when nothing answers."""
        try:
            await self._request("GET", "/health/ready")
        except (CallboardApiError, ServerAwayError):
            return False
        return True

    # keys (scope admin)

    async def create_api_key(self, name: str, *, scopes: list[str], user_id: str | None = None) -> ApiKey:
        """Make a key and return it; `key` is shown in this answer only."""
        body = {"name": name, "scopes": scopes} | _given({"user_id": user_id})
        created: ApiKey = await self._request("POST", f"{PREFIX}/api-keys", body=body)
        return created

    async def list_api_keys(self, *, limit: int = 50, cursor: str | None = None) -> Page[ApiKey]:
        """Return one page of the API keys, without their secrets."""
        page: Page[ApiKey] = await self._request("GET", f"{PREFIX}/api-keys", params=_page(limit, cursor))
        return page

    async def revoke_api_key(self, key_id: str) -> None:
        """Make a key useless, within two seconds everywhere."""
        await self._request("DELETE", f"{PREFIX}/api-keys/{_segment(key_id)}")

    # operating (scope admin)

    async def clean_up_stale(self, *, older_than_hours: int = 72, dry_run: bool = False) -> StaleCleanUp:
        """Fail jobs without progress for so long; send it again while `is_complete` is False."""
        body = {"older_than_hours": older_than_hours, "dry_run": dry_run}
        done: StaleCleanUp = await self._request("POST", f"{PREFIX}/admin/cleanup/stale", body=body)
        return done

    async def clean_up_retention(
        self, *, older_than_days: int | None = None, dry_run: bool = False
    ) -> RetentionCleanUp:
        """Delete jobs that ended so long ago, or as the server's RETENTION_DAYS says.

        Send it again while `is_complete` is False.
        """
        body = {"older_than_days": older_than_days, "dry_run": dry_run}
        done: RetentionCleanUp = await self._request("POST", f"{PREFIX}/admin/cleanup/retention", body=body)
        return done

    async def erase_user(self, user_id: str, *, tenant_id: str | None = None, dry_run: bool = False) -> Erasure:
        """Erase a user's data; send it again, a little later, while `left` is not 0."""
        params = _given({"tenant_id": tenant_id, "dry_run": "true" if dry_run else None})
        path = f"{PREFIX}/users/{_segment(user_id)}/data"
        done: Erasure = await self._request("DELETE", path, params=params)
        return done

    async def list_workers(self, *, include_gone: bool = False) -> WorkerList:
        """Return the worker processes, newest first; with `include_gone` those that left or died, too."""
        params = _given({"include_gone": "true" if include_gone else None})
        listed: WorkerList = await self._request("GET", f"{PREFIX}/admin/workers", params=params)
        return listed

    async def get_queue(self) -> Queue:
        """Return what is ready, what runs and what waits."""
        queue: Queue = await self._request("GET", f"{PREFIX}/admin/queue")
        return queue

    # how it is sent

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | Sequence[str]] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        hold_seconds: float = 0,
        accepted: tuple[int, ...] = (),
        is_text: bool = False,
    ) -> Any:
        if self._session is None:
            raise RuntimeError("use the client inside `async with CallboardClient(...) as client:`")
        data = None if body is None else json.dumps(body).encode()
        sent_headers = {**(headers or {}), **({"Content-Type": "application/json"} if data is not None else {})}
        try:
            async with self._session.request(
                method,
                URL(self.base_url + path, encoded=True),
                params=params,
                data=data,
                headers=sent_headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds + hold_seconds),
                allow_redirects=False,  # a redirect would carry the key to another place
            ) as response:
                raw = await response.read()
        except TimeoutError as error:
            raise ServerAwayError(self.base_url, f"no answer within {self._timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServerAwayError(self.base_url, _reason(error)) from error
        if is_text and response.status == 200:
            return raw.decode(errors="replace")
        return self._read(response, raw, accepted)

    def _read(self, response: aiohttp.ClientResponse, raw: bytes, accepted: tuple[int, ...]) -> Any:
        status = response.status
        if status == 204:
            return None
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if status >= 400 and status not in accepted:
            raise CallboardApiError(
                read_problem(
                    status,
                    body,
                    request_id=response.headers.get("X-Request-ID", ""),
                    retry_after=response.headers.get("Retry-After"),
                )
            )
        if not isinstance(body, dict) or 300 <= status < 400:
            raise unexpected_answer(status, str(response.url), response.headers.get("Content-Type", "no content"))
        return body


async def pause(error: CallboardApiError | ServerAwayError) -> None:
    """Wait as long as the server asked for, or a second, before the request is tried again."""
    asked = error.problem.retry_after_seconds if isinstance(error, CallboardApiError) else None
    await asyncio.sleep(RETRY_SECONDS if asked is None else min(asked, MAX_HOLD_SECONDS))


async def _every(list_page: Callable[[str | None], Awaitable[Page[Row]]]) -> AsyncIterator[Row]:
    cursor = None
    while True:
        page = await list_page(cursor)
        for row in page["items"]:
            yield row
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _segment(value: str) -> str:
    return quote(value, safe="")


def _page(limit: int, cursor: str | None) -> dict[str, str | Sequence[str]]:
    return {"limit": str(limit)} | _given({"cursor": cursor})


def _given(values: Mapping[str, str | Sequence[str] | None]) -> dict[str, str | Sequence[str]]:
    return {name: value for name, value in values.items() if value is not None}


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused, nothing listens there"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _reason(error.os_error)
    return str(error) or type(error).__name__
