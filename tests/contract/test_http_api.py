"""The API against its own description: every operation, ordinary and hostile requests, every check there is.

schemathesis reads /openapi.json of the real application (engine and worker inside) on a real port and sends
what the description allows and what it does not. `CALLBOARD_API_EXAMPLES=1000` sends far more, another time
other requests; a run of the default size always sends the same.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
import uvicorn
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.engine.run import PhaseName

from callboard.core.config import Settings
from callboard.main import create_app
from tests.fixtures.api import ADMIN_KEY
from tests.fixtures.server import API, WorkflowFiles, say, server_settings, workflow

DEFAULT_EXAMPLES = 30  # per operation and phase; some ten seconds on each database
START_SECONDS = 30
STEPS = [say("greet", "Hello, ${input.name}!"), say("part", "Bye, ${input.name}!")]
INPUT_SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
ERROR_STATUSES = frozenset({"400", "401", "403", "404", "409", "413", "415", "422", "429", "503"})
OPEN_PATHS = frozenset({"/", "/health", "/api/v1/health", "/health/live", "/health/ready"})


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Give the URL of the application for `settings`, served from a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run, name="api-under-test")
    thread.start()
    until = time.monotonic() + START_SECONDS
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started, "the server did not start; its log is above"
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)


@pytest.fixture
def url(database_url: str, tmp_path: Path) -> Iterator[str]:
    """A server with one workflow that works and one that is broken."""
    settings = server_settings(database_url, tmp_path, log_level="ERROR", rate_limit_anonymous="off")
    files = WorkflowFiles(tmp_path)
    files.definitions.mkdir(parents=True)
    files.write(workflow("hello", STEPS, input_schema=INPUT_SCHEMA))
    files.write(workflow("asks", [{"id": "review", "type": "approval", "config": {}}]))
    files.write_text("broken.json", "{")
    with served(settings) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, headers={"X-API-Key": ADMIN_KEY}) as client:
        yield client


def make_jobs(client: httpx2.Client) -> list[str]:
    """Return the ids of jobs that are there to be found: of a user and of nobody, completed and perhaps queued."""
    bodies: list[dict[str, Any]] = [
        {"workflow_name": "hello", "input_data": {"name": "Ada"}, "user_id": "user-17", "metadata": {"order": 1}},
        {"workflow_name": "hello", "input_data": {"name": "Bob"}, "priority": 10},
    ]
    ids = [client.post(f"{API}/workflow", json=body).json()["job_id"] for body in bodies]
    assert client.get(f"{API}/jobs/{ids[0]}", params={"wait": 20}).json()["status"] == "completed"
    return ids


def make_approvals(client: httpx2.Client) -> list[str]:
    """Return what an approval that is open goes by: its id and its step's."""
    job_id = client.post(f"{API}/workflow", json={"workflow_name": "asks"}).json()["job_id"]
    until = time.monotonic() + START_SECONDS
    while not (found := client.get(f"{API}/jobs/{job_id}/approvals").json()["items"]) and time.monotonic() < until:
        time.sleep(0.02)
    return [found[0]["approval_id"], found[0]["step_id"]]


def make_keys(client: httpx2.Client) -> list[str]:
    """Return the ids of keys that are there to be found."""
    body = {"name": "shop", "scopes": ["jobs:read"]}
    return [client.post(f"{API}/api-keys", json=body).json()["id"] for _ in range(2)]


