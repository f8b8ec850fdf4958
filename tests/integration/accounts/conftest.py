"""A running API on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from tests.fixtures.api import Api, api_settings, open_api


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(api_settings(database_url)) as api:
        yield api
