"""What the server's answers about itself look like."""

from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Usd = Annotated[Decimal, PlainSerializer(lambda value: round(float(value), 6), return_type=float, when_used="json")]
PartStatus: TypeAlias = Literal["healthy", "unhealthy", "not_configured", "no_workers"]


class About(BaseModel):
    """What this server is and where to go on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Callboard",
                    "version": "0.1.0",
                    "description": "Durable AI workflows over HTTP.",
                    "docs": "/docs",
                    "health": "/health",
                }
            ]
        }
    )

    name: str
    version: str
    description: str
    docs: str = Field(description="Where the API is described.")
    health: str


class WorkersHealth(BaseModel):
    """The processes that run jobs."""

    count: int = Field(description="Worker processes that were heard of within their lease.")


class BrokenFile(BaseModel):
    """A workflow file that cannot be used."""

    file: str
    message: str = Field(description="The first thing that is wrong with it.")


class WorkflowsHealth(BaseModel):
    """The workflow files."""

    count: int = Field(description="Workflows that can be run.")
    broken: list[BrokenFile] = Field(description="Files that cannot be used; they hide no others.")


class ServicesHealth(BaseModel):
    """The parts of the server."""

    database: PartStatus
    redis: PartStatus
    queue: PartStatus = Field(description="no_workers: jobs are accepted, but nothing runs them.")
    broker: PartStatus = Field(
        description="What carries the news of work between processes, where QUEUE_BACKEND is not embedded. "
        "unhealthy: jobs are accepted and kept, and begin when it is back."
    )
    workers: WorkersHealth
    workflows: WorkflowsHealth


class Health(BaseModel):
    """How the server is. degraded: it works, but something wants attention. unhealthy: it cannot work."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "degraded",
                    "version": "0.1.0",
                    "services": {
                        "database": "healthy",
                        "redis": "not_configured",
                        "queue": "healthy",
                        "broker": "not_configured",
                        "workers": {"count": 1},
                        "workflows": {
                            "count": 2,
                            "broken": [{"file": "draft.json", "message": "draft.json:3:5: Expecting ',' delimiter."}],
                        },
                    },
                }
            ]
        }
    )

    status: Literal["healthy", "degraded", "unhealthy"]
    version: str
    services: ServicesHealth


class Liveness(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: Literal["alive"] = "alive"


class ModelRead(BaseModel):
    """A model and its price."""

    provider: str
    model: str
    input_usd_per_million: Usd = Field(description="US dollars per million tokens that go in.")
    output_usd_per_million: Usd = Field(description="US dollars per million tokens that come out.")
    source: str = Field(description="Who says so: the operator's own price, or the table of genai-prices.")
    context_window: int | None = Field(description="Tokens that the model takes at most, where known.")


class ModelList(BaseModel):
    """The models with a known price, at the providers that can be called and those that a key would open."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "providers": ["openai", "replay", "sandbox"],
                    "default_provider": "openai",
                    "default_model": None,
                    "items": [
                        {
                            "provider": "openai",
                            "model": "gpt-5-mini",
                            "input_usd_per_million": 0.25,
                            "output_usd_per_million": 2.0,
                            "source": "genai-prices",
                            "context_window": 400000,
                        }
                    ],
                    "next_cursor": None,
                    "total": 1,
                }
            ]
        }
    )

    providers: list[str] = Field(description="Providers that this server can call.")
    default_provider: str | None = Field(
        description="Serves llm steps that name none. null: replay where the workflow has answers, else sandbox."
    )
    default_model: str | None = Field(description="Model of llm steps that name none. null: the provider's own.")
    items: list[ModelRead]
    next_cursor: str | None = Field(None, description="Always null: the list is whole.")
    total: int
