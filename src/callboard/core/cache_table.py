"""The table of kept answers: what `cache.py` keeps where every process, and the next start, finds it.

`wiring.py` hands a `DatabaseAnswerStore` to the workbench; `jobs/sweeper.py` deletes what has expired. A
database that is away costs a look-up and one warning, never a step.
"""

import time
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Mapped, mapped_column

from callboard.core.batch_writer import BatchWriter
from callboard.core.cache import KeptAnswer
from callboard.core.database import DATABASE_ERRORS, Base, Database, JsonText, UtcDateTime, is_connection_error

REST_SECONDS = 5.0  # after a failure: a database that is away is not asked before each call of a thousand runs
DELETE_ROWS = 1000  # a transaction: short enough that nothing else waits for it

log = structlog.get_logger(__name__)


class CachedAnswer(Base):
    """The answer of one outside call, under the hash of everything that shaped it."""

    __tablename__ = "external_api_cache"

    tenant_id: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    value: Mapped[str] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class DatabaseAnswerStore:
    """The `AnswerStore` of a process with a database. Answers are written together, behind the steps' backs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rests_until = 0.0
        self._is_away = False
        self._writer: BatchWriter[KeptAnswer, bool] = BatchWriter(
            self._write, name="cache", keep_trying=lambda _age_seconds: False
        )

    async def find(self, tenant_id: str, key: str) -> KeptAnswer | None:
        if time.monotonic() < self._rests_until:
            return None
        query = sa.select(CachedAnswer.value, CachedAnswer.created_at, CachedAnswer.expires_at).where(
            CachedAnswer.tenant_id == tenant_id, CachedAnswer.key == key
        )
        try:
            async with self._database.reads() as session:
                row = (await session.execute(query)).one_or_none()
        except DATABASE_ERRORS as error:
            self._note_away(error)
            return None
        self._is_away = False
        if row is None:
            return None
        return KeptAnswer(
            tenant_id=tenant_id,
            key=key,
            value_json=row.value,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )

    def keep_soon(self, answer: KeptAnswer) -> None:
        if self._writer.is_full:  # the database is slow; the next one who asks pays again
            return
        self._writer.submit(answer, size_bytes=len(answer.value_json)).add_done_callback(
            lambda written: written.exception()  # nobody waits for it, and the writer has logged it
        )

    async def close(self) -> None:
        await self._writer.close()

    async def _write(self, answers: Sequence[KeptAnswer]) -> list[bool]:
        """Write the answers, each in place of an older one. One that comes while the database is away is lost."""
        newest = {(answer.tenant_id, answer.key): answer for answer in answers}
        statement = self._database.insert(CachedAnswer)
        given = statement.excluded
        replaced = {name: given[name] for name in ("value", "created_at", "expires_at")}
        try:
            async with self._database.transaction() as connection:
                await connection.execute(
                    statement.on_conflict_do_update(index_elements=["tenant_id", "key"], set_=replaced),
                    [_row_of(newest[name]) for name in sorted(newest)],  # in one order, or two processes deadlock
                )
        except DATABASE_ERRORS as error:
            if not is_connection_error(error):
                raise
            self._note_away(error)
            return [False] * len(answers)
        return [True] * len(answers)

    def _note_away(self, error: BaseException) -> None:
        self._rests_until = time.monotonic() + REST_SECONDS
        if not self._is_away:
            self._is_away = True
            log.warning("cache.table_away", error=repr(error)[:300])


async def delete_expired_answers(database: Database, *, before: datetime) -> int:
    """Delete the answers of every tenant that expired before that moment, in batches; return how many."""
    expired = (
        sa.select(CachedAnswer.tenant_id, CachedAnswer.key)
        .where(CachedAnswer.expires_at < before)
        .order_by(CachedAnswer.expires_at)
        .limit(DELETE_ROWS)
        .with_for_update(skip_locked=True)  # one that is being written anew is left, or the two would deadlock
        .cte("expired", nesting=True)  # not before DELETE: SQLite's driver counts no rows of what begins with WITH
    )
    name = sa.tuple_(CachedAnswer.tenant_id, CachedAnswer.key)
    statement = sa.delete(CachedAnswer).where(name.in_(sa.select(expired.c.tenant_id, expired.c.key)))
    total = 0
    while True:
        async with database.transaction() as connection:
            deleted = (await connection.execute(statement)).rowcount
        total += deleted
        if deleted < DELETE_ROWS:
            return total


def _row_of(answer: KeptAnswer) -> dict[str, object]:
    return {
        "tenant_id": answer.tenant_id,
        "key": answer.key,
        "value": answer.value_json,
        "created_at": answer.created_at,
        "expires_at": answer.expires_at,
    }
