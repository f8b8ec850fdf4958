"""What every repository can do: get, find, list, add, remove rows of one table, within one tenant.

A domain's `repository.py` derives from `BaseRepository` and adds its own queries. No rules live here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql.base import ExecutableOption

from callboard.core.database import Base, ReadSession, WriteSession
from callboard.core.errors import NotFoundError
from callboard.core.pagination import Page, PageRequest, encode_cursor

Model = TypeVar("Model", bound=Base)


@dataclass(frozen=True, slots=True)
class TenantScope:
    """Whose rows a repository sees: one tenant's, or every tenant's for an operator."""

    tenant_id: str | None

    @classmethod
    def every_tenant(cls) -> "TenantScope":
        return cls(None)


class BaseRepository(Generic[Model]):
    """Rows of `model`, bound to a tenant. `get` raises, `find` returns None, `list_page` returns a page."""

    model: ClassVar[type[Any]]
    not_found: ClassVar[type[NotFoundError]] = NotFoundError

    def __init__(self, session: ReadSession | WriteSession, scope: TenantScope) -> None:
        self.session = session
        self.scope = scope

    async def find(self, row_id: UUID) -> Model | None:
        """Return the row of `row_id`, or None when this tenant has none."""
        found: Model | None = await self.session.scalar(self.query().where(self.model.id == row_id))
        return found

    async def get(self, row_id: UUID) -> Model:
        """Return the row of `row_id`. Raises: the domain's not-found error."""
        row = await self.find(row_id)
        if row is None:
            raise self.not_found(f"{self.not_found().message.rstrip('.')}: {row_id}.")
        return row

    async def list_page(
        self, page: PageRequest, *conditions: sa.ColumnElement[bool], options: Sequence[ExecutableOption] = ()
    ) -> Page[Model]:
        """Return the newest rows that fit every condition, newest first; `options` say how much of each."""
        query = self.query().where(*conditions).order_by(self.model.id.desc()).options(*options)
        if page.after is not None:
            query = query.where(self.model.id < page.after)
        rows = (await self.session.scalars(query.offset(page.offset).limit(page.limit + 1))).all()
        has_more = len(rows) > page.limit
        items = rows[: page.limit]
        return Page(items, encode_cursor(items[-1].id) if has_more else None)

    async def add(self, row: Model) -> Model:
        """Write `row`, so that what the database fills in can be read."""
        self.session.add(row)
        await self.session.flush()
        return row

    async def remove(self, row: Model) -> None:
        await self.session.delete(row)
        await self.session.flush()

    def query(self) -> sa.Select[Any]:
        """Return a SELECT of this table that sees only this tenant's rows."""
        query = sa.select(self.model)
        if self.scope.tenant_id is None:
            return query
        return query.where(self.model.tenant_id == self.scope.tenant_id)
