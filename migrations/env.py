"""How Alembic reaches the database. `core/migrations.py` hands over a connection and the metadata.

The plain `alembic` command (used to make a revision) finds neither and opens the configured database itself.
"""

import asyncio

import sqlalchemy as sa
from alembic import context

import callboard.accounts.models
import callboard.core.cache_table
import callboard.core.idempotency
import callboard.jobs.models
import callboard.llm.models
import callboard.webhooks.models
import callboard.workflows.models  # noqa: F401 - the imports above fill Base.metadata
from callboard.core.config import load_settings
from callboard.core.database import Base, Database


def run(connection: sa.Connection) -> None:
    """Run what the command asked for on `connection`."""
    schema = context.config.attributes.get("schema")
    if schema is not None:
        connection.execute(sa.text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        # LOCAL: behind a pooler the connection is somebody else's after this transaction
        connection.execute(sa.text(f'SET LOCAL search_path TO "{schema}"'))
        connection.dialect.default_schema_name = schema
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table_schema=schema,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    """Open the configured database and run on it."""
    settings = load_settings()
    database = Database(
        settings.resolved_database_url,
        schema=settings.database_schema,
        is_behind_pooler=settings.is_behind_pooler,
    )
    context.config.attributes["schema"] = database.schema
    async with database.transaction() as connection:
        await connection.run_sync(run)
    await database.close()


if (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    asyncio.run(run_alone())
