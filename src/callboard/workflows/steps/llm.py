"""The `llm` step: a prompt, an answer, and an answer that fits a schema. `wiring` hands it to the registry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from callboard.core.cache import AnswerCache
from callboard.core.errors import Finding, PermanentError
from callboard.core.json_values import JsonValue
from callboard.llm.client import Candidate, LLMClient
from callboard.llm.json_answers import NotJsonError, read_json_answer
from callboard.llm.port import LLMRequest, Message
from callboard.llm.pricing import resolve_alias
from callboard.workflows.call_prices import CallPrices
from callboard.workflows.findings import parts_of
from callboard.workflows.json_schemas import InvalidSchemaError, JsonSchema
from callboard.workflows.prompts import Prompt
from callboard.workflows.references import Scope, Template, as_text
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution
from callboard.workflows.steps.foresight import Foreseen, ForeseenMessage, ForeseenModelCall, IsKnown
from callboard.workflows.steps.llm_answers import build_output, shape_of_output
from callboard.workflows.steps.llm_calls import ModelCalls
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

    def __init__(
        self, client: LLMClient, cache: AnswerCache | None = None, *, prices: CallPrices | None = None
    ) -> None:
        """`cache` keeps answers for steps with a `cache_ttl`; left out, in this kind's own memory.

        `prices` tell budgets what a call can cost.
        """
        self._client = client
        self._prices = prices
        self._cache = cache or AnswerCache()

    def compile(self, step: StepCompiler) -> StepBody:
        variables = step.template(step.raw.get("variables", {}), "variables")
        checker = _compile_schema(step)  # before the config, so that its faults are told beside those of others
        config = step.config(LLMConfig)
        given = config.model_dump(include=set(ModelChoice.model_fields), exclude_none=True)
        return _Question(
            calls=ModelCalls(
                client=self._client,
                prices=self._prices,
                cache=self._cache,
                cache_ttl=config.cache_ttl,
                is_streamed=config.stream,
            ),
            defaults=step.defaults,
            choice=_compile_choice(step, given),
            variables=variables,
            system=_compile_text(step, config, "system_template", "system_prompt"),
            prompt=_compile_text(step, config, "prompt_template", "prompt_text"),
            user_message=_compile_text(step, config, "", "user_message"),
            output_schema=config.output_schema,
            checker=checker,
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


def _compile_schema(step: StepCompiler) -> JsonSchema | None:
    schema = step.raw.get("output_schema")
    if not isinstance(schema, dict):
        return None  # nothing to check against, or refused with the config
    try:
        return JsonSchema(schema)
    except InvalidSchemaError as error:
        for fault in error.faults:
            step.report(fault.message, "output_schema", *parts_of(fault.pointer), code=error.code)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question(StepBody):
    calls: ModelCalls
    defaults: Mapping[str, Any]
    choice: Template
    variables: Template
    system: Prompt | None
    prompt: Prompt | None
    user_message: Prompt | None
    output_schema: Mapping[str, Any] | None
    checker: JsonSchema | None

    def is_for_its_output(self) -> bool:
        return True

    def output_shape(self) -> Mapping[str, Any]:
        return shape_of_output(self.output_schema)

    def alias_value(self, output: JsonValue) -> JsonValue:
        name = "content" if self.checker is None else "parsed"
        return (
            output[name] if isinstance(output, dict) and name in output else output
        )  # a default_value may be anything

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        rendered = self.choice.render(scope)
        choice = _read_choice({name: value for name, value in rendered.items() if is_known(value)})
        return ForeseenModelCall(
            candidates=tuple((candidate.provider, candidate.model) for candidate in self._candidates(choice)),
            messages=tuple(ForeseenMessage(message.role, message.content) for message in self._messages(scope)),
            extra_text="" if self.output_schema is None else as_text(dict(self.output_schema)),
            max_tokens=choice.max_tokens,
            may_ask_again=self.checker is not None,
            may_be_kept=self.calls.cache_ttl > 0,
        )

    async def run(self, execution: StepExecution) -> JsonValue:
        choice = _read_choice(self.choice.render(execution.scope))
        candidates = self._candidates(choice)
        request = self._request(choice, candidates[0].model, execution)
        name = self.calls.name_of(request, candidates)
        answer = await self.calls.ask(execution, request, candidates, name=name, is_good=self._fits)
        if self.checker is None:
            return build_output([answer], parsed=None)
        parsed, errors = self._check(answer["content"])
        if not errors:
            return build_output([answer], parsed=parsed)
        correction = _ask_again(request, answer["content"], errors)
        again = await self.calls.ask_anew(execution, correction, candidates, name=name, is_good=self._fits)
        parsed, errors = self._check(again["content"])
        if not errors:
            return build_output([answer, again], parsed=parsed)
        raise OutputSchemaMismatchError(
            f"The model's answer does not fit the output_schema, nor did its second one: {_list_errors(errors[:3])}",
            details={"errors": [{"pointer": error.pointer, "message": error.message} for error in errors]},
        )

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
        return LLMRequest(
            model=model,
            messages=self._messages(execution.scope),
            temperature=choice.temperature,
            max_tokens=choice.max_tokens,
            top_p=choice.top_p,
            output_schema=self.output_schema,
            timeout_seconds=execution.timeout_seconds,
        )

    def _messages(self, scope: Scope) -> tuple[Message, ...]:
        variables = self.variables.render(scope)
        texts = [prompt.render(variables, scope) for prompt in (self.prompt, self.user_message) if prompt]
        question = Message("user", "\n\n".join(texts))
        if self.system is None:
            return (question,)
        return Message("system", self.system.render(variables, scope)), question

    def _fits(self, content: str) -> bool:
        return self.checker is None or not self._check(content)[1]

    def _check(self, content: str) -> tuple[JsonValue, list[Finding]]:
        assert self.checker is not None
        try:
            parsed = read_json_answer(content)
        except NotJsonError as error:
            return None, [Finding("", error.message)]
        return parsed, self.checker.check(parsed)


def _read_choice(rendered: Mapping[str, JsonValue]) -> ModelChoice:
    try:
        return ModelChoice.model_validate(rendered)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise LLMConfigError(f"The config does not fit once its references are filled in: {faults}.") from error


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
