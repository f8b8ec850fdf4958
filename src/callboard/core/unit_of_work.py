"""One transaction over several repositories, opened and committed at the edge.

Routers get one from their domain's `dependencies`; services use the repositories and never commit.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from callboard.core.database import Database, WriteSession
from callboard.core.repository import BaseRepository, TenantScope

Repository = TypeVar("Repository", bound=BaseRepository[Any])


class UnitOfWork:
    """The repositories of one transaction. Everything they write is committed together or not at all."""

    def __init__(self, session: WriteSession) -> None:
        self.session = session

    def repository(self, kind: type[Repository], scope: TenantScope) -> Repository:
        """Return the repository `kind` of this transaction, bound to `scope`."""
        return kind(self.session, scope)


@asynccontextmanager
async def unit_of_work(database: Database) -> AsyncIterator[UnitOfWork]:
    """Give a unit of work that commits when the block ends and leaves nothing behind when it raises."""
    async with database.writes() as session:
        yield UnitOfWork(session)
