"""The tests here take one PostgreSQL database in turn."""

from tests.fixtures.broken_connections import collected_garbage
from tests.fixtures.reused_databases import postgres_url, reused_postgres_name

__all__ = ["collected_garbage", "postgres_url", "reused_postgres_name"]
