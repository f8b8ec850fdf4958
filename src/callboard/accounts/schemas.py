"""What requests and answers about API keys look like."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema, field_validator, model_validator
from pydantic.config import JsonDict

from callboard.accounts.models import ApiKey
from callboard.accounts.scopes import KeyScope
from callboard.core.clock import to_iso
from callboard.core.storable_text import StorableText

UtcTime = Annotated[
    datetime,
    PlainSerializer(to_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]

_KEY_EXAMPLE: JsonDict = {
    "id": "0198c0de-0000-7000-8000-000000000001",
    "name": "shop backend",
    "prefix": "cb_Zk3v9QaB",
    "scopes": ["jobs:read", "jobs:write"],
    "tenant_id": "default",
    "user_id": None,
    "created_at": "2026-11-20T10:00:00Z",
    "last_used_at": None,
    "revoked_at": None,
}


class ApiKeyCreate(BaseModel):
    """A new key."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "shop backend", "scopes": ["jobs:read", "jobs:write"]}]},
    )

    name: StorableText = Field(min_length=1, max_length=100, description="What the key is for, for people.")
    scopes: list[KeyScope] = Field(
        min_length=1, max_length=len(KeyScope), description="What the key may do. admin implies all the others."
    )
    tenant_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        description="The tenant whose data the key reaches. Default: your own. Others need the operator's key.",
    )
    user_id: StorableText | None = Field(
        None, min_length=1, max_length=255, description="Binds the key to this user: it reaches their jobs alone."
    )

    @field_validator("scopes")
    @classmethod
    def _each_once(cls, scopes: list[KeyScope]) -> list[KeyScope]:
        return list(dict.fromkeys(scopes))

    @model_validator(mode="after")
    def _check_binding(self) -> "ApiKeyCreate":
        if self.user_id is not None and KeyScope.ADMIN in self.scopes:
            raise ValueError("a key that is bound to a user cannot have the scope admin, which reaches all users")
        return self


class ApiKeyRead(BaseModel):
    """A key, without the key itself."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEY_EXAMPLE]})

    id: UUID
    name: str
    prefix: str = Field(description="The first characters of the key, so that people tell keys apart.")
    scopes: list[str]
    tenant_id: str
    user_id: str | None
    created_at: UtcTime
    last_used_at: UtcTime | None = Field(description="When the key was last used, to the minute.")
    revoked_at: UtcTime | None

    @classmethod
    def of(cls, row: ApiKey) -> "ApiKeyRead":
        return cls(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            scopes=row.scopes.split(),
            tenant_id=row.tenant_id,
            user_id=row.user_id,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            revoked_at=row.revoked_at,
        )


class ApiKeyCreated(ApiKeyRead):
    """A new key. `key` is shown this once and cannot be read again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_KEY_EXAMPLE, "key": "cb_Zk3v9QaBc1d2e3f4g5h6i7j8k9l0m1n2o3p4q5r6s7t"}]}
    )

    key: str | None = Field(
        description="The key itself, to be kept safe. null when an Idempotency-Key repeats an earlier request."
    )

    @classmethod
    def of_new(cls, row: ApiKey, key: str | None) -> "ApiKeyCreated":
        return cls(**ApiKeyRead.of(row).model_dump(), key=key)


class ApiKeyPage(BaseModel):
    """One page of keys, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_KEY_EXAMPLE], "next_cursor": None}]})

    items: list[ApiKeyRead]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")
