"""`/api-keys`: make, list and revoke keys. For admins; a tenant's own admin reaches that tenant alone."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, status

from callboard.accounts.auth import require
from callboard.accounts.caller import Caller
from callboard.accounts.dependencies import ApiKeys, AppSettings
from callboard.accounts.errors import OtherTenantError
from callboard.accounts.models import ApiKey
from callboard.accounts.repository import Repeatable
from callboard.accounts.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyPage, ApiKeyRead
from callboard.core.clock import now
from callboard.core.idempotency import body_hash
from callboard.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, PageRequest, decode_cursor
from callboard.core.problems import BODY_PROBLEMS, problem_responses

router = APIRouter(prefix="/api/v1/api-keys", tags=["keys"])

Admin = Annotated[Caller, Depends(require("admin"))]
KeyId = Annotated[UUID, Path(description="The `id` of the key, not the key itself.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key and body makes one API key, for 24 hours.",
    ),
]


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Make an API key",
    responses=problem_responses(401, 403, 409, 503, *BODY_PROBLEMS),
)
async def create_api_key(
    body: ApiKeyCreate, caller: Admin, api_keys: ApiKeys, settings: AppSettings, idempotency_key: IdempotencyKey = None
) -> ApiKeyCreated:
    """Make a key and show it, this once: only its hash is stored.

    With an Idempotency-Key a repeated request makes no second key; its answer is the first one without `key`.
    """
    tenant_id = body.tenant_id or caller.tenant_id
    if caller.tenant.tenant_id not in {None, tenant_id}:
        raise OtherTenantError
    if idempotency_key is None:
        new = await api_keys.create(body.name, body.scopes, tenant_id=tenant_id, user_id=body.user_id)
        return ApiKeyCreated.of_new(new.row, new.key)
    request = Repeatable(
        tenant_id=caller.tenant_id,
        key=idempotency_key,
        body_hash=body_hash(body.model_dump_json().encode()),
        valid_since=now() - timedelta(hours=settings.idempotency_hours),
    )
    made = await api_keys.create_once(
        body.name, body.scopes, tenant_id=tenant_id, user_id=body.user_id, request=request
    )
    return ApiKeyCreated.of_new(made, None) if isinstance(made, ApiKey) else ApiKeyCreated.of_new(made.row, made.key)


@router.get("", summary="List API keys", responses=problem_responses(401, 403, 422, 503))
async def list_api_keys(
    caller: Admin,
    api_keys: ApiKeys,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Keys on a page.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Keys to skip; a cursor is better.")] = 0,
) -> ApiKeyPage:
    """List the keys that you reach, newest first, revoked ones too. The keys themselves are not shown."""
    after = decode_cursor(cursor) if cursor else None
    page = await api_keys.list_page(caller.tenant, PageRequest(limit=limit, after=after, offset=offset))
    return ApiKeyPage(items=[ApiKeyRead.of(row) for row in page.items], next_cursor=page.next_cursor)


@router.delete(
    "/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke an API key",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def revoke_api_key(key_id: KeyId, caller: Admin, api_keys: ApiKeys) -> None:
    """Make a key useless, for good: at once in the process that answers, within a second in others."""
    await api_keys.revoke(key_id, caller.tenant)
