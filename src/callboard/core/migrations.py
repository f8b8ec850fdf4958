"""Bringing a database to the tables that this version of Callboard needs, and back.

Called by `callboard db` and at start-up. The steps themselves are in `migrations/versions`.
"""

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from callboard.core.database import Database

MIGRATIONS_DIR = Path(__file__).resolve().parents[3] / "migrations"
_ADVISORY_LOCK = 0xCA11B0A2D  # any number that nothing else in a shared database is likely to take


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the database up to `revision`. Two processes that start together do it one after the other."""
    async with database.transaction() as connection:
        await connection.run_sync(_run, command.upgrade, database.schema, revision)


async def downgrade(database: Database, revision: str) -> None:
    """Take the database back to `revision`; "base" drops every table of ours."""
    async with database.transaction() as connection:
        await connection.run_sync(_run, command.downgrade, database.schema, revision)


async def current(database: Database) -> str | None:
    """Return the revision that the database is at, or None where it has no tables of ours."""
    async with database.transaction() as connection:
        return await connection.run_sync(_read_current, database.schema)


def head() -> str:
    """Return the revision that this version of Callboard needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError(f"no migrations in {MIGRATIONS_DIR}: the installation is incomplete")
    return revision


def knows(revision: str) -> bool:
    """Return whether this version of Callboard has `revision`. One that it has not was made by a later version."""
    return any(script.revision == revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIR))
    return config


def _run(connection: sa.Connection, action: Callable[[Config, str], None], schema: str | None, revision: str) -> None:
    if schema is not None:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    config = _config()
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    action(config, revision)


def _read_current(connection: sa.Connection, schema: str | None) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table_schema": schema}).get_current_revision()
