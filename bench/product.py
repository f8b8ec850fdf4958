"""Callboard as the benches run it: the real wiring, and two step kinds more that cost nothing themselves.

`run_rate.py`, `server.py`, `callboard_program.py` and the tables of `suite.py` call this.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bench.protocol import bench_protocol
from callboard.accounts.caller import Caller
from callboard.core.config import Settings, load_settings
from callboard.core.json_values import JsonValue
from callboard.core.repository import TenantScope
from callboard.workflows.references import Template
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution, StepKind

API_KEY = "bench-key-of-the-operator"
STEPS_PER_RUN = 3
THREE_NOOPS = "bench_three_noops"
HOLD = "bench_hold"
ONE_CALL = "bench_one_call"
HOLD_LIMIT_SECONDS = 3600
CALLER = Caller(
    tenant=TenantScope("default"),
    tenant_id="default",
    user_id=None,
    scopes=frozenset({"jobs:read", "jobs:write"}),
    key_id="bench",
)

WORKFLOWS: tuple[dict[str, Any], ...] = (
    {
        "name": THREE_NOOPS,
        "steps": [
            {"id": "step_0", "type": "noop", "config": {"mark": "start"}},
            {"id": "step_1", "type": "noop"},
            {"id": "step_2", "type": "noop", "config": {"mark": "end"}},
        ],
    },
    {
        "name": ONE_CALL,
        "steps": [
            {
                "id": "answer",
                "type": "llm",
                "config": {
                    "provider": "openai_compatible",
                    "model": "bench-model",
                    "prompt_text": "One line about the sea.",
                },
            }
        ],
    },
    {
        "name": HOLD,
        "timeout_seconds": HOLD_LIMIT_SECONDS,
        "input_schema": {
            "type": "object",
            "required": ["seconds"],
            "properties": {"seconds": {"type": "number", "minimum": 0, "maximum": HOLD_LIMIT_SECONDS}},
            "additionalProperties": False,
        },
        "steps": [{"id": "hold", "type": "hold", "config": {"seconds": "${input.seconds}"}}],
    },
)
_MARKS = {"start": bench_protocol.START, "end": bench_protocol.END}


class NoopConfig(BaseModel):
    """Which mark it makes for the suite, if any."""

    model_config = ConfigDict(extra="forbid")
    mark: Literal["start", "end"] | None = None


class NoopStep:
    """The kind `noop`: gives a small object at once."""

    type = "noop"
    config_model: ConfigModel = NoopConfig
    is_container = False

    def compile(self, step: StepCompiler) -> StepBody:
        mark = step.config(NoopConfig).mark
        return _Noop(None if mark is None else _MARKS[mark])


class _Noop(StepBody):
    def __init__(self, mark: int | None) -> None:
        self._mark = mark

    async def run(self, execution: StepExecution) -> JsonValue:
        if self._mark is not None:
            bench_protocol.marks.add(self._mark)
        return {"step": execution.step_id}


class HoldConfig(BaseModel):
    """For how long."""

    model_config = ConfigDict(extra="forbid")
    seconds: Any


class HoldStep:
    """The kind `hold`: waits, as for a model's answer, and uses nothing meanwhile."""

    type = "hold"
    config_model: ConfigModel = HoldConfig
    is_container = False

    def compile(self, step: StepCompiler) -> StepBody:
        return _Hold(step.template(step.config(HoldConfig).seconds, "seconds"))


class _Hold(StepBody):
    def __init__(self, seconds: Template) -> None:
        self._seconds = seconds

    async def run(self, execution: StepExecution) -> JsonValue:
        await asyncio.sleep(self._seconds.render(execution.scope))
        return None


def bench_steps() -> tuple[StepKind, ...]:
    """Return the kinds above, for `build_services` and `serving` to take beside their own."""
    return (NoopStep(), HoldStep())


def write_workflows(folder: Path) -> None:
    """Write the workflows of the benches into `folder`, where `bench_environment` looks for them."""
    definitions = folder / "definitions"
    definitions.mkdir(parents=True, exist_ok=True)
    for workflow in WORKFLOWS:
        (definitions / f"{workflow['name']}.json").write_text(json.dumps(workflow))


def bench_environment(database_url: str, folder: Path) -> dict[str, str]:
    """Return the settings of a server as it is shipped, but for its files and for not waiting when it stops."""
    return {
        "ENVIRONMENT": "test",
        "DATABASE_URL": database_url,
        "CALLBOARD_HOME": str(folder / "home"),
        "WORKFLOWS_DIR": str(folder / "definitions"),
        "PROMPTS_DIR": str(folder / "prompts"),
        "MARKDOWN_SCHEMAS_DIR": str(folder / "markdown_schemas"),
        "ADMIN_API_KEY": API_KEY,
        "DEFAULT_LLM_PROVIDER": "sandbox",
        "SHUTDOWN_GRACE_SECONDS": "0",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "json",
    }


def bench_settings(database_url: str, folder: Path) -> Settings:
    """Return what `bench_environment` says, read."""
    return load_settings(**{name.lower(): text for name, text in bench_environment(database_url, folder).items()})
