"""ARQ in front of the workers: tokens on Redis, with `arq callboard.worker.WorkerSettings` around the job loop.

`worker.py` makes the settings (`build_worker_settings`), `wiring` the `ArqOutlet` that the API rings through;
`ArqPool` is how any other code enqueues. ARQ gets fixes only; everything that knows it stands in this file. It is an
extra, imported when it is asked for.

ARQ's worker ends at the first error of Redis and looks at every token in progress, each by itself, in every round.
`_PatientRedis`, which the worker is given for its connection, does neither.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import orjson
import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.client import Pipeline

from callboard.core.config import Settings
from callboard.core.ids import new_uuid
from callboard.core.json_values import JsonValue
from callboard.core.logging import configure_service_logging
from callboard.queues.port import RUN_NEXT_TASK, OpenTokenWorker, TaskResult, TokenTasks, missing_extra
from callboard.queues.publisher import OutletError

POLL_SECONDS = 0.1  # ARQ asks Redis so often; its own default of half a second is how late each job would begin
TASK_SECONDS = 900  # above the ten minutes that a token waits for its run
RESULT_SECONDS = 3600
CONNECT_SECONDS = 3
SOCKET_SECONDS = 10.0
RETRY_SECONDS = 0.5
MINUTE, HOUR = 60, 3600

CONNECTION_ERRORS = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


class NotConnectedError(RuntimeError):
    """The pool is not connected; await `connect()` first."""


class ArqPool:
    """A connection through which code puts tasks on the ARQ queue, as JSON, each under an id of its own.

    pool = ArqPool()
    pool.configure("redis://127.0.0.1:6379/0", queue_name="callboard")
    await pool.connect()
    await pool.enqueue("run_next")
    await pool.close()
    """

    def __init__(self) -> None:
        self._arq = _import_arq()
        self._redis_url = ""
        self._queue_name = ""
        self._redis: Any = None

    def configure(self, redis_url: str, *, queue_name: str) -> None:
        """Say where the queue is. Nothing is opened before `connect`."""
        self._redis_url, self._queue_name = redis_url, queue_name

    async def connect(self) -> None:
        """Open the connection. Raises: OSError or redis.exceptions.RedisError, when Redis is away."""
        client = _client(self._arq.connections.ArqRedis, self._redis_url, self._queue_name)
        self._redis = client
        await client.ping()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._redis is not None:
            await self._redis.aclose(close_connection_pool=True)
            self._redis = None

    async def enqueue(self, function: str, *arguments: JsonValue, task_id: str | None = None) -> str:
        """Put a task on the queue and return its id; a `task_id` that is there already is not put twice.

        Raises: NotConnectedError; OSError or redis.exceptions.RedisError, when Redis is away.
        """
        if self._redis is None:
            raise NotConnectedError(str(NotConnectedError.__doc__))
        task_id = task_id or str(new_uuid())
        await self._redis.enqueue_job(function, *arguments, _job_id=task_id)
        return task_id


class ArqOutlet:
    """Sends tokens as ARQ tasks, on a loop of the publisher's thread. ARQ takes the oldest token, whatever the job."""

    def __init__(self, settings: Settings) -> None:
        self._pool = ArqPool()
        self._pool.configure(settings.redis_url or "", queue_name=settings.queue_name)
        self._runner: asyncio.Runner | None = None

    def send(self, priority: int) -> None:  # noqa: ARG002 - the claim decides
        """Send one token. Raises: OutletError."""
        try:
            if self._runner is None:
                self._runner = asyncio.Runner()
                self._runner.run(self._pool.connect())
            self._runner.run(self._pool.enqueue(RUN_NEXT_TASK))
        except (*CONNECTION_ERRORS, redis.exceptions.RedisError, NotConnectedError) as error:
            raise OutletError(repr(error)) from error

    def disconnect(self) -> None:
        """Drop the connection."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            runner.run(self._pool.close())
        except CONNECTION_ERRORS as error:
            log.debug("queue.disconnect_failed", error=repr(error)[:300])
        finally:
            runner.close()


def build_worker_settings(settings: Settings, *, open_worker: OpenTokenWorker, schedule: Mapping[str, float]) -> type:
    """Return the class that `arq callboard.worker.WorkerSettings` loads.

    `open_worker` opens what a worker process works with; `schedule` has the seconds between two runs of each
    of its periodic tasks. Raises: MissingExtraError.
    """
    arq = _import_arq()
    slots = settings.max_running_jobs
    hosted = HostedJobs(lambda: open_worker(slots))
    connection = _patient_redis(arq, settings)

    async def start(_context: dict[Any, Any]) -> None:
        configure_service_logging("worker", settings)
        logging.getLogger("arq").handlers.clear()  # its program has given it one, and every line would come twice
        await hosted.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop_in_good_order, asyncio.current_task())

    def stop_in_good_order(main: "asyncio.Task[Any] | None") -> None:
        """Take no more tokens, and let ARQ wait for those whose runs get their grace."""
        connection.patience.end()
        hosted.begin_stop()
        if main is not None and not main.done():
            main.cancel()
            # seen: a cancel that came while Redis was asked was lost on its way, and the worker went on
            asyncio.get_running_loop().call_later(POLL_SECONDS, stop_in_good_order, main)

    async def stop(_context: dict[Any, Any]) -> None:
        await hosted.stop()

    return type(
        "WorkerSettings",
        (),
        {
            "functions": [arq.func(hosted.take, name=RUN_NEXT_TASK)],
            "cron_jobs": [
                arq.cron(hosted.periodic(name), name=name, **moments_of(seconds)) for name, seconds in schedule.items()
            ],
            "on_startup": start,
            "on_shutdown": stop,
            "redis_pool": connection,
            "queue_name": settings.queue_name,
            "max_jobs": slots,
            "job_timeout": TASK_SECONDS,
            "keep_result": RESULT_SECONDS,
            "poll_delay": POLL_SECONDS,
            "job_serializer": to_json,
            "job_deserializer": from_json,
        },
    )


class HostedJobs:
    """What an ARQ worker runs jobs with, on ARQ's own loop, and the bodies of its tasks."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[TokenTasks]]) -> None:
        self._opening = opening
        self._tasks: TokenTasks | None = None
        self._end: asyncio.Event | None = None
        self._holding: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the services. Raises: what `build_services` raises."""
        opened = asyncio.get_running_loop().create_future()
        self._end = asyncio.Event()
        self._holding = asyncio.create_task(self._hold_open(self._end, opened), name="hosted-jobs")
        await asyncio.wait([self._holding, opened], return_when=asyncio.FIRST_COMPLETED)
        if self._holding.done():
            await self._holding

    def begin_stop(self) -> None:
        """Claim nothing more; runs in flight get their grace, and the tokens that wait for them are answered."""
        if self._end is not None:
            self._end.set()

    async def stop(self) -> None:
        """Return when everything is handed back and closed."""
        self.begin_stop()
        if self._holding is not None:
            await self._holding

    async def take(self, _context: dict[Any, Any]) -> TaskResult:
        """Claim one job, wait for it, and return what became of it."""
        assert self._tasks is not None
        return await self._tasks.take()

    def periodic(self, name: str) -> Callable[[dict[Any, Any]], Awaitable[TaskResult]]:
        """Return the body of the periodic task `name`."""

        async def run(_context: dict[Any, Any]) -> TaskResult:
            assert self._tasks is not None
            return await self._tasks.periodic[name]()

        return run

    async def _hold_open(self, end: asyncio.Event, opened: "asyncio.Future[None]") -> None:
        async with self._opening() as self._tasks:
            opened.set_result(None)
            await end.wait()


class Patience:
    """How long a connection that broke is tried again: until the worker stops."""

    def __init__(self) -> None:
        self._is_over = False
        self._is_away = False

    def end(self) -> None:
        """Have nothing tried again from now on."""
        self._is_over = True

    async def until_answered(self, ask: Callable[[], Awaitable[Answer]], *, instead: Answer) -> Answer:
        """Return what `ask` gives, asked again while Redis is away; `instead`, when the worker stops meanwhile."""
        while True:
            try:
                answer = await ask()
            except CONNECTION_ERRORS as error:
                if self._is_over:
                    return instead
                if not self._is_away:
                    log.warning("queue.broker_away", error=repr(error)[:300])
                self._is_away = True
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if self._is_away:
                    log.info("queue.broker_back")
                self._is_away = False
                return answer


class _PatientPipeline(Pipeline):
    """A pipeline that outlives the loss of its connection."""

    patience: Patience
    _watched: tuple[Any, ...] = ()

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Ask what is asked from WATCH to MULTI; over a new connection the keys are watched anew before."""
        if args[0] == "WATCH":
            self._watched = args
        given: Any = super()

        async def ask() -> Any:
            try:
                return await given.immediate_execute_command(*args, **options)
            except (*CONNECTION_ERRORS, redis.exceptions.WatchError) as error:
                await given.reset()
                if args != self._watched:
                    await given.immediate_execute_command(*self._watched)
                raise redis.exceptions.ConnectionError("the connection was lost while keys were watched") from error

        return await self.patience.until_answered(ask, instead=None)

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis' own
        """Run what was gathered; once more after a loss, unless keys were watched: then ARQ looks again by itself."""
        commands = list(self.command_stack)
        given: Any = super()

        async def ask() -> list[Any]:
            if not self.command_stack:
                self.command_stack = list(commands)
            return list(await given.execute(raise_on_error))

        return await self.patience.until_answered(ask, instead=[None] * len(commands))


