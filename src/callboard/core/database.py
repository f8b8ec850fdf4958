"""The database: engines, the two kinds of session, column types, and what differs between the two databases.

`wiring` builds one `Database` per process. Requests and services use `reads()` and `writes()`; the batch
writers of `jobs` use `transaction()`, one Core transaction per flush.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase

MONEY_DIGITS, MONEY_DECIMALS = 24, 12
SQLITE_BUSY_SECONDS = 5  # how long one process waits for SQLite's only write lock; batch writers then try again
CONNECT_SECONDS = 10  # a PostgreSQL that does not answer is away; the batch writers try again
COMMAND_SECONDS = 60  # of one statement; no flush, claim or page takes a hundredth of it
# A process that is frozen, or whose host is cut off, in the middle of a transaction would keep its locks for as long as
# the server believes in its connection: hours, in which nobody claims and nobody takes its jobs over. A healthy one
# idles for milliseconds. Below the default lease, so that the locks are gone when the jobs are taken over.
# Source: PostgreSQL manual, "Client Connection Defaults", idle_in_transaction_session_timeout (milliseconds).
IDLE_IN_TRANSACTION = {"server_settings": {"idle_in_transaction_session_timeout": "30000"}}
WRITER_CONNECTIONS = 5  # journal, finishes, submits, waits, budgets, claims, services: seldom all at once
# The driver's cache and SQLAlchemy's; with both off every statement is parsed under no name, inside its transaction.
UNPREPARED = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What every table derives from."""

    metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment: timestamptz on PostgreSQL, naive UTC text on SQLite, always aware UTC in Python."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive time cannot be stored: {value!r}")
        if value.tzinfo is not UTC:
            value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Money(sa.types.TypeDecorator[Decimal]):
    """US dollars to 12 decimals. SQLite, whose NUMERIC is a float, keeps whole millionths of a millionth."""

    impl = sa.Numeric(MONEY_DIGITS, MONEY_DECIMALS)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.BigInteger())
        return dialect.type_descriptor(sa.Numeric(MONEY_DIGITS, MONEY_DECIMALS))

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> Decimal | int | None:
        if value is None or dialect.name != "sqlite":
            return value
        return int(value.scaleb(MONEY_DECIMALS).to_integral_value())

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        if value is None:
            return None
        return Decimal(int(value)).scaleb(-MONEY_DECIMALS) if dialect.name == "sqlite" else Decimal(value)


class JsonText(sa.types.UserDefinedType[str]):
    """JSON as text, kept as written: JSON on PostgreSQL, TEXT on SQLite. Python sees the text.

    `core.json_values` writes and reads it: SQLAlchemy's own JSON type would parse and write it again.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSON"


@compiles(JsonText, "sqlite")
def _json_text_on_sqlite(_element: JsonText, _compiler: Any, **_: Any) -> str:
    return "TEXT"


class utc_now(sa.sql.functions.FunctionElement[datetime]):  # noqa: N801 - reads as SQL's now()
    """The database's own time, `plus_seconds` later: who holds a lease is judged by one clock for all."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, plus_seconds: float = 0) -> None:
        super().__init__(sa.literal(float(plus_seconds), sa.Float()))


