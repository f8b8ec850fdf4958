"""Errors as answers: RFC 9457 problem documents, for every error that can leave the API.

`main.py` installs the handlers; routers declare what they can answer with `problem_responses`; the
middleware in `core/http_middleware.py` answers through `problem_response` too. A document carries
`error` (the code) and `message` besides, for clients of the older form.
"""

import json
import math
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

from callboard.core.database import is_connection_error
from callboard.core.errors import CallboardError, Finding, ServiceUnavailableError
from callboard.core.json_values import UnstorableValueError

MEDIA_TYPE = "application/problem+json"
DATABASE_RETRY_SECONDS = 5
SCHEMA_REF = "#/components/schemas/Problem"

log = structlog.get_logger(__name__)


class ProblemItem(BaseModel):
    """One thing that is wrong, and where."""

    pointer: str = Field(description="JSON pointer to the place: /body/..., /query/..., /header/... or /path/...")
    message: str = Field(description="What is wrong there.")
    code: str = Field(description="The kind of mistake, for programs.")
    severity: str | None = Field(None, description="error or warning, where a workflow file is wrong.")
    file: str | None = Field(None, description="The file that is wrong.")
    line: int | None = Field(None, description="The line in that file, from 1.")
    column: int | None = Field(None, description="The character in that line, from 1.")


