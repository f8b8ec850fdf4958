"""The `llm` step: a prompt, an answer, and an answer that fits a schema. `wiring` hands it to the registry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from callboard.core.errors import Finding, PermanentError
from callboard.core.json_values import JsonValue
from callboard.llm.client import Candidate, LLMClient
from callboard.llm.port import LLMRequest, Message
from callboard.llm.pricing import resolve_alias
from callboard.workflows.json_schemas import InvalidSchemaError, JsonSchema
from callboard.workflows.prompts import Prompt
from callboard.workflows.references import Scope, Template
from callboard.workflows.steps.base import ConfigModel, PaidCall, StepBody, StepCompiler, StepExecution
from callboard.workflows.steps.llm_answers import (
    NotJsonError,
    build_output,
    build_usage,
    journal_answer,
    read_json_answer,
)
from callboard.workflows.steps.llm_config import LLMConfig, ModelChoice

MAX_ERRORS_SHOWN = 20  # of an answer that does not fit: more would not help a model


class OutputSchemaMismatchError(PermanentError):
    """The model's answer does not fit the output_schema, and neither did its second one."""

    code = "output_schema_mismatch"
    category = "provider"


class LLMConfigError(PermanentError):
    """What the references in an llm step's config led to is not what it takes."""

    code = "llm_config_invalid"
    category = "workflow"


class NoModelError(PermanentError):
    """Neither the step nor the settings name a model."""

    code = "no_model"
    category = "workflow"


class LLMStep:
    """The kind `llm`. An alias stands for the answer's `content`, with an `output_schema` for `parsed`."""

    type = "llm"
    config_model: ConfigModel = LLMConfig
    is_container = False

    def __init__(self, client: LLMClient) -> None:
        self._client = client

    def compile(self, step: StepCompiler) -> StepBody:
        config = step.config(LLMConfig)
        given = config.model_dump(include=set(ModelChoice.model_fields), exclude_none=True)
        return _Question(
            client=self._client,
            defaults=step.defaults,
            choice=_compile_choice(step, given),
            variables=step.template(config.variables, "variables"),
            system=_compile_text(step, config, "system_template", "system_prompt"),
            prompt=_compile_text(step, config, "prompt_template", "prompt_text"),
            user_message=_compile_text(step, config, "", "user_message"),
            output_schema=config.output_schema,
            checker=_compile_schema(step, config),
        )


def _compile_choice(step: StepCompiler, given: Mapping[str, Any]) -> Template:
    for key, value in given.items():
        step.template(value, key)  # for its findings, each at its place
    return step.template(dict(given))


def _compile_text(step: StepCompiler, config: LLMConfig, file_field: str, text_field: str) -> Prompt | None:
    names = config.variables.keys()
    path = getattr(config, file_field) if file_field else None
    if path is not None:
        return step.prompt(path, file_field, variables=names)
    text = getattr(config, text_field)
    return None if text is None else step.prompt_text(text, text_field, variables=names)


