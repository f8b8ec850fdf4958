"""The `approval` step: stops for a person's answer. `wiring` hands it to the registry.

Whoever answers does so over HTTP (`jobs/people_router.py`); while nobody has, the run holds no worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callboard.core.clock import to_iso
from callboard.core.json_values import JsonValue
from callboard.workflows.findings import parts_of
from callboard.workflows.json_schemas import InvalidSchemaError, JsonSchema, find_schema_doubts
from callboard.workflows.references import Scope, Template, as_text
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution
from callboard.workflows.steps.foresight import Foreseen, ForeseenWait, IsKnown
from callboard.workflows.steps.wait_config import ApprovalConfig, OnTimeout
from callboard.workflows.steps.wait_values import read_seconds
from callboard.workflows.steps.waiting import Answer, Wait, WaitKind, WaitTimedOutError, describe_wait

MAX_TITLE_CHARS = 500  # what an inbox shows of it; a longer one is cut


class ApprovalStep:
    """The kind `approval`. An alias stands for the answer; with several, for the list of them."""

    type = "approval"
    config_model: ConfigModel = ApprovalConfig
    is_container = False

    def compile(self, step: StepCompiler) -> StepBody:
        text = step.template({name: step.raw.get(name) or "" for name in ("title", "instructions")})
        timeout = step.template(step.raw.get("timeout_seconds"), "timeout_seconds")
        _check_form(step)
        config = step.config(ApprovalConfig)
        if config.timeout_seconds is None:
            message = "Without timeout_seconds it waits for an answer as long as it takes."
            step.warn(message, code="waits_without_end")
        return _Approval(
            step_name=step.step_name,
            text=text,
            form_schema=config.form_schema,
            required_answers=config.required_answers,
            timeout=timeout,
            on_timeout=config.on_timeout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Approval(StepBody):
    step_name: str
    text: Template
    form_schema: Mapping[str, Any] | None
    required_answers: int
    timeout: Template
    on_timeout: OnTimeout

    def alias_value(self, output: JsonValue) -> JsonValue:
        has_answer = isinstance(output, dict) and "answer" in output
        return output["answer"] if has_answer else output  # a default_value may be anything

    def may_give_default(self) -> bool:
        return self.on_timeout is OnTimeout.DEFAULT

    def output_shape(self) -> Mapping[str, Any]:
        one = dict(self.form_schema or {})
        about = {"answered_by": {"type": "string"}, "answered_at": {"type": "string"}}
        answer = one if self.required_answers == 1 else {"type": "array", "items": one}
        answers = {"type": "array", "items": _closed({"answer": one, **about})}
        return _closed({"answer": answer, **about, "answers": answers})

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        self.text.render(scope)
        seconds = self.timeout.render(scope)
        if is_known(seconds):
            read_seconds(seconds, "timeout_seconds")
        wait = Wait(kind=WaitKind.APPROVAL, step_id=self.step_name, required_answers=self.required_answers)
        return ForeseenWait(describe_wait(wait), may_time_out=self.on_timeout is not OnTimeout.FAIL)

    async def run(self, execution: StepExecution) -> JsonValue:
        text: dict[str, Any] = self.text.render(execution.scope)
        end = await execution.context.wait_for(
            Wait(
                kind=WaitKind.APPROVAL,
                step_id=execution.step_id,
                seconds=read_seconds(self.timeout.render(execution.scope), "timeout_seconds"),
                title=(as_text(text["title"]) or self.step_name)[:MAX_TITLE_CHARS],
                instructions=as_text(text["instructions"]),
                form_schema=self.form_schema,
                required_answers=self.required_answers,
            )
        )
        if end.is_timed_out:
            raise WaitTimedOutError(
                f"Nobody answered in time: {len(end.answers)} of {self.required_answers} answers were there.",
                error_mode=self.on_timeout.error_mode,
                details={"timed_out_at": to_iso(end.ended_at), "answers": [_shown(each) for each in end.answers]},
            )
        shown = [_shown(each) for each in end.answers]
        last = shown[-1]
        answer = last["answer"] if self.required_answers == 1 else [each["answer"] for each in shown]
        return {**last, "answer": answer, "answers": shown}


def _shown(answer: Answer) -> dict[str, JsonValue]:
    return {"answer": answer.value, "answered_by": answer.answered_by, "answered_at": to_iso(answer.answered_at)}


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _check_form(step: StepCompiler) -> None:
    schema = step.raw.get("form_schema")
    if not isinstance(schema, dict):
        return  # any JSON, or refused with the config
    for doubt in find_schema_doubts(schema):
        step.warn(doubt.message, "form_schema", *parts_of(doubt.pointer), code=doubt.code)
    try:
        JsonSchema(schema)
    except InvalidSchemaError as error:
        for fault in error.faults:
            step.report(fault.message, "form_schema", *parts_of(fault.pointer), code=error.code)