class Problem(BaseModel):
    """An error (RFC 9457). `error` and `message` repeat the code and the detail under their older names."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="A URI that names the kind of error.")
    title: str = Field(description="The kind of error, for people.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, to which thing, and what to do next.")
    instance: str = Field(description="The path that was asked for.")
    errors: list[ProblemItem] | None = Field(None, description="Everything that is wrong with the request, at once.")
    request_id: str = Field(description="The id of this request; it is in every log line of it.")
    error: str = Field(description="The code of the error, for programs.")
    message: str = Field(description="The same as `detail`.")


def problem_response(
    scope: Scope,
    status: int,
    *,
    code: str,
    detail: str,
    errors: Sequence[Finding] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return the answer for an error of the request in `scope`."""
    document: dict[str, Any] = {
        "type": f"urn:callboard:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": scope.get("path", "/"),
        "request_id": request_id_of(scope),
        "error": code,
        "message": detail,
    }
    if errors:
        document["errors"] = [{k: v for k, v in asdict(e).items() if v is not None} for e in errors]
    return _AsciiJson(document, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def request_id_of(scope: Scope) -> str:
    """Return the id that `core/http_middleware.py` gave this request."""
    return str(scope.get("state", {}).get("request_id", ""))


def install_problem_handlers(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(CallboardError, _on_callboard_error)
    app.add_exception_handler(UnstorableValueError, _on_unstorable_value)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for kind in (SQLAlchemyError, OSError):
        app.add_exception_handler(kind, _on_infrastructure_error)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_callboard_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CallboardError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, ServiceUnavailableError):
        return await _on_unexpected(request, error)
    return problem_response(
        request.scope,
        error.status,
        code=error.code,
        detail=error.message,
        errors=error.errors,
        headers=_headers_for(error),
    )


def _headers_for(error: CallboardError) -> dict[str, str]:
    headers = {}
    wait = getattr(error, "retry_after_seconds", None)
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "APIKey"
    return headers


async def _on_unstorable_value(request: Request, error: Exception) -> JSONResponse:
    """Answer 422: within a request the only values that are stored are the caller's."""
    assert isinstance(error, UnstorableValueError)
    return problem_response(request.scope, 422, code=error.code, detail=error.message)


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return _not_json(request, problems[0])
    if isinstance(error.body, bytes):  # FastAPI hands over raw bytes when the content type is not JSON
        return _not_declared_as_json(request)
    findings = [Finding(_pointer(problem["loc"]), _sentence(problem["msg"]), problem["type"]) for problem in problems]
    first = f"{findings[0].pointer}: {findings[0].message}"
    detail = first if len(findings) == 1 else f"{len(findings)} things are wrong with the request. The first: {first}"
    return problem_response(request.scope, 422, code="validation_error", detail=detail, errors=findings)


def _not_json(request: Request, problem: Mapping[str, Any]) -> JSONResponse:
    reason = str(problem.get("ctx", {}).get("error", "it cannot be read"))
    detail = f"The body is not JSON: {reason} (character {problem['loc'][-1]})."
    return problem_response(
        request.scope, 400, code="invalid_json", detail=detail, errors=[Finding("/body", detail, "invalid_json")]
    )


def _not_declared_as_json(request: Request) -> JSONResponse:
    given = request.headers.get("content-type")
    said = f'This request says "{given[:100]}".' if given else "This request has no Content-Type."
    detail = f"Send the body as JSON, with Content-Type: application/json. {said}"
    return problem_response(request.scope, 415, code="unsupported_media_type", detail=detail)


def _pointer(location: Sequence[str | int]) -> str:
    """Return a JSON pointer for pydantic's location.

    >>> _pointer(("body", "a/b", 0))
    '/body/a~1b/0'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".") + "."


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework itself refuses: unknown paths and methods, bodies that cannot be read."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: f"There is nothing at {request.url.path}; the API is described at /docs.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}.",
        HTTPStatus.BAD_REQUEST: "The body cannot be read as JSON: check its encoding, its nesting and its numbers.",
    }
    detail = details.get(status, f"{error.detail.rstrip('.')}.")
    code = "invalid_json" if status is HTTPStatus.BAD_REQUEST else status.phrase.lower().replace(" ", "_")
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_at(request))
    return problem_response(request.scope, status, code=code, detail=detail, headers=headers)


def _methods_at(request: Request) -> list[str]:
    """Return every method that this path takes; the framework names those of the first route alone.

    Where `/jobs/cancel` and `/jobs/{job_id}` both fit, the one with fewer parameters is meant.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    by_path: dict[str, set[str]] = {}
    for route in iter_route_contexts(request.app.routes):
        if route.path_regex.match(path):
            by_path.setdefault(route.path or "", set()).update(route.methods or ())
    return sorted(by_path[min(by_path, key=lambda each: each.count("{"))])


async def _on_infrastructure_error(request: Request, error: Exception) -> JSONResponse:
    """Answer 503 while the database is away, busy or full; anything else of the kind is unexpected."""
    is_ours = isinstance(error, SQLAlchemyError | ConnectionError | TimeoutError | socket.gaierror)
    if not is_ours or not is_connection_error(error):
        return await _on_unexpected(request, error)
    log.warning("http.database_away", method=request.method, path=request.url.path, error=repr(error)[:500])
    return problem_response(
        request.scope,
        503,
        code="database_unavailable",
        detail=f"The database does not answer. Try again in {DATABASE_RETRY_SECONDS} seconds.",
        headers={"Retry-After": str(DATABASE_RETRY_SECONDS)},
    )


async def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    """Answer 500 and say nothing but the request's id: the log has the rest."""
    log.error("http.crashed", method=request.method, path=request.url.path, exc_info=error)
    detail = f"Something went wrong on our side. The log has it under request id {request_id_of(request.scope)}."
    return problem_response(request.scope, 500, code="internal_error", detail=detail)


class _AsciiJson(JSONResponse):
    """JSON in ASCII: a message may quote text of the caller that UTF-8 cannot write (a lone surrogate)."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode("ascii")


_EXAMPLES: dict[int, tuple[str, str, str]] = {
    400: ("The body cannot be read.", "invalid_json", "The body is not JSON: Expecting value (character 0)."),
    401: ("No valid key.", "unauthenticated", "Send a valid API key in the X-API-Key header."),
    402: ("No credits left.", "no_credits", "There are not enough credits for this."),
    403: ("The key may not do that.", "forbidden", 'This needs the scope "jobs:write"; this key has jobs:read.'),
    404: ("There is no such thing, or it belongs to somebody else.", "not_found", "There is nothing by that id."),
    409: ("Not possible in this state.", "conflict", "That is not possible in the state the thing is in."),
    413: ("The body is too large.", "body_too_large", "The body has more than 1,048,576 bytes."),
    415: ("The body is not declared as JSON.", "unsupported_media_type", "Send the body as JSON."),
    422: ("Understood, but not valid. `errors` lists everything.", "validation_error", "/body/name: Field required."),
    429: ("Too many requests; see `Retry-After`.", "too_many_requests", "Try again in 12 seconds."),
    500: ("Something went wrong on our side.", "internal_error", "Something went wrong on our side."),
    503: ("The database is away; see `Retry-After`.", "database_unavailable", "The database does not answer."),
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what an operation's `responses=` needs so that the API's documentation shows these errors."""
    return {status: _describe_response(status, *_EXAMPLES[status]) for status in statuses}


BODY_PROBLEMS = (400, 413, 415, 422)  # every operation that takes a body can give these


def _describe_response(status: int, description: str, code: str, detail: str) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": f"urn:callboard:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": "/api/v1/...",
        "request_id": "0198c0de-0000-7000-8000-000000000001",
        "error": code,
        "message": detail,
    }
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        example["errors"] = [{"pointer": "/body/name", "message": "Field required.", "code": "missing"}]
    response: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": SCHEMA_REF}, "example": example}},
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        response["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return response


def describe_problems(openapi: dict[str, Any]) -> None:
    """Add the schema that `problem_responses` refers to, and take out the framework's own error schemas."""
    schemas = openapi.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    for path in openapi["paths"].values():
        for operation in path.values():
            answers = operation.get("responses", {})
            if "HTTPValidationError" in str(answers.get("422", "")):
                answers["422"] = problem_responses(422)[422]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
