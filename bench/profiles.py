"""Where a worker's CPU time goes: py-spy's samples of a drain, summed up. `tables/worker_processes.py` calls this.

py-spy lives in an environment of its own (`make bench-setup`) and looks at the worker from outside, so that
the worker runs as it always does. What compiled code takes counts for the Python line that called it.
"""

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from bench.contestants import ENVIRONMENTS, Running
from bench.protocol import bench_protocol as protocol

PY_SPY = ENVIRONMENTS / "profiler" / "bin" / "py-spy"
SAMPLES_PER_SECOND = "500"
ATTACH_SECONDS, END_SECONDS = 1.0, 60.0
SHOWN = 30
LIBRARIES = ("sqlalchemy", "asyncpg", "aiosqlite", "structlog", "orjson", "prometheus_client", "uvloop", "aiohttp")
OURS, OTHER = "callboard", "Python's library"

Stacks: TypeAlias = Sequence[tuple[list[str], int]]


async def profile_drain(one: Running, runs: int) -> list[tuple[str, str]]:
    """Return texts of where the CPU time went: by library, by area of Callboard, by its lines."""
    if not PY_SPY.exists():
        return [("Profile", "Left out, since py-spy is not there: run `make bench-setup`.")]
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
        output = Path(folder) / "stacks"
        one.thaw()
        recorder = await asyncio.create_subprocess_exec(
            *(str(PY_SPY), "record", "--pid", str(one.pids()[0]), "--format", "raw", "--nonblocking"),
            *("--rate", SAMPLES_PER_SECOND, "--output", str(output)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.sleep(ATTACH_SECONDS)
        drain = await one.drain(protocol.THREE_NOOPS, runs)
        recorder.send_signal(signal.SIGINT)
        async with asyncio.timeout(END_SECONDS):
            await recorder.wait()
        stacks = read_stacks(output.read_text().splitlines())
    cpu_ms = drain.cpu_seconds_per_1000
    head = f"{runs:,} runs, {cpu_ms:.3f} ms of CPU a run; ms a run, share of the samples"
    return [
        ("Profile of one worker, by library of the innermost line", shares(stacks, library_of, cpu_ms, head)),
        ("Profile of one worker, by Callboard's innermost module", shares(stacks, module_of, cpu_ms, head)),
        ("Profile of one worker, by Callboard's innermost line", shares(stacks, line_of, cpu_ms, head)),
    ]


def read_stacks(lines: Iterable[str]) -> list[tuple[list[str], int]]:
    """Return each stack, outermost frame first, with how often it was seen.

    >>> read_stacks(["main (a.py:1);work (callboard/jobs/runner.py:7) 12"])
    [(['main (a.py:1)', 'work (callboard/jobs/runner.py:7)'], 12)]
    """
    stacks = []
    for line in lines:
        frames, _, count = line.rpartition(" ")
        stacks.append((frames.split(";"), int(count)))
    return stacks


def library_of(frames: Sequence[str]) -> str:
    """Return whose code the innermost line is.

    >>> library_of(["work (callboard/jobs/runner.py:7)", "execute (sqlalchemy/engine/base.py:9)"])
    'sqlalchemy'
    """
    return next((name for name in (OURS, *LIBRARIES) if f"({name}/" in frames[-1] or f"/{name}/" in frames[-1]), OTHER)


def module_of(frames: Sequence[str]) -> str:
    """Return the module of ours that the innermost line works for.

    >>> module_of(["work (callboard/jobs/runner.py:7)", "execute (sqlalchemy/engine/base.py:9)"])
    'callboard/jobs/runner.py'
    """
    return line_of(frames).partition(":")[0].rpartition("(")[2] or OTHER


def line_of(frames: Sequence[str]) -> str:
    """Return the line of ours that the innermost line works for, as `function (module:line)`."""
    ours = [frame[: frame.rindex("(") + 1] + frame[frame.rindex(f"{OURS}/") :] for frame in frames if _is_ours(frame)]
    return ours[-1].rstrip(")") + ")" if ours else OTHER


def shares(stacks: Stacks, area_of: Callable[[Sequence[str]], str], cpu_ms: float, head: str) -> str:
    """Return the areas as lines of text, the largest first."""
    counts: Counter[str] = Counter()
    for frames, count in stacks:
        counts[area_of(frames)] += count
    total = max(1, counts.total())
    lines = [f"{cpu_ms * n / total:8.4f}  {n / total:6.1%}  {area}" for area, n in counts.most_common(SHOWN)]
    return "\n".join([head, *lines])


def _is_ours(frame: str) -> bool:
    return f"({OURS}/" in frame or f"/{OURS}/" in frame
