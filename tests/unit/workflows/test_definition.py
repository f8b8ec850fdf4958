"""The shape of a workflow file: what is read, how short forms are folded, what a fault says. Promises B3, B14."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.workflows.definition import (
    ErrorMode,
    RetryPolicy,
    StepDefinition,
    WorkflowDefinition,
    read_definition,
    read_step,
    read_steps,
    retry_delay_seconds,
)
from callboard.workflows.findings import WorkflowFinding

STEP = {"id": "a", "type": "llm", "config": {"model": "m"}}
SCALARS = st.sampled_from([None, True, 0, -1, 2**63, 0.5, float("nan"), "", "x", "${input.a}", "\x00"])
JSON_VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2)


def file_with(**fields: Any) -> dict[str, Any]:
    return {"name": "hello", "steps": [STEP], **fields}


def step_of(**fields: Any) -> StepDefinition:
    step, findings = read_step({**STEP, **fields}, pointer="/steps/0")
    assert step is not None, findings
    assert findings == []
    return step


def faults_of(raw: Any) -> list[tuple[str, str]]:
    return [(each.pointer, each.message) for each in read_definition(raw).findings]


class TestReadDefinition:
    def test_fills_in_what_is_not_said(self) -> None:
        read = read_definition(file_with())

        definition = read.definition
        assert definition is not None
        assert read.findings == ()
        assert (definition.name, definition.version, definition.timeout_seconds) == ("hello", "1.0.0", 600)
        assert definition.default_error_mode is ErrorMode.FAIL
        assert not definition.has_outputs
        assert definition.steps[0] == step_of()

    def test_tells_every_fault_at_once(self) -> None:
        raw = {"nmae": "x", "version": 2, "steps": [{"id": "a b", "type": "llm"}, 7, {"id": "c", "typ": "llm"}]}

        assert faults_of(raw) == [
            ("/nmae", 'Unknown field "nmae". Did you mean "name"?'),
            ("/version", '"version" must be text, not a whole number. Write it in double quotes.'),
            ("/steps/0/id", "'a b' is not a valid id: 1 to 50 letters, digits, _ or -."),
            ("/steps/1", "A step is an object with id and type, not a whole number."),
            ("/steps/2/typ", 'Unknown field "typ". Did you mean "type"?'),
        ]

    def test_keeps_the_steps_that_can_be_read(self) -> None:
        read = read_definition(file_with(steps=[STEP, {"id": "broken", "type": 5}]))

        assert read.definition is not None
        assert [step.id for step in read.definition.steps] == ["a"]
        assert read.unreadable_ids == {"broken"}

    @pytest.mark.parametrize(
        ("raw", "fault"),
        [
            pytest.param([], ("", "A workflow file is an object with name and steps, not a list."), id="list"),
            pytest.param("x", ("", "A workflow file is an object with name and steps, not text."), id="text"),
            pytest.param({"name": "a"}, ("/steps", 'The field "steps" is missing.'), id="no steps"),
            pytest.param({"name": "a", "steps": []}, ("/steps", "There is no step."), id="empty steps"),
            pytest.param(
                {"name": "a", "steps": {"x": 1}},
                (
                    "/steps",
                    (
                        "Steps are a list of objects, not an object. "
                        'Write [{"id": ..., "type": ..., "config": {...}}, ...].'
                    ),
                ),
                id="object",
            ),
            pytest.param(
                file_with(name="Hello"),
                (
                    "/name",
                    "'Hello' is not a valid name: a small letter, then at most 99 small letters, digits, _ or -.",
                ),
                id="name with a capital",
            ),
            pytest.param(
                file_with(name="../x"),
                ("/name", "'../x' is not a valid name: a small letter, then at most 99 small letters, digits, _ or -."),
                id="name that is a path",
            ),
            pytest.param(
                file_with(default_error_mode="ignore"),
                (
                    "/default_error_mode",
                    "'ignore' is not a valid default_error_mode: use 'fail', 'continue', 'default' or 'retry'.",
                ),
                id="error mode",
            ),
            pytest.param(
                file_with(context={"job_id": 1}),
                ("/context/job_id", '"job_id" is filled in when a run starts; choose another name.'),
                id="reserved context",
            ),
            pytest.param(
                file_with(timeout_seconds=0),
                ("/timeout_seconds", '"timeout_seconds" must be more than 0; this is 0.'),
                id="no time",
            ),
            pytest.param(
                file_with(timeout=5, timeout_seconds=6),
                ("/timeout", '"timeout" says the same as "timeout_seconds", and both are given; keep one.'),
                id="given twice",
            ),
            pytest.param(
                file_with(budget_usd=0),
                ("/budget_usd", '"budget_usd" must be more than 0; this is 0.'),
                id="no budget",
            ),
        ],
    )
    def test_names_the_place_and_the_rule(self, raw: Any, fault: tuple[str, str]) -> None:
        assert fault in faults_of(raw)

    def test_points_to_a_short_form_where_the_file_has_it(self) -> None:
        step = {**STEP, "retry_count": "x", "retry_config": {"delay": -1}, "timeout": 0}

        pointers = [pointer for pointer, _ in faults_of(file_with(steps=[step], timeout="5"))]

        assert pointers == ["/timeout", "/steps/0/retry_count", "/steps/0/retry_config/delay", "/steps/0/timeout"]

    @given(
        JSON_VALUES
        | st.dictionaries(st.sampled_from([*WorkflowDefinition.model_fields, "inputs", "timeout"]), JSON_VALUES)
    )
    def test_any_json_is_read_or_gives_findings(self, raw: Any) -> None:
        read = read_definition(raw)

        assert read.definition is not None or read.findings

    @given(
        st.dictionaries(
            st.sampled_from([*StepDefinition.model_fields, "timeout", "retry_count", "retry_config"]), JSON_VALUES
        )
    )
    def test_any_step_is_read_or_gives_findings(self, fields: dict[str, Any]) -> None:
        step, findings = read_step({**STEP, **fields}, pointer="/steps/0")

        assert step is not None or findings
        assert all(isinstance(each, WorkflowFinding) for each in findings)

    def test_describes_the_format_as_json_schema(self) -> None:
        schema = WorkflowDefinition.model_json_schema()

        assert schema["required"] == ["name", "steps"]
        assert schema["$defs"]["StepDefinition"]["additionalProperties"] is False


class TestInputsShortForm:
    def test_becomes_a_schema(self) -> None:
        inputs = [
            {"name": "city", "type": "str", "description": "Where", "required": True},
            {"name": "radius", "type": "integer", "required": True, "default": 5},
            {"name": "any"},
        ]

        definition = read_definition(file_with(inputs=inputs)).definition

        assert definition is not None
        assert definition.input_schema == {
            "type": "object",
            "required": ["city"],
            "properties": {
                "city": {"type": "string", "description": "Where"},
                "radius": {"type": "integer", "default": 5},
                "any": {},
            },
        }

    @pytest.mark.parametrize(
        ("inputs", "fault"),
        [
            pytest.param("x", ("/inputs", "inputs is a list of objects with a name, not text."), id="text"),
            pytest.param([{"name": "a"}] * 2, ("/inputs/1/name", 'The input "a" is there twice.'), id="twice"),
            pytest.param([{"nam": "a"}], ("/inputs/0/nam", 'Unknown field "nam". Did you mean "name"?'), id="unknown"),
            pytest.param(
                [{"name": "a", "type": "strin"}],
                ("/inputs/0/type", '"strin" is no type of an input. Did you mean "string"?'),
                id="type",
            ),
        ],
    )
    def test_is_checked(self, inputs: Any, fault: tuple[str, str]) -> None:
        assert fault in faults_of(file_with(inputs=inputs))

    def test_stands_alone(self) -> None:
        assert ("/inputs", '"inputs" says the same as "input_schema", and both are given; keep one.') in faults_of(
            file_with(inputs=[], input_schema={})
        )


class TestReadStep:
    def test_fills_in_what_is_not_said(self) -> None:
        step = step_of()

        assert (step.when, step.error_mode, step.retry, step.timeout_seconds, step.outputs) == (
            True,
            None,
            None,
            120,
            (),
        )
        assert not step.has_default_value

    @pytest.mark.parametrize(
        ("fields", "policy"),
        [
            pytest.param({"retry": {}}, RetryPolicy(), id="long form"),
            pytest.param({"retry_count": 2}, RetryPolicy(max_attempts=3), id="retries are attempts less one"),
            pytest.param({"retry_delay": 5}, RetryPolicy(delay_seconds=5), id="delay"),
            pytest.param(
                {"retry_config": {"max_retries": 4, "delay": 2, "backoff": 3, "max_delay": 9, "jitter": False}},
                RetryPolicy(max_attempts=5, delay_seconds=2, backoff_multiplier=3, max_delay_seconds=9, jitter=False),
                id="other names",
            ),
            pytest.param(
                {"retry_config": {"max_attempts": 2}, "retry_delay": 3},
                RetryPolicy(max_attempts=2, delay_seconds=3),
                id="both",
            ),
        ],
    )
    def test_folds_retries(self, fields: dict[str, Any], policy: RetryPolicy) -> None:
        assert step_of(**fields).retry == policy

    def test_takes_the_timeout_from_the_config_unless_the_step_has_one(self) -> None:
        from_config = step_of(config={"timeout": 30})
        from_step = step_of(config={"timeout": 30}, timeout_seconds=5)

        assert (from_config.timeout_seconds, from_config.config) == (30, {})
        assert (from_step.timeout_seconds, from_step.config) == (5, {})

    def test_takes_the_error_mode_from_the_config_unless_the_step_has_one(self) -> None:
        config = {"error_mode": "default", "default_value": []}

        from_config = step_of(config=config)
        from_step = step_of(config=config, error_mode="fail")

        assert (from_config.error_mode, from_config.default_value, from_config.config) == (ErrorMode.DEFAULT, [], {})
        assert (from_step.error_mode, from_step.config) == (ErrorMode.FAIL, {})

    def test_takes_what_a_container_carries_on_the_step(self) -> None:
        raw = {"id": "a", "type": "conditional", "condition": "true", "if_true": [], "config": {"if_false": []}}

        step, findings = read_step(raw, pointer="/steps/3")

        assert step is not None
        assert findings == []
        assert step.config == {"condition": "true", "if_true": [], "if_false": []}
        assert step.pointer_to("if_true", 0) == "/steps/3/if_true/0"
        assert step.pointer_to("if_false", 0) == "/steps/3/config/if_false/0"

    def test_what_other_types_carry_is_unknown(self) -> None:
        step, findings = read_step({**STEP, "condition": "true"}, pointer="/steps/0")

        assert step == step_of()
        assert findings[0].pointer == "/steps/0/condition"
        assert findings[0].code == "unknown_field"

    def test_leaves_its_argument_alone(self) -> None:
        raw = {"id": "a", "type": "parallel", "steps": [], "config": {"error_mode": "fail"}, "timeout": 3}

        read_step(raw, pointer="/steps/0")

        assert raw == {"id": "a", "type": "parallel", "steps": [], "config": {"error_mode": "fail"}, "timeout": 3}

    @pytest.mark.parametrize(
        ("fields", "pointer", "message"),
        [
            pytest.param(
                {"timeout_secnds": 1},
                "/steps/0/timeout_secnds",
                'Unknown field "timeout_secnds". Did you mean "timeout_seconds"?',
                id="unknown field",
            ),
            pytest.param(
                {"retry": {"max_atempts": 1}},
                "/steps/0/retry/max_atempts",
                'Unknown field "max_atempts". Did you mean "max_attempts"?',
                id="unknown field of the policy",
            ),
            pytest.param(
                {"retry": {"max_attempts": 0}},
                "/steps/0/retry/max_attempts",
                '"max_attempts" must be at least 1; this is 0.',
                id="no attempt",
            ),
            pytest.param(
                {"outputs": ["error"]},
                "/steps/0/outputs/0",
                '"error" cannot be an alias: ${steps.ID.error} has a meaning of its own.',
                id="reserved alias",
            ),
            pytest.param(
                {"error_mode": "default"},
                "/steps/0/error_mode",
                'error_mode "default" needs a default_value on the step (null is one).',
                id="no default",
            ),
            pytest.param(
                {"id": "a", "retry": {}, "retry_count": 1},
                "/steps/0/retry_count",
                '"retry_count" says the same as "retry", and both are given; keep one.',
                id="retry twice",
            ),
            pytest.param(
                {"id": "x" * 51},
                "/steps/0/id",
                f"'{'x' * 51}' is not a valid id: 1 to 50 letters, digits, _ or -.",
                id="long id",
            ),
            pytest.param(
                {"id": "a\n"},
                "/steps/0/id",
                "'a\\n' is not a valid id: 1 to 50 letters, digits, _ or -.",
                id="id with a line end",
            ),
        ],
    )
    def test_names_the_place_and_the_rule(self, fields: dict[str, Any], pointer: str, message: str) -> None:
        _, findings = read_step({**STEP, **fields}, pointer="/steps/0")

        assert [(each.pointer, each.message) for each in findings] == [(pointer, message)]


class TestReadSteps:
    def test_points_to_each_step(self) -> None:
        read = read_steps([STEP, {**STEP, "id": "b"}], pointer="/steps/1/config/if_true")

        assert [step.pointer for step in read.steps] == ["/steps/1/config/if_true/0", "/steps/1/config/if_true/1"]


class TestRetryDelaySeconds:
    @pytest.mark.parametrize(
        ("attempt", "random_part", "seconds"),
        [
            pytest.param(1, 0.0, 0.5, id="first, shortest"),  # 1 s x 0.5
            pytest.param(1, 1.0, 1.0, id="first, longest"),  # 1 s x 1
            pytest.param(4, 1.0, 8.0, id="fourth"),  # 1 s x 2^3
            pytest.param(90, 1.0, 60.0, id="never above the limit"),  # 2^89 s, cut to 60 s
        ],
    )
    def test_grows_up_to_the_limit(self, attempt: int, random_part: float, seconds: float) -> None:
        assert retry_delay_seconds(RetryPolicy(), attempt, lambda: random_part) == seconds
