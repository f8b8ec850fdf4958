"""What the `config` of an llm step may hold. Called by `steps/llm.py`, and published in the format's JSON Schema."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from callboard.core.cache import MAX_TTL_SECONDS
from callboard.workflows.config_rules import RuledConfig

_Reference: TypeAlias = Annotated[str, StringConstraints(pattern=r"^\$\{.*\}$")]  # filled in when the step runs


_PROMPTS = ("prompt_template", "prompt_text", "user_message")


class Fallback(BaseModel):
    """Another model to ask when the first cannot answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str | None = None
    model: str


class ModelChoice(BaseModel):
    """Who is asked, and how: the part of the config that holds no text of a conversation."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    provider: str | None = None
    model: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    top_p: float | None = Field(None, gt=0, le=1)
    fallbacks: tuple[Fallback, ...] = ()


class LLMConfig(RuledConfig):
    """What the model is asked, which model, and what its answer should look like."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"anyOf": [{"required": [name]} for name in _PROMPTS]},
    )

    provider: str | None = Field(None, description="The settings' default, if left out.")
    model: str | None = Field(None, description="The settings' default, if left out.")
    prompt_template: str | None = Field(None, description="A file in the prompts folder.")
    prompt_text: str | None = Field(None, description="The prompt itself.")
    system_prompt: str | None = Field(None, description="The system message itself.")
    system_template: str | None = Field(None, description="A file in the prompts folder for the system message.")
    user_message: str | None = Field(None, description="Text that follows the prompt.")
    variables: dict[str, Any] = Field(default_factory=dict, description="Names for the prompts, with references.")
    temperature: Annotated[float, Field(ge=0, le=2)] | _Reference | None = Field(
        None, description="How freely the model chooses its words; its own default, if left out."
    )
    max_tokens: Annotated[int, Field(ge=1)] | _Reference | None = Field(
        None, description="The longest answer, in tokens; its own limit, if left out."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | _Reference | None = Field(
        None, description="Choose among the likeliest words alone that together have this probability."
    )
    stream: bool = Field(default=False, description="Take the answer in pieces, as it comes. The output is the same.")
    output_schema: dict[str, Any] | None = Field(None, description="JSON Schema that the answer has to fit.")
    fallbacks: list[Fallback] = Field(
        default_factory=list, description="Models to ask next, in order, when one cannot answer: {provider, model}."
    )
    cache_ttl: int = Field(
        0, ge=0, le=MAX_TTL_SECONDS, description="Seconds for which an answer is kept; 0: not at all."
    )

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield where there are two prompts or two system messages, and where there is nothing to ask."""
        for file_field, text_field in (("prompt_template", "prompt_text"), ("system_template", "system_prompt")):
            if given.get(file_field) is not None and given.get(text_field) is not None:
                yield file_field, f"Give {file_field} (a file) or {text_field}, not both."
        prompts = [given[name] for name in _PROMPTS if given.get(name) is not None]
        if not prompts:
            yield "", "Give a prompt: prompt_template (a file), prompt_text or user_message."
        elif not any(prompts):
            field = next(name for name in _PROMPTS if given.get(name) is not None)
            yield field, "The prompt is empty, so nothing would be asked."