@compiles(utc_now, "postgresql")
def _utc_now_on_postgresql(element: utc_now, compiler: Any, **kw: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(utc_now, "sqlite")
def _utc_now_on_sqlite(element: utc_now, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


class ReadSession(AsyncSession):
    """A session that may only read: the database itself refuses a write."""


class WriteSession(AsyncSession):
    """A session inside one transaction, committed where it was opened. Services flush, never commit."""


class Database:
    """The connections of one process to one database.

    Behind a pooler in transaction mode each transaction may be another connection's at the server: nothing may
    outlive its transaction, so statements are not prepared and nobody can LISTEN.
    """

    def __init__(
        self, url: str, *, schema: str = "callboard", pool_size: int = 10, is_behind_pooler: bool = False
    ) -> None:
        self.url = url
        self.is_postgresql = url.startswith("postgresql")
        self.is_behind_pooler = is_behind_pooler
        self.schema = schema if self.is_postgresql else None
        self._read_engine = self._make_engine(pool_size=pool_size, read_only=True)
        self._write_engine = self._make_engine(pool_size=WRITER_CONNECTIONS if self.is_postgresql else 1)

    @asynccontextmanager
    async def reads(self) -> AsyncIterator[ReadSession]:
        """Give a session for reading; nothing is locked and nothing can be written."""
        async with ReadSession(self._read_engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def writes(self) -> AsyncIterator[WriteSession]:
        """Give a session in a transaction that commits when the block ends and rolls back when it raises."""
        async with WriteSession(self._write_engine, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a Core connection in a transaction: what the batch writers flush through."""
        async with self._write_engine.begin() as connection:
            yield connection

    async def ping(self) -> None:
        """Return when the database answers. Raises what the driver raises otherwise."""
        async with self._read_engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))

    @property
    def can_listen(self) -> bool:
        """Whether NOTIFY can be heard here. Where it cannot, polling does."""
        return self.is_postgresql and not self.is_behind_pooler

    async def close(self) -> None:
        await self._read_engine.dispose()
        await self._write_engine.dispose()

    def single_connection_engine(self) -> AsyncEngine:
        """Return a new engine of one connection, for a thread with a loop of its own (the lease renewal)."""
        return self._make_engine(pool_size=1)

    def insert(self, table: sa.Table | type[Base]) -> "postgresql.Insert | sqlite.Insert":
        """Return an INSERT that knows ON CONFLICT on this database."""
        return postgresql.insert(table) if self.is_postgresql else sqlite.insert(table)

    def _make_engine(self, *, pool_size: int, read_only: bool = False) -> AsyncEngine:
        if self.is_postgresql:
            options: dict[str, Any] = {"schema_translate_map": {None: self.schema}}
            if read_only:
                options["postgresql_readonly"] = True
            return create_async_engine(
                self.url,
                pool_size=pool_size,
                max_overflow=0,
                pool_pre_ping=read_only,  # what writes tries again by itself, and saves a round trip a flush
                execution_options=options,
                connect_args={
                    "timeout": CONNECT_SECONDS,
                    "command_timeout": COMMAND_SECONDS,
                    **(UNPREPARED if self.is_behind_pooler else IDLE_IN_TRANSACTION),  # poolers refuse such settings
                },
                json_deserializer=str,  # the driver would parse JSON columns; JsonText hands out their text
            )
        return _make_sqlite_engine(self.url, pool_size=pool_size, read_only=read_only)


def _make_sqlite_engine(url: str, *, pool_size: int, read_only: bool) -> AsyncEngine:
    Path(url.removeprefix("sqlite+aiosqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
    )

    def prepare(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = dbapi_connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        if read_only:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    def begin(connection: sa.Connection) -> None:
        # A deferred BEGIN that writes later can fail as "locked" without waiting its turn.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    sa.event.listen(engine.sync_engine, "connect", prepare)
    sa.event.listen(engine.sync_engine, "begin", begin)
    return engine


# SQLSTATE classes and codes after which the same statement can succeed: connection gone (08), a standby that is
# being promoted (25006), a transaction that slept too long (25P03), a password or a database that is being changed
# (28, 3D), deadlock and serialisation (40), out of disk, memory or connections (53), locked or not open for
# connections (55), the operator stops or starts the server or cancels a query (57), trouble of its machine (58)
_TRANSIENT_SQLSTATES = ("08", "25006", "25P03", "28", "3D", "40", "53", "55", "57", "58")
_TRANSIENT_SQLITE_TEXTS = ("disk is full", "disk i/o error", "database is locked", "unable to open", "readonly")


DATABASE_ERRORS = (SQLAlchemyError, OSError)
"""What a statement may raise. Services that go on without the database catch these, and import no SQLAlchemy."""


def is_connection_error(error: BaseException) -> bool:
    """Return whether the database was away, full or busy, so that the same write may succeed later."""
    if isinstance(error, OSError | PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    sqlstate = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if sqlstate is not None:
        return str(sqlstate).startswith(_TRANSIENT_SQLSTATES)
    text = str(error.orig).lower()
    if isinstance(error, OperationalError) and any(mark in text for mark in _TRANSIENT_SQLITE_TEXTS):
        return True
    return isinstance(error, InterfaceError) and "connection" in text
