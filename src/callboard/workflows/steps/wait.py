"""The `wait` step: for a time, or for a signal. `wiring` hands it to the registry."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callboard.core.clock import to_iso
from callboard.core.json_values import JsonValue
from callboard.workflows.references import Scope, Template
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution
from callboard.workflows.steps.foresight import Foreseen, ForeseenWait, IsKnown
from callboard.workflows.steps.wait_config import EVENT_NAME_PATTERN, OnTimeout, WaitConfig
from callboard.workflows.steps.wait_values import WaitConfigError, read_moment, read_seconds
from callboard.workflows.steps.waiting import Wait, WaitEnd, WaitKind, WaitTimedOutError, describe_wait

_EVENT_NAME = re.compile(EVENT_NAME_PATTERN)


class WaitStep:
    """The kind `wait`. An alias stands for a signal's payload, of a wait for a time for the whole output."""

    type = "wait"
    config_model: ConfigModel = WaitConfig
    is_container = False

    def compile(self, step: StepCompiler) -> StepBody:
        names = ("seconds", "until", "event", "timeout_seconds")
        given = {name: step.template(step.raw[name], name) for name in names if step.raw.get(name) is not None}
        config = step.config(WaitConfig)
        if config.until is not None and "${" not in config.until:
            try:
                read_moment(config.until)
            except WaitConfigError as error:
                step.report(error.message, "until", code=error.code)
        if config.event is not None and "${" not in config.event and not _EVENT_NAME.fullmatch(config.event):
            step.report(_event_fault(config.event), "event", code="shape")
        if config.event is not None and config.timeout_seconds is None:
            message = "Without timeout_seconds it waits for the signal as long as it takes."
            step.warn(message, "event", code="waits_without_end")
        return _Wait(given=given, on_timeout=config.on_timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wait(StepBody):
    given: Mapping[str, Template]
    on_timeout: OnTimeout

    def alias_value(self, output: JsonValue) -> JsonValue:
        return output["payload"] if isinstance(output, dict) and "payload" in output else output

    def may_give_default(self) -> bool:
        return self.on_timeout is OnTimeout.DEFAULT

    def output_shape(self) -> Mapping[str, Any]:
        text = {"type": "string"}
        signal = {"event": text, "payload": {}, "received_at": text}
        properties = signal if "event" in self.given else {"ended_at": text}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        values = {name: template.render(scope) for name, template in self.given.items()}
        unknown = [name for name, value in values.items() if not is_known(value)]
        if unknown:
            words = f"waits for the signal {values['event']}" if "event" in values else "waits for a time"
        else:
            words = describe_wait(_wait_of("", values))
        return ForeseenWait(words, may_time_out=self.on_timeout is not OnTimeout.FAIL)

    async def run(self, execution: StepExecution) -> JsonValue:
        values = {name: template.render(execution.scope) for name, template in self.given.items()}
        wait = _wait_of(execution.step_id, values)
        end = await execution.context.wait_for(wait)
        return self._event_output(wait, end) if wait.kind is WaitKind.EVENT else {"ended_at": to_iso(end.ended_at)}

    def _event_output(self, wait: Wait, end: WaitEnd) -> JsonValue:
        if end.is_timed_out:
            raise WaitTimedOutError(
                f'The signal "{wait.name}" did not come in time.',
                error_mode=self.on_timeout.error_mode,
                details={"event": wait.name, "timed_out_at": to_iso(end.ended_at)},
            )
        return {"event": wait.name, "payload": end.payload, "received_at": to_iso(end.ended_at)}


def _wait_of(step_id: str, values: Mapping[str, JsonValue]) -> Wait:
    if "event" in values:
        name = values["event"]
        if not isinstance(name, str) or not _EVENT_NAME.fullmatch(name):
            raise WaitConfigError(_event_fault(name))
        seconds = read_seconds(values.get("timeout_seconds"), "timeout_seconds")
        return Wait(kind=WaitKind.EVENT, step_id=step_id, name=name, seconds=seconds)
    if "until" in values:
        return Wait(kind=WaitKind.TIMER, step_id=step_id, until=read_moment(values["until"]))
    return Wait(kind=WaitKind.TIMER, step_id=step_id, seconds=read_seconds(values.get("seconds"), "seconds") or 0.0)


def _event_fault(name: JsonValue) -> str:
    return f'An event has a name of 1 to 100 letters, digits, _ . : or -, not "{str(name)[:60]}".'