def _compile_schema(step: StepCompiler, config: LLMConfig) -> JsonSchema | None:
    if config.output_schema is None:
        return None
    try:
        return JsonSchema(config.output_schema)
    except InvalidSchemaError as error:
        step.refuse(error.message, "output_schema", code=error.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question(StepBody):
    client: LLMClient
    defaults: Mapping[str, Any]
    choice: Template
    variables: Template
    system: Prompt | None
    prompt: Prompt | None
    user_message: Prompt | None
    output_schema: Mapping[str, Any] | None
    checker: JsonSchema | None

    def alias_value(self, output: JsonValue) -> JsonValue:
        name = "content" if self.checker is None else "parsed"
        return (
            output[name] if isinstance(output, dict) and name in output else output
        )  # a default_value may be anything

    async def run(self, execution: StepExecution) -> JsonValue:
        choice = self._render_choice(execution.scope)
        candidates = self._candidates(choice)
        request = self._request(choice, candidates[0].model, execution)
        answer = await self._ask(execution, request, candidates)
        if self.checker is None:
            return build_output([answer], parsed=None)
        return await self._answer_that_fits(execution, request, candidates, answer)

    async def _answer_that_fits(
        self, execution: StepExecution, request: LLMRequest, candidates: list[Candidate], answer: dict[str, Any]
    ) -> JsonValue:
        """Return the output of `answer`, or of the one that is asked for once more when it does not fit."""
        parsed, errors = self._check(answer["content"])
        if not errors:
            return build_output([answer], parsed=parsed)
        again = await self._ask(execution, _ask_again(request, answer["content"], errors), candidates)
        parsed, errors = self._check(again["content"])
        if not errors:
            return build_output([answer, again], parsed=parsed)
        raise OutputSchemaMismatchError(
            f"The model's answer does not fit the output_schema, nor did its second one: {_list_errors(errors[:3])}",
            details={"errors": [{"pointer": error.pointer, "message": error.message} for error in errors]},
        )

    def _render_choice(self, scope: Scope) -> ModelChoice:
        try:
            return ModelChoice.model_validate(self.choice.render(scope))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise LLMConfigError(f"The config does not fit once its references are filled in: {faults}.") from error

    def _candidates(self, choice: ModelChoice) -> list[Candidate]:
        wanted = [(choice.provider, choice.model), *((other.provider, other.model) for other in choice.fallbacks)]
        aliases = self.defaults.get("model_aliases") or {}
        candidates = []
        for wanted_provider, wanted_model in wanted:
            provider = wanted_provider or self.defaults.get("provider")
            model = wanted_model or self.defaults.get("model")
            if not provider or not model:
                raise NoModelError(
                    "Neither the step nor the settings name a model and its provider. "
                    "Set DEFAULT_LLM_PROVIDER and DEFAULT_LLM_MODEL_NAME, or provider and model in the step."
                )
            candidates.append(Candidate(provider, resolve_alias(model, aliases)))
        return candidates

    def _request(self, choice: ModelChoice, model: str, execution: StepExecution) -> LLMRequest:
        variables = self.variables.render(execution.scope)
        texts = [prompt.render(variables, execution.scope) for prompt in (self.prompt, self.user_message) if prompt]
        messages = [Message("user", "\n\n".join(texts))]
        if self.system is not None:
            messages.insert(0, Message("system", self.system.render(variables, execution.scope)))
        return LLMRequest(
            model=model,
            messages=tuple(messages),
            temperature=choice.temperature,
            max_tokens=choice.max_tokens,
            top_p=choice.top_p,
            output_schema=self.output_schema,
            timeout_seconds=execution.timeout_seconds,
        )

    async def _ask(self, execution: StepExecution, request: LLMRequest, candidates: list[Candidate]) -> dict[str, Any]:
        async def perform() -> PaidCall:
            response = await self.client.generate(request, candidates)
            return PaidCall(value=journal_answer(response), usage=build_usage(response, execution.step_id))

        answer: dict[str, Any] = await execution.context.call_once(perform)
        return answer

    def _check(self, content: str) -> tuple[JsonValue, list[Finding]]:
        assert self.checker is not None
        try:
            parsed = read_json_answer(content)
        except NotJsonError as error:
            return None, [Finding("", error.message)]
        return parsed, self.checker.check(parsed)


def _ask_again(request: LLMRequest, content: str, errors: list[Finding]) -> LLMRequest:
    correction = (
        "That answer does not fit the JSON Schema that was asked for:\n"
        f"{_list_errors(errors)}\n"
        "Answer again, with one JSON value that fits and nothing else."
    )
    messages = (*request.messages, Message("assistant", content), Message("user", correction))
    return LLMRequest(
        model=request.model,
        messages=messages,
        temperature=request.temperature,
        max_tokens=request.max_tokens,
        top_p=request.top_p,
        output_schema=request.output_schema,
        timeout_seconds=request.timeout_seconds,
    )


def _list_errors(errors: list[Finding]) -> str:
    return "\n".join(f"- {error.pointer or 'the answer'}: {error.message}" for error in errors[:MAX_ERRORS_SHOWN])
