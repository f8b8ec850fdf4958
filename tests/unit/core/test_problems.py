"""Problem documents and what the documentation says about them. Over HTTP: tests/integration/test_http.py."""

import json
from typing import Any

import pytest
from fastapi import FastAPI

from callboard.core.errors import Finding
from callboard.core.problems import BODY_PROBLEMS, Problem, describe_problems, problem_response, problem_responses

SCOPE = {"type": "http", "path": "/api/v1/jobs", "state": {"request_id": "r-1"}}


def document(**changes: Any) -> dict[str, Any]:
    response = problem_response(SCOPE, 404, **({"code": "job_not_found", "detail": "No job 7."} | changes))
    parsed: dict[str, Any] = json.loads(bytes(response.body))
    return parsed


class TestProblemResponse:
    def test_fits_the_documented_shape(self) -> None:
        problem = Problem.model_validate(document(errors=[Finding("/body/a", "wrong", "x")]))

        assert (problem.type, problem.title) == ("urn:callboard:problem:job_not_found", "Job not found")
        assert (problem.error, problem.message) == ("job_not_found", problem.detail)

    def test_leaves_out_an_empty_list_of_errors(self) -> None:
        assert "errors" not in document()

    def test_takes_headers_along(self) -> None:
        response = problem_response(SCOPE, 503, code="a", detail="b", headers={"Retry-After": "5"})

        assert response.headers["retry-after"] == "5"
        assert response.headers["content-type"] == "application/problem+json"


class TestProblemResponses:
    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 500, 503])
    def test_gives_an_example_that_is_a_problem(self, status: int) -> None:
        content = problem_responses(status)[status]["content"]["application/problem+json"]

        assert Problem.model_validate(content["example"]).status == status

    @pytest.mark.parametrize("status", [429, 503])
    def test_documents_when_to_try_again(self, status: int) -> None:
        assert "Retry-After" in problem_responses(status)[status]["headers"]

    def test_refuses_a_status_that_is_no_answer_of_ours(self) -> None:
        with pytest.raises(KeyError):
            problem_responses(418)


class TestDescribeProblems:
    def test_replaces_the_frameworks_own_error_schemas(self) -> None:
        app = FastAPI()

        @app.get("/undocumented")
        async def read(number: int) -> int:
            return number

        @app.post("/documented", responses=problem_responses(*BODY_PROBLEMS))
        async def write(body: dict[str, int]) -> int:
            return len(body)

        openapi = app.openapi()
        describe_problems(openapi)

        assert "HTTPValidationError" not in json.dumps(openapi)
        assert set(openapi["components"]["schemas"]) == {"Problem", "ProblemItem"}
        assert list(openapi["paths"]["/undocumented"]["get"]["responses"]["422"]["content"]) == [
            "application/problem+json"
        ]
