"""Settings: every one with its type, unit and default, read once at start.

An argument of the program wins over the environment, then come `.env`, `settings.{environment}.ini` and
`settings.ini` (`core/ini_settings.py`), then the default. What is empty counts as not given.

`wiring` reads them and hands each part only what it needs. `docs/settings.md` and `.env.example` are made
from the descriptions here (`scripts/settings_docs.py`), so that they cannot differ.
"""

import json
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from callboard import __version__
from callboard.core.ini_files import IniFileError
from callboard.core.ini_settings import IniSettingsSource
from callboard.core.limits import RateLimit, parse_rate_limit
from callboard.core.pricing import UnitPrice, read_price
from callboard.core.settings_origins import find_origins, name_of
from callboard.core.url_guard import AllowedHosts

LLM_PROVIDERS_WITH_KEYS = ("openrouter", "anthropic", "openai")  # the order in which a default is looked for

RATE_LIMIT_OFF = "off"
MAX_LIMIT_USD = 1_000_000_000
REDIS_SCHEMES = ("redis", "rediss")
AMQP_SCHEMES = ("amqp", "amqps")

WORKER_COMMANDS = {  # by QUEUE_BACKEND
    "embedded": "callboard worker",
    "celery": "celery -A callboard.worker:celery_app worker --pool=threads",
    "arq": "arq callboard.worker.WorkerSettings",
}

ProviderName: TypeAlias = Literal["openrouter", "anthropic", "openai", "openai_compatible", "replay", "sandbox"]
Environment: TypeAlias = Literal["development", "production", "test"]
CommaSeparated: TypeAlias = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """A setting is wrong; the message has a line for each, with what is allowed."""


