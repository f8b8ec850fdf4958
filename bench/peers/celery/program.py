"""Celery: a chain of three tasks on Redis; nothing of it is durable.

As its documentation advises: results ignored where nobody reads them, JSON messages, a pool of threads for
tasks that wait. Workers run without gossip, mingle and heartbeat, which one worker does not need.
"""

import os

import bench_protocol as bench
import celery

POOL_THREADS = int(os.environ.get("BENCH_THREADS", "8"))

app = celery.Celery("bench", broker=bench.REDIS_URL)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)


@app.task(name="first")
def first(_number: int) -> dict[str, int]:
    bench.marks.add(bench.START)
    return {"step": 0}


@app.task(name="second")
def second(_before: dict[str, int]) -> dict[str, int]:
    return {"step": 1}


@app.task(name="third")
def third(_before: dict[str, int]) -> dict[str, int]:
    bench.marks.add(bench.END)
    return {"step": 2}


@app.task(name="call")
def call(_number: int) -> str:
    bench.marks.add(bench.START)
    text = bench.call_blocking()
    bench.marks.add(bench.END)
    return text


def setup() -> dict[str, object]:
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    pool = ["--pool=threads", f"--concurrency={POOL_THREADS}"]
    return {
        "version": f"celery {celery.__version__}",
        "worker": ["-m", "celery", "-A", "program", "worker", *pool, *options],
    }


def submit(work: str, count: int) -> None:
    for number in range(count):
        if work == bench.THREE_NOOPS:
            celery.chain(first.s(number), second.s(), third.s()).apply_async()
        else:
            call.apply_async((number,))


if __name__ == "__main__":
    bench.answer_commands(setup, submit)
