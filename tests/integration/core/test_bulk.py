"""`core.bulk`: many rows in one statement, with the same outcome on both databases."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from callboard.core.bulk import insert_rows, once, update_rows
from callboard.core.database import Database
from callboard.core.ids import new_uuid
from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage
from tests.fixtures.job_rows import claimed_job, usage_row

MOMENT = datetime(2026, 11, 28, 12, tzinfo=UTC)


def message(**values: Any) -> dict[str, Any]:
    row = {
        "id": new_uuid(),
        "tenant_id": "t",
        "job_id": new_uuid(),
        "event": "e",
        "payload": "{}",
        "created_at": MOMENT,
    }
    return row | values


async def read(database: Database, query: Any) -> list[Any]:
    async with database.reads() as session:
        return list((await session.execute(query)).all())


class TestInsertRows:
    async def test_writes_every_kind_of_value_as_it_was(self, database: Database) -> None:
        job = await claimed_job(database)
        usage = usage_row(job, "a", fence=1) | {"cost_usd": Decimal("0.000000000001"), "user_id": None}
        async with database.transaction() as connection:
            await insert_rows(connection, ProviderUsage, [usage])

        columns = (ProviderUsage.id, ProviderUsage.cost_usd, ProviderUsage.user_id, ProviderUsage.created_at)
        (row,) = await read(database, sa.select(*columns))
        assert tuple(row) == (usage["id"], Decimal("0.000000000001"), None, usage["created_at"])

    async def test_keeps_json_as_it_was_written(self, database: Database) -> None:
        async with database.transaction() as connection:
            await insert_rows(connection, OutboxMessage, [message(payload='{"b": 1,  "a": "ä"}')])

        assert [row.payload for row in await read(database, sa.select(OutboxMessage.payload))] == [
            '{"b": 1,  "a": "ä"}'
        ]

    async def test_writes_many_with_one_call(self, database: Database) -> None:
        async with database.transaction() as connection:
            await insert_rows(connection, OutboxMessage, [message() for _ in range(1200)])

        assert (await read(database, sa.select(sa.func.count()).select_from(OutboxMessage)))[0][0] == 1200

    async def test_refuses_what_is_there_already_unless_told_otherwise(self, database: Database) -> None:
        row, new = message(), message()
        async with database.transaction() as connection:
            await insert_rows(connection, OutboxMessage, [row])

        with pytest.raises(IntegrityError):
            async with database.transaction() as connection:
                await insert_rows(connection, OutboxMessage, [row])
        async with database.transaction() as connection:
            await insert_rows(connection, OutboxMessage, [row | {"event": "other"}, new], refine=once)

        found = await read(database, sa.select(OutboxMessage.id, OutboxMessage.event))
        assert {row.id: row.event for row in found} == {row["id"]: "e", new["id"]: "e"}

    async def test_does_nothing_for_no_rows(self, database: Database) -> None:
        async with database.transaction() as connection:
            await insert_rows(connection, OutboxMessage, [])


class TestUpdateRows:
    async def test_gives_each_row_its_own_values(self, database: Database) -> None:
        rows = [message() for _ in range(3)]
        async with database.transaction() as connection:
            await insert_rows(connection, OutboxMessage, rows)
            changes: list[dict[str, Any]] = [
                {"message": row["id"], "event": f"e{number}", "consumed_at": MOMENT if number else None}
                for number, row in enumerate(rows[:2])
            ]
            await update_rows(connection, OutboxMessage, changes, key="id", key_name="message")

        query = sa.select(OutboxMessage.id, OutboxMessage.event, OutboxMessage.consumed_at)
        found = {row.id: (row.event, row.consumed_at) for row in await read(database, query)}
        assert [found[row["id"]] for row in rows] == [("e0", None), ("e1", MOMENT), ("e", None)]
