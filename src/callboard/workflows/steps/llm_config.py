"""What the `config` of an llm step may hold. Called by `steps/llm.py`, and published in the format's JSON Schema."""

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

_Reference: TypeAlias = Annotated[str, StringConstraints(pattern=r"^\$\{.*\}$")]  # filled in when the step runs


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


class LLMConfig(BaseModel):
    """What the model is asked, which model, and what its answer should look like."""

    model_config = ConfigDict(extra="forbid")

    provider: str | None = Field(None, description="The settings' default, if left out.")
    model: str | None = Field(None, description="The settings' default, if left out.")
    prompt_template: str | None = Field(None, description="A file in the prompts folder.")
    prompt_text: str | None = Field(None, description="The prompt itself.")
    system_prompt: str | None = Field(None, description="The system message itself.")
    system_template: str | None = Field(None, description="A file in the prompts folder for the system message.")
    user_message: str | None = Field(None, description="Text that follows the prompt.")
    variables: dict[str, Any] = Field(default_factory=dict, description="Names for the prompts, with references.")
    temperature: Annotated[float, Field(ge=0, le=2)] | _Reference | None = None
    max_tokens: Annotated[int, Field(ge=1)] | _Reference | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | _Reference | None = None
    stream: bool = False
    output_schema: dict[str, Any] | None = Field(None, description="JSON Schema that the answer has to fit.")
    fallbacks: list[Fallback] = Field(default_factory=list)
    cache_ttl: int = Field(0, ge=0, description="Seconds for which an answer is kept; 0: not at all.")

    @model_validator(mode="after")
    def _has_one_prompt(self) -> "LLMConfig":
        if self.prompt_template is not None and self.prompt_text is not None:
            raise ValueError("give prompt_template or prompt_text, not both")
        if self.system_template is not None and self.system_prompt is not None:
            raise ValueError("give system_template or system_prompt, not both")
        if self.prompt_template is None and self.prompt_text is None and self.user_message is None:
            raise ValueError("give a prompt: prompt_template (a file), prompt_text or user_message")
        return self