class _PatientRedis:
    """What is put before ARQ's client of Redis."""

    patience: Patience

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return await self.patience.until_answered(
            lambda: super(_PatientRedis, self).execute_command(*args, **options),  # type: ignore[misc]
            instead=None,
        )

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> _PatientPipeline:  # noqa: FBT001, FBT002
        client: Any = self
        pipeline = _PatientPipeline(client.connection_pool, client.response_callbacks, transaction, shard_hint)
        pipeline.patience = self.patience
        return pipeline

    async def zrangebyscore(self, name: str, **options: Any) -> Sequence[bytes]:
        """Return the tokens that wait, without those in progress, here or elsewhere."""
        found: Sequence[bytes] = await super().zrangebyscore(name, **options) or []  # type: ignore[misc]
        if not found:
            return found
        client: Any = self
        marks = await client.mget([f"{_import_arq().constants.in_progress_key_prefix}{key.decode()}" for key in found])
        return [key for key, mark in zip(found, marks or found, strict=True) if mark is None]


def _patient_redis(arq: Any, settings: Settings) -> Any:
    client_class = type("PatientArqRedis", (_PatientRedis, arq.connections.ArqRedis), {})
    client = _client(client_class, settings.redis_url or "", settings.queue_name)
    client.patience = Patience()
    return client


