"""Old code on new tables: a process of this version starts beside those of the next."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from callboard.core.config import load_settings
from callboard.core.database import Database
from callboard.wiring import SchemaBehindError, prepare_database

LATER = "9999"


async def set_revision(database: Database, revision: str) -> None:
    schema = f"{database.schema}." if database.schema else ""
    async with database.transaction() as connection:
        await connection.execute(sa.text(f"UPDATE {schema}alembic_version SET version_num = :to"), {"to": revision})


class TestPrepareDatabase:
    @pytest.mark.parametrize("environment", ["production", "test"])
    async def test_leaves_tables_of_a_later_version_alone(
        self, database: Database, tmp_path: Path, environment: str
    ) -> None:
        await set_revision(database, LATER)

        await prepare_database(database, load_settings(environment=environment, callboard_home=tmp_path))

        schema = f"{database.schema}." if database.schema else ""
        async with database.transaction() as connection:
            found = await connection.scalar(sa.text(f"SELECT version_num FROM {schema}alembic_version"))
        assert found == LATER

    async def test_refuses_tables_of_an_earlier_one_in_production(self, database: Database, tmp_path: Path) -> None:
        await set_revision(database, "0001")

        with pytest.raises(SchemaBehindError, match="is at revision 0001"):
            await prepare_database(database, load_settings(environment="production", callboard_home=tmp_path))