def with_known_values(openapi: dict[str, Any], known: dict[str, list[str]]) -> dict[str, Any]:
    """Return the description with `known` values of path parameters and of workflow_name, so that requests hit."""
    for path in openapi["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["schema"] = _or_known(parameter["schema"], known[parameter["name"]])
    for body in ("JobCreate", "WorkflowValidate"):
        properties = openapi["components"]["schemas"][body]["properties"]
        properties["workflow_name"] = _or_known(properties["workflow_name"], known["name"])
    return openapi


def _or_known(schema: dict[str, Any], values: list[str]) -> dict[str, Any]:
    return {"anyOf": [{"enum": values}, schema], "examples": values}


def config(examples: int | None) -> SchemathesisConfig:
    """Return the configuration of a run: all checks, and what is expected beyond their defaults."""
    given: dict[str, Any] = {
        "headers": {"X-API-Key": ADMIN_KEY},
        "continue-on-failure": True,
        "generation": {"max-examples": examples or DEFAULT_EXAMPLES},
        "checks": {
            # 422: input_data that a workflow's own input_schema refuses, and cursors that no list gave out.
            # 404 and 409: an id, a workflow, an Idempotency-Key that the description cannot know.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "304", "404", "409", "422"]}
        },
        # Whatever is made of its path is a user's id, and of an unknown user there is nothing to erase: 200.
        "operations": [
            {"include-operation-id": "erase_user_data", "checks": {"negative_data_rejection": {"enabled": False}}}
        ],
    }
    return SchemathesisConfig.from_dict(given if examples else given | {"seed": 1})


def describe(recorder: ScenarioRecorder) -> Iterator[str]:
    """Yield what each failed check of a scenario says, with the request that shows it."""
    for checks in recorder.checks.values():
        for check in checks:
            if check.status is Status.FAILURE and check.failure_info is not None:
                failure = check.failure_info.failure
                yield f"{recorder.label}: {failure.title}: {failure.message}\n    {check.failure_info.code_sample}"


class TestApi:
    def test_does_what_its_description_says_and_refuses_all_else(self, client: httpx2.Client) -> None:
        known = {"job_id": make_jobs(client), "key_id": make_keys(client), "name": ["hello", "broken"]}
        known["user_id"] = ["user-17", "nobody"]
        known["approval_id"] = make_approvals(client)
        examples = int(os.environ.get("CALLBOARD_API_EXAMPLES", "0")) or None
        openapi = with_known_values(client.get("/openapi.json").json(), known)
        schema = schemathesis.openapi.from_dict(openapi, config=config(examples))
        schema.config.update(base_url=str(client.base_url))

        problems: list[str] = []
        answered = 0
        phases = set()
        for event in engine.from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                problems += describe(event.recorder)
                answered += len(event.recorder.interactions)
                phases.add(event.phase)
            if isinstance(event, events.NonFatalError | events.FatalError):
                problems.append(str(event))

        assert not problems, f"seed {schema.config.seed}\n" + "\n\n".join(dict.fromkeys(problems))
        assert phases >= {PhaseName.EXAMPLES, PhaseName.COVERAGE, PhaseName.FUZZING, PhaseName.STATEFUL_TESTING}
        assert answered > 500


class TestOpenApi:
    @pytest.fixture
    def document(self, tmp_path: Path) -> dict[str, Any]:
        return create_app(server_settings("", tmp_path)).openapi()

    @pytest.fixture
    def operations(self, document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
        return [(path, method, each) for path, item in document["paths"].items() for method, each in item.items()]

    def test_tells_of_every_operation_and_parameter_what_it_is(
        self, operations: list[tuple[str, str, dict[str, Any]]]
    ) -> None:
        for path, method, operation in operations:
            told = [operation, *operation.get("parameters", ())]

            assert operation["summary"], (method, path)
            assert all(each.get("description") for each in told), (method, path)

    def test_names_every_error_that_an_operation_can_give(
        self, operations: list[tuple[str, str, dict[str, Any]]]
    ) -> None:
        for path, method, operation in operations:
            named = ERROR_STATUSES & operation["responses"].keys()

            assert named == expected_errors(path, operation), (method, path)

    def test_shows_an_example_of_every_error(self, operations: list[tuple[str, str, dict[str, Any]]]) -> None:
        for path, _, operation in operations:
            for status in ERROR_STATUSES & operation["responses"].keys():
                content = operation["responses"][status]["content"]
                if path in {"/health", "/api/v1/health"}:  # unhealthy is an answer of its own there
                    continue

                assert list(content) == ["application/problem+json"]
                assert content["application/problem+json"]["example"]["status"] == int(status)

    def test_shows_examples_of_bodies_and_answers_that_fit_their_schemas(
        self, document: dict[str, Any], operations: list[tuple[str, str, dict[str, Any]]]
    ) -> None:
        bodies = [each["requestBody"] for _, _, each in operations if "requestBody" in each]
        answers = [each["responses"][status] for _, _, each in operations for status in each["responses"]]
        contents = [each.get("content", {}).get("application/json") for each in (*bodies, *answers)]
        names = {each["schema"]["$ref"].rpartition("/")[2] for each in contents if each and "$ref" in each["schema"]}

        for name in sorted(names):
            schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
            examples = document["components"]["schemas"][name].get("examples")

            assert examples, name
            assert all(jsonschema_rs.is_valid(schema, example) for example in examples), name


def expected_errors(path: str, operation: dict[str, Any]) -> frozenset[str]:
    """Return the errors that an operation can give, from what it takes."""
    if path in OPEN_PATHS:
        return frozenset() if path in {"/", "/health/live"} else frozenset({"503"})
    expected = {"401", "403", "429", "503"}  # a key is counted, and looked up in the database
    places = {parameter["in"] for parameter in operation.get("parameters", ())}
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    if "path" in places and operation["operationId"] != "erase_user_data":  # nothing is kept of an unknown user
        expected.add("404")
    if places - {"header"}:
        expected.add("422")
    if "requestBody" in operation:
        expected |= {"400", "413", "415", "422"}
    if "Idempotency-Key" in names:
        expected.add("409")
    if operation["operationId"] == "answer_approval":
        expected.add("409")  # it was answered before
    if operation["operationId"] in {"submit_job", "validate_workflow"}:
        expected.add("404")  # no such workflow
    if operation["operationId"] == "delete_limit":
        expected.add("404")  # nobody has set it
    return frozenset(expected)