class Settings(BaseSettings):
    """All settings of a process. A name in capitals is the environment variable's."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    # where things are
    callboard_home: Path = Field(
        Path(".callboard"), description="Folder for the SQLite file, keys made at first start and other local data."
    )
    callboard_config_dir: Path = Field(
        Path(), description="Folder of settings.ini and settings.{environment}.ini, where there are such files."
    )
    database_url: str = Field(
        "",
        description="postgresql://user:password@host/name (also postgres:// and postgresql+asyncpg://) or sqlite:///file. Empty: callboard.db in CALLBOARD_HOME.",
    )
    database_schema: str = Field(
        "callboard",
        pattern=r"^[a-z_][a-z0-9_]{0,47}$",
        description="Schema for all tables on PostgreSQL, so that the database can be shared. Not used on SQLite.",
    )
    database_pool_size: int = Field(
        10,
        ge=1,
        le=200,
        description="Connections for requests and reads, per process. Beside them a process holds up to 5 for writing, and a worker 2 more (its lease, LISTEN; with a DATABASE_POOLER only its lease).",
    )
    database_pooler: Literal["none", "transaction"] = Field(
        "none",
        description="transaction: DATABASE_URL leads to PostgreSQL through a pooler in transaction mode (pgbouncer, Supavisor). Nothing is then prepared or listened for: workers poll (POLL_SECONDS). Not used on SQLite.",
    )
    workflows_dir: Path = Field(Path("workflows/definitions"), description="Folder of workflow files (*.json).")
    prompts_dir: Path = Field(Path("workflows/prompts"), description="Folder of prompt files and replay answers.")
    markdown_schemas_dir: Path = Field(
        Path("workflows/markdown_schemas"),
        description="Folder of named schemas for markdown_to_json, beside those that are built in.",
    )

    # the application
    environment: Environment = Field(
        "development",
        description="development, production or test. Production refuses to start without keys and with a database that is behind.",
    )
    app_name: str = Field("Callboard", description="Name shown at / and in the API's documentation.")
    app_version: str = Field(__version__, description="Version shown at /health and in the API's documentation.")
    app_description: str = Field(
        "Durable AI workflows over HTTP.", description="Description shown in the API's documentation."
    )
    host: str = Field("127.0.0.1", description="Address that `callboard serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `callboard serve` listens on; 0 takes a free one.")
    cors_origins: CommaSeparated = Field(
        (), description="Origins that browsers may call from, separated by commas; * for all."
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body, in bytes.")

    # keys
    llm_microservice_api_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Key of the calling application: scopes jobs:read and jobs:write in tenant `default`. Compared at each request, never stored.",
    )
    admin_api_key: SecretStr | None = Field(
        None, min_length=16, description="Key of the operator: every scope, every tenant."
    )
    secret_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret that API keys are hashed and cursors are signed with, 32 characters at least. Development makes one in CALLBOARD_HOME.",
    )
    metrics_public: bool = Field(default=False, description="Whether /metrics answers without a key.")

    # how often somebody may call
    rate_limit_per_key: str = Field(
        "off", description="Requests that one API key may make, such as 600/minute or 20/second; off: any number."
    )
    rate_limit_per_user: str = Field(
        "off",
        description="Requests that one user may make, with whatever keys: those of keys bound to the user, and submits that name the user. Such as 60/minute; off: any number.",
    )
    rate_limit_anonymous: str = Field(
        "60/minute",
        description="Requests without a valid key that one address may make; more are refused before the key is looked at, unless it was valid from there before. off: any number.",
    )
    trusted_proxies: CommaSeparated = Field(
        (),
        description="Addresses and networks of proxies before the server, separated by commas, whose X-Forwarded-For tells the caller's address. Empty: the header is not looked at.",
    )

    # queue and runs
    queue_backend: Literal["embedded", "celery", "arq"] = Field(
        "embedded",
        description="How workers learn of work. embedded: inside the API process and over the database, with `callboard worker` beside it. celery: tokens on Redis or RabbitMQ for `celery -A callboard.worker:celery_app worker`. arq: tokens on Redis for `arq callboard.worker.WorkerSettings`.",
    )
    queue_name: str = Field(
        "callboard",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$",
        description="Name of the queue that holds the tokens, where there is a broker. One for each database.",
    )
    redis_url: str | None = Field(
        None,
        description="redis://host:6379/0. Where processes count together for rate limits; shown in health. The broker of arq, and of celery where there is no BROKER_URL.",
    )
    broker_url: str | None = Field(
        None, description="Broker of the Celery queue: amqp://user:password@host:5672//, or redis://. Empty: REDIS_URL."
    )
    celery_result_backend: str | None = Field(
        None,
        description="Redis in which Celery keeps for an hour what each token came to. Empty: REDIS_URL, or a broker that is Redis, or none.",
    )
    celery_concurrency: int = Field(
        100,
        ge=1,
        le=2000,
        description="Runs that one Celery worker holds at once, each with a waiting thread, where `-c` says nothing.",
    )
    embedded_worker: bool = Field(
        default=True,
        description="Whether `callboard serve` also runs jobs, where QUEUE_BACKEND is embedded. false: only `callboard worker` processes do.",
    )
    max_running_jobs: int = Field(1000, ge=1, le=100_000, description="Runs that one worker process holds in flight.")
    max_running_jobs_per_user: int = Field(
        0,
        ge=0,
        description="Jobs of one user (of one tenant) that run at once over all workers; further ones stand back for others'. Jobs without a user_id are nobody's. 0: any number.",
    )
    max_running_jobs_per_workflow: int = Field(
        0,
        ge=0,
        description="Jobs of one workflow that run at once over all workers, of all tenants together. 0: any number.",
    )
    max_running_jobs_per_tenant: int = Field(
        0, ge=0, description="Jobs of one tenant that run at once over all workers. 0: any number."
    )
    lease_seconds: int = Field(
        60, ge=2, le=3600, description="Seconds after which a worker that was not heard of loses its jobs."
    )
    poll_seconds: float = Field(1.0, gt=0, le=60, description="Seconds between looks for work when nothing rang.")
    max_step_output_bytes: int = Field(
        4_194_304, ge=1024, description="Largest stored output of one step, in bytes of JSON."
    )
    shutdown_grace_seconds: float = Field(
        10, ge=0, le=3600, description="Seconds that calls in flight may take to finish after SIGTERM."
    )
    idempotency_hours: int = Field(
        24, ge=1, le=720, description="Hours for which an Idempotency-Key gives the first answer again."
    )

    # housekeeping
    stale_after_hours: int = Field(
        72,
        ge=0,
        le=87_600,
        description="Hours without progress after which a job that is pending, queued or processing fails as stale; waiting ones never do. 0: none does.",
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days for which jobs that have ended are kept, with steps, events and results; older ones are deleted, their usage rows stay. 0: for ever.",
    )

    # money
    daily_budget_usd_per_user: Decimal | None = Field(
        None,
        ge=0,
        le=MAX_LIMIT_USD,
        description="US dollars that the jobs of one user may spend in a day (UTC), where no limit of their own is set. Empty: any amount.",
    )
    monthly_budget_usd_per_user: Decimal | None = Field(
        None, ge=0, le=MAX_LIMIT_USD, description="The same for a month (UTC)."
    )
    daily_budget_usd_per_tenant: Decimal | None = Field(
        None,
        ge=0,
        le=MAX_LIMIT_USD,
        description="US dollars that all jobs of one tenant may spend in a day (UTC), where no limit of its own is set. Empty: any amount.",
    )
    monthly_budget_usd_per_tenant: Decimal | None = Field(
        None, ge=0, le=MAX_LIMIT_USD, description="The same for a month (UTC)."
    )

    # language models
    default_llm_provider: ProviderName | None = Field(
        None,
        description="Who serves llm steps that name no provider. Empty: the first of openrouter, anthropic, openai that has a key, else replay where the workflow has answers, else sandbox.",
    )
    default_llm_model_name: str | None = Field(
        None,
        validation_alias=AliasChoices("default_llm_model_name", "default_openai_model_name"),
        description="Model of llm steps that name none. Empty: a default of the provider. DEFAULT_OPENAI_MODEL_NAME is read too.",
    )
    model_aliases: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description='JSON object {"old name": "new name"}: replaces models that a provider retired.',
    )
    openrouter_api_key: SecretStr | None = Field(None, description="Key of OpenRouter.")
    openrouter_base_url: str = Field("https://openrouter.ai/api/v1", description="Base URL of OpenRouter.")
    openai_api_key: SecretStr | None = Field(None, description="Key of OpenAI.")
    openai_base_url: str = Field("https://api.openai.com/v1", description="Base URL of OpenAI.")
    anthropic_api_key: SecretStr | None = Field(None, description="Key of Anthropic.")
    anthropic_base_url: str = Field("https://api.anthropic.com", description="Base URL of Anthropic.")
    openai_compatible_api_key: SecretStr | None = Field(
        None, description="Key of the server at OPENAI_COMPATIBLE_BASE_URL, where it asks for one."
    )
    openai_compatible_base_url: str | None = Field(
        None,
        description="Base URL of any server that speaks OpenAI's format (Ollama, vLLM): provider `openai_compatible`.",
    )
    breaker_failures: int = Field(
        3,
        ge=1,
        le=1000,
        description="Failures in a row after which calls to a provider's model are refused for a while.",
    )
    breaker_seconds: float = Field(60, gt=0, le=3600, description="Seconds for which they are refused.")

    # outside services
    google_places_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("google_places_api_key", "google_services_api_key"),
        description="Key of Google Places. Empty: recorded answers (replay), or made-up places where DEFAULT_LLM_PROVIDER is sandbox.",
    )
    google_places_base_url: str = Field("https://places.googleapis.com", description="Base URL of Google Places.")
    weatherapi_api_key: SecretStr | None = Field(
        None,
        description="Key of weatherapi.com. Empty: recorded answers (replay), or made-up weather where DEFAULT_LLM_PROVIDER is sandbox.",
    )
    weatherapi_base_url: str = Field("https://api.weatherapi.com/v1", description="Base URL of weatherapi.com.")
    http_allowed_hosts: CommaSeparated = Field(
        (),
        description="Hosts that steps of the service http may call, separated by commas: api.example.com, api.example.com:8443, *.example.com. One without * may lie in a private network and need no https. Empty: none, but recorded answers (replay), or an echo where DEFAULT_LLM_PROVIDER is sandbox.",
    )
    service_rate_limits: Annotated[dict[str, RateLimit], NoDecode] = Field(
        default_factory=dict,
        description='JSON object of how often services are called at most, by all processes together where there is a REDIS_URL: {"google_places": "10/second", "http:api.example.com": "100/minute"}. Steps wait for their turn.',
    )
    external_service_pricing: Annotated[dict[str, UnitPrice], NoDecode] = Field(
        default_factory=dict,
        description='JSON object of the operator\'s own prices by model or service: {"name": {"prompt": 3, "completion": 15}} (USD per million tokens; also input_cost/output_cost), {"cost_unit": 0.032} (USD per call) or {"cost_per_char": 0.00002}.',
    )

    # logs
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto",
        description="Form of the lines on standard error: json, console (readable), or auto: json in production, console elsewhere.",
    )
    log_dir: Path | None = Field(
        None,
        description="Folder of log files {service}.{level}.{date}.log, JSON, a new one at midnight UTC; the file of a level has what is more severe, too. Empty: none.",
    )
    log_keep_days: int = Field(
        14, ge=0, le=3650, description="Days for which log files are kept; older ones are deleted. 0: for ever."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - a folder of secret files is not read
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the one that wins first."""
        files = IniSettingsSource(settings_cls, dotenv_settings)
        return init_settings, env_settings, dotenv_settings, files

    @field_validator("rate_limit_per_key", "rate_limit_per_user", "rate_limit_anonymous")
    @classmethod
    def _check_rate_limit(cls, value: str) -> str:
        if value.lower() == RATE_LIMIT_OFF:
            return RATE_LIMIT_OFF
        try:
            parse_rate_limit(value)
        except ValueError as error:
            raise ValueError(f"{error}; off is any number") from error
        return value

    @field_validator("http_allowed_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        AllowedHosts.parse(value)
        return value

    @field_validator("service_rate_limits", mode="before")
    @classmethod
    def _read_service_limits(cls, value: Any) -> Any:
        limits = {}
        for name, limit in _read_json_object(value).items():
            try:
                limits[name] = limit if isinstance(limit, RateLimit) else parse_rate_limit(limit)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return limits

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ip_network(each)
            except ValueError as error:
                raise ValueError(f"{error}; write addresses (10.0.0.7) and networks (10.0.0.0/8)") from error
        return value

    @field_validator("cors_origins", "http_allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("model_aliases", mode="before")
    @classmethod
    def _read_aliases(cls, value: Any) -> Any:
        return _read_json_object(value)

    @field_validator("external_service_pricing", mode="before")
    @classmethod
    def _read_pricing(cls, value: Any) -> Any:
        entries = _read_json_object(value)
        prices = {}
        for name, raw in entries.items():
            try:
                prices[name] = raw if isinstance(raw, UnitPrice) else read_price(raw)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return prices

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: Any) -> Any:
        """Read `NAME=` as not given: that is how `.env.example` and compose files leave a setting out.

        Stands last: pydantic runs the validators of mode "before" from the last to the first.
        """
        if isinstance(value, str) and not value.strip():
            return cls.model_fields[info.field_name].get_default(call_default_factory=True)
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        if value and not value.startswith(
            ("postgres://", "postgresql://", "postgresql+asyncpg://", "sqlite:///", "sqlite+aiosqlite:///")
        ):
            raise ValueError("starts with postgresql://, postgres://, postgresql+asyncpg:// or sqlite:///")
        return value

    @field_validator("redis_url", "celery_result_backend")
    @classmethod
    def _check_redis_url(cls, value: str | None) -> str | None:
        if value is not None and not _is_url_of(value, REDIS_SCHEMES):
            raise ValueError("is like redis://host:6379/0; rediss:// is with TLS")
        return value

    @field_validator("broker_url")
    @classmethod
    def _check_broker_url(cls, value: str | None) -> str | None:
        if value is not None and not _is_url_of(value, (*AMQP_SCHEMES, *REDIS_SCHEMES)):
            raise ValueError(
                "is like amqp://user:password@host:5672// or redis://host:6379/0; amqps:// and rediss:// are with TLS"
            )
        return value

    @model_validator(mode="after")
    def _check_broker(self) -> "Settings":
        if self.queue_backend == "arq" and self.redis_url is None:
            raise ValueError("QUEUE_BACKEND=arq needs REDIS_URL, such as redis://127.0.0.1:6379/0")
        if self.queue_backend == "celery" and self.broker_url is None and self.redis_url is None:
            raise ValueError(
                "QUEUE_BACKEND=celery needs BROKER_URL, such as amqp://guest:guest@127.0.0.1:5672// or "
                "redis://127.0.0.1:6379/0"
            )
        return self

    @property
    def celery_broker_url(self) -> str:
        """The broker of the Celery queue."""
        return self.broker_url or self.redis_url or ""

    @property
    def celery_results_url(self) -> str | None:
        """Where Celery keeps results, or None."""
        broker = self.celery_broker_url
        return self.celery_result_backend or self.redis_url or (broker if _is_url_of(broker, REDIS_SCHEMES) else None)

    @property
    def token_broker_url(self) -> str | None:
        """The broker that tokens go through, or None where there is none."""
        return {"celery": self.celery_broker_url, "arq": self.redis_url}.get(self.queue_backend)

    @property
    def worker_command(self) -> str:
        """The command that starts a worker."""
        return WORKER_COMMANDS[self.queue_backend]

    @property
    def runs_jobs_in_server(self) -> bool:
        """Whether `callboard serve` holds a worker."""
        return self.embedded_worker and self.queue_backend == "embedded"

    @property
    def resolved_database_url(self) -> str:
        """The URL in SQLAlchemy's form, with the driver that we use."""
        url = self.database_url or f"sqlite:///{(self.callboard_home / 'callboard.db').as_posix()}"
        for prefix in ("postgresql+asyncpg://", "postgresql://", "postgres://"):
            if url.startswith(prefix):
                return "postgresql+asyncpg://" + url.removeprefix(prefix)
        return "sqlite+aiosqlite:///" + url.removeprefix("sqlite+aiosqlite:///").removeprefix("sqlite:///")

    @property
    def is_behind_pooler(self) -> bool:
        return self.database_pooler == "transaction"

    @property
    def logs_json(self) -> bool:
        return self.log_format == "json" or (self.log_format == "auto" and self.environment == "production")

    def rate_limit(self, who: Literal["per_key", "per_user", "anonymous"]) -> RateLimit | None:
        """Return how often somebody may call, or None for any number of times."""
        text: str = getattr(self, f"rate_limit_{who}")
        return None if text == RATE_LIMIT_OFF else parse_rate_limit(text)

    def provider_with_key(self) -> str | None:
        """Return the first LLM provider that has a key, in the documented order, or None."""
        for name in LLM_PROVIDERS_WITH_KEYS:
            if getattr(self, f"{name}_api_key") is not None:
                return name
        return None

    def price_of(self, service: str) -> UnitPrice | None:
        """Return the operator's own price of `service`, or None when they gave none."""
        return self.external_service_pricing.get(service)


def load_settings(**overrides: Any) -> Settings:
    """Return the settings of this process; `overrides` win over every other source.

    Raises: SettingsError, naming every wrong setting and where it stands, and what is allowed.
    """
    try:
        return Settings(**overrides)
    except IniFileError as error:
        raise SettingsError(str(error)) from error
    except ValidationError as error:
        raise SettingsError(_describe(error, overrides)) from None  # pydantic's own text would show the value


def _describe(error: ValidationError, overrides: dict[str, Any]) -> str:
    origins = find_origins(Settings, overrides)
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            lines.append(message)
            continue
        name = name_of(Settings, str(problem["loc"][0]))
        description = Settings.model_fields[name].description or ""
        origin = f" (from {origins[name]})" if name in origins else ""
        lines.append(f"{name.upper()}: {message}{origin}. {description}".strip())
    return "\n".join(lines)


def _is_url_of(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and parts.port != 0
    except ValueError:  # a port that is none
        return False


def _read_json_object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=Decimal)
        except ValueError as error:
            raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("is a JSON object")
    return {str(key): _plain_numbers(item) for key, item in value.items()}


def _plain_numbers(item: Any) -> Any:
    """Write Decimals as text, the form in which `read_price` takes exact numbers."""
    if isinstance(item, dict):
        return {key: str(child) if isinstance(child, Decimal) else child for key, child in item.items()}
    return item
