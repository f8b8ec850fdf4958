"""Outputs that are too large for a journal row: compressed, in a table of their own.

`journal.py` writes and reads them with the journal, `jobs.py` for those who look at a job's steps. A journal row
whose `large_output_bytes` is set has its output here, under the same job and path.
"""

import asyncio
import zlib
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.jobs.models import JobOutput, JobStep

LARGE_OUTPUT_BYTES = 256 * 1024
MAX_PAGE_BYTES = 16 * 1024 * 1024  # of large outputs in one answer, which holds them as text and as values
ZLIB = "zlib"
ZLIB_LEVEL = 1  # 1 MiB of prose: 18 ms to 0.40 of its size; level 6: 69 ms to 0.33


def size_in_bytes(text: str) -> int:
    """Return how many bytes `text` has as UTF-8.

    >>> size_in_bytes("ab"), size_in_bytes("äb")
    (2, 3)
    """
    return len(text) if text.isascii() else len(text.encode())


def is_large(output: str | None) -> bool:
    """Return whether `output`, which is JSON, is kept apart from its journal row."""
    return output is not None and size_in_bytes(output) > LARGE_OUTPUT_BYTES


async def compress_outputs(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the row of `JobOutput` for each of `steps`, whose outputs are large.

    In threads: the event loop would stand still for 20 to 40 ms for each MiB.
    """
    return await asyncio.gather(*(asyncio.to_thread(_compress, step) for step in steps))


async def insert_outputs(database: Database, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Write `rows` beside the journal rows that this transaction has written. As there, the first one stands."""
    if rows:
        await connection.execute(database.insert(JobOutput).on_conflict_do_nothing(), rows)


async def read_outputs(session: AsyncSession, job_id: UUID, paths: Iterable[str]) -> dict[str, str]:
    """Return the large outputs of a job at `paths`, by path, as JSON text."""
    wanted = list(paths)
    if not wanted:
        return {}
    query = sa.select(JobOutput.path, JobOutput.encoding, JobOutput.body).where(
        JobOutput.job_id == job_id, JobOutput.path.in_(wanted)
    )
    rows = (await session.execute(query)).all()
    texts = await asyncio.gather(*(asyncio.to_thread(_decompress, row.encoding, row.body) for row in rows))
    return {row.path: text for row, text in zip(rows, texts, strict=True)}


def first_of_a_page(steps: Sequence[JobStep]) -> Sequence[JobStep]:
    """Return the first of `steps`, one at least, whose large outputs are no more than `MAX_PAGE_BYTES` together."""
    total = 0
    for number, step in enumerate(steps):
        total += step.large_output_bytes or 0
        if number and total > MAX_PAGE_BYTES:
            return steps[:number]
    return steps


async def fill_in_outputs(session: AsyncSession, job_id: UUID, steps: Sequence[JobStep]) -> None:
    """Give those of `steps` that have a large output their output, as if it stood in their row."""
    large = {step.path: step for step in steps if step.large_output_bytes is not None}
    for path, text in (await read_outputs(session, job_id, large)).items():
        set_committed_value(large[path], "output", text)  # read, not changed: nothing is to be written back


def _compress(step: dict[str, Any]) -> dict[str, Any]:
    data = step["output"].encode()
    return {
        "job_id": step["job_id"],
        "path": step["path"],
        "tenant_id": step["tenant_id"],
        "encoding": ZLIB,
        "body": zlib.compress(data, ZLIB_LEVEL),
        "size_bytes": len(data),
        "created_at": now(),
    }


def _decompress(encoding: str, body: bytes) -> str:
    if encoding != ZLIB:
        raise ValueError(f"an output is stored as {encoding!r}, which this version cannot read; it knows {ZLIB!r}")
    return zlib.decompress(body).decode()