def _client(client_class: Any, redis_url: str, queue_name: str) -> Any:
    pool = redis.asyncio.ConnectionPool.from_url(
        redis_url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=SOCKET_SECONDS,
        socket_keepalive=True,
        health_check_interval=10,
        encoding="utf8",
    )
    return client_class(pool, job_serializer=to_json, job_deserializer=from_json, default_queue_name=queue_name)


def to_json(value: dict[str, Any]) -> bytes:
    """Return what ARQ stores of a task or a result; an exception is stored as its words."""
    return orjson.dumps(value, default=repr)


def from_json(text: bytes) -> dict[str, Any]:
    """Return what `to_json` stored. Raises: ValueError, for what is no JSON object."""
    value = orjson.loads(text)
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    return value


def moments_of(seconds: float) -> dict[str, Any]:
    """Return the moments of ARQ's clock that lie `seconds` apart.

    >>> moments_of(20)
    {'second': {0, 40, 20}}
    >>> moments_of(1800)
    {'minute': {0, 30}, 'second': 0}
    >>> moments_of(7200)["hour"] == set(range(0, 24, 2))
    True
    """
    if seconds < MINUTE:
        return {"second": set(range(0, MINUTE, max(1, int(seconds))))}
    if seconds < HOUR:
        return {"minute": set(range(0, 60, int(seconds) // MINUTE)), "second": 0}
    return {"hour": set(range(0, 24, int(seconds) // HOUR)), "minute": 0, "second": 0}


def _import_arq() -> Any:
    try:
        import arq  # noqa: PLC0415 - an extra
        import arq.connections  # noqa: PLC0415
        import arq.constants  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra("arq") from error
    return arq
