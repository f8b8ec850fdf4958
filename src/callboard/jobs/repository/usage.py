"""Reading the usage rows of jobs, in the order of their calls."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.jobs.costs import UsageLine
from callboard.jobs.repository.fences import one_of
from callboard.llm.models import ProviderUsage

_LINE_COLUMNS = [getattr(ProviderUsage, name) for name in UsageLine.__dataclass_fields__]


async def load_usage(connection: AsyncConnection, job_ids: Sequence[UUID]) -> dict[UUID, list[UsageLine]]:
    """Return the usage lines of each of `job_ids`."""
    lines: dict[UUID, list[UsageLine]] = defaultdict(list)
    if not job_ids:
        return lines
    query = (
        sa.select(*_LINE_COLUMNS).where(one_of(connection, ProviderUsage.job_id, job_ids)).order_by(ProviderUsage.id)
    )
    for row in await connection.execute(query):
        lines[row.job_id].append(UsageLine(**row._mapping))  # noqa: SLF001 - Row's documented mapping
    return lines
