"""The floor of calls in flight: as many aiohttp calls at once as are asked for, and no engine.

python -m bench.bare_aiohttp            answers commands, see `protocol/bench_protocol.py`
python -m bench.bare_aiohttp worker     makes the calls
"""

import asyncio
import sys
from typing import Any

import aiohttp
import uvloop

from bench.protocol import bench_protocol as bench
from callboard.core.process_limits import raise_open_file_limit


async def work_for_ever() -> None:
    """Make every call that is listed, at once."""
    raise_open_file_limit()
    calls: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(bench.PROVIDER_URL, connector=aiohttp.TCPConnector(limit=0)) as http:
        async for _, count in bench.listed_runs():
            for _ in range(count):
                task = asyncio.create_task(_call(http))
                calls.add(task)
                task.add_done_callback(calls.discard)


async def _call(http: aiohttp.ClientSession) -> None:
    bench.marks.add(bench.START)
    async with http.post(bench.CALL_PATH, data=bench.CALL_BODY, headers=bench.CALL_HEADERS) as answer:
        bench.text_of(await answer.read())
    bench.marks.add(bench.END)


def _setup() -> dict[str, Any]:
    return {"version": f"aiohttp {aiohttp.__version__}", "worker": ["-m", "bench.bare_aiohttp", "worker"]}


if __name__ == "__main__":
    if "worker" in sys.argv:
        uvloop.run(work_for_ever())
    else:
        bench.answer_commands(_setup, bench.list_runs)
