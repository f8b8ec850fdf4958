"""Celery in front of the workers: tokens on Redis or RabbitMQ, and Celery's own programs around the job loop.

    celery -A callboard.worker:celery_app worker --pool=threads -c 200
    celery -A callboard.worker:celery_app beat
    celery -A callboard.worker:celery_app flower

`worker.py` makes the application (`build_celery_app`), `wiring` the `CeleryOutlet` that the API rings through.
A task waits in a thread while the run it stands for goes on in the one loop of the process (`loop_thread.py`).
Celery is imported when one of the two is made: it is an extra.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import structlog

from callboard.core.config import Settings
from callboard.core.logging import configure_service_logging
from callboard.queues.loop_thread import LoopStoppedError, LoopThread
from callboard.queues.port import MAX_PRIORITY, RUN_NEXT_TASK, OpenTokenWorker, TaskResult, TokenTasks, missing_extra
from callboard.queues.publisher import OutletError

VISIBILITY_SECONDS = 3600  # Redis gives a token to another worker after this; none is held longer than 10 minutes
RESULT_SECONDS = 3600  # for which Flower and others can read what a token came to
CONNECT_SECONDS = 3.0
SOCKET_SECONDS = 30.0  # Redis that does not answer a command in this time is away
HEARTBEAT_SECONDS = 30
REDIS_LAST_PRIORITY = 9  # Redis' lists are read from 0, the most urgent, to 9; RabbitMQ's 10 is the most urgent
QUEUE_PRIORITIES = {"x-max-priority": MAX_PRIORITY}
PUBLISH_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}  # our thread tries again
BACKEND_RETRIES = {"max_retries": 3, "interval_start": 0, "interval_step": 0.5, "interval_max": 1}

log = structlog.get_logger(__name__)


class CeleryOutlet:
    """Sends tokens as Celery messages, over one connection that the publisher's thread uses alone."""

    def __init__(self, settings: Settings) -> None:
        self._app = _configured_app(settings)
        self._is_redis = settings.celery_broker_url.startswith("redis")
        self._errors = _errors_of_brokers()
        self._connection: Any = None
        self._producer: Any = None

    def send(self, priority: int) -> None:
        """Send one token. Raises: OutletError."""
        try:
            if self._producer is None:
                self._connect()
            self._app.send_task(
                RUN_NEXT_TASK,
                producer=self._producer,
                retry=False,
                priority=_broker_priority(priority, is_redis=self._is_redis),
            )
        except self._errors as error:
            raise OutletError(repr(error)) from error

    def disconnect(self) -> None:
        """Drop the connection. The next one declares the queue again, so a broker that was wiped does no harm."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                connection.release()
            except self._errors as error:
                log.debug("queue.disconnect_failed", error=repr(error)[:300])

    def _connect(self) -> None:
        # without heartbeats: nobody answers them between two rings, and the broker would hang up
        self._connection = self._app.connection_for_write(
            heartbeat=0, transport_options={**self._app.conf.broker_transport_options, **PUBLISH_ONCE}
        )
        self._connection.connect()
        self._producer = self._app.amqp.Producer(self._connection, auto_declare=False)


def build_celery_app(settings: Settings, *, open_worker: OpenTokenWorker, schedule: Mapping[str, float]) -> Any:
    """Return the application that Celery's programs load.

    `open_worker` opens what a worker process works with; `schedule` has the seconds between two runs of each
    of its periodic tasks, for beat. Raises: MissingExtraError.
    """
    celery = _import_celery()
    app = _configured_app(settings)
    hosted = HostedJobs(open_worker)
    app.steps["worker"].add(_hosting_step(celery, hosted))
    app.task(name=RUN_NEXT_TASK)(hosted.take)
    for name in schedule:
        app.task(name=name)(hosted.periodic(name))
    app.conf.beat_schedule = {
        name: {"task": name, "schedule": seconds, "options": {"expires": seconds}} for name, seconds in schedule.items()
    }
    app.conf.beat_schedule_filename = str(settings.callboard_home / "celerybeat-schedule")

    def set_up_logs(**_given: Any) -> None:
        configure_service_logging("worker", settings)

    celery.signals.setup_logging.connect(set_up_logs, weak=False)
    return app


class HostedJobs:
    """The job loop of a Celery worker, and the bodies of its tasks."""

    def __init__(self, open_worker: OpenTokenWorker) -> None:
        self._open_worker = open_worker
        self._loop: LoopThread[TokenTasks] | None = None
        self._tasks: TokenTasks | None = None

    def start(self, slots: int) -> None:
        """Open the services on a loop of their own. Raises: what `build_services` raises."""
        self._loop = LoopThread(lambda: self._open_worker(slots))
        self._tasks = self._loop.start()

    def begin_stop(self) -> None:
        """Claim nothing more; runs in flight get their grace, and the tokens that wait for them are answered."""
        if self._loop is not None:
            self._loop.begin_stop()

    def stop(self) -> None:
        """Return when everything is handed back and closed."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def take(self) -> TaskResult:
        """Claim one job, wait for it, and return what became of it."""
        return self._answer_of("take")

    def periodic(self, name: str) -> Any:
        """Return the body of the periodic task `name`."""

        def run() -> TaskResult:
            return self._answer_of(name)

        run.__doc__ = f"Run the worker's periodic task {name}."
        return run

    def _answer_of(self, name: str) -> TaskResult:
        celery = _import_celery()
        if self._loop is None or self._tasks is None:
            raise celery.exceptions.Reject("this worker stops", requeue=True)
        work = self._tasks.take if name == "take" else self._tasks.periodic[name]
        try:
            return dict(self._loop.submit(work).result())
        except LoopStoppedError as error:
            raise celery.exceptions.Reject("this worker stops", requeue=True) from error


def _hosting_step(celery: Any, hosted: HostedJobs) -> type:
    """Return the part of a worker that starts before it consumes, and begins to stop before its threads end."""

    class JobLoop(celery.bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
        def __init__(self, worker: Any, **given: Any) -> None:
            super().__init__(worker, **given)
            pool = worker.pool_cls.__module__.rpartition(".")[2]
            if pool != "thread":
                raise SystemExit(
                    f"Callboard's runs share one event loop per process, so its Celery worker wants --pool=threads; "
                    f"this one was started with the pool {pool}."
                )

        def start(self, worker: Any) -> None:
            hosted.start(worker.concurrency)

        def close(self, _worker: Any) -> None:
            hosted.begin_stop()

        def stop(self, _worker: Any) -> None:
            hosted.stop()

        def terminate(self, _worker: Any) -> None:
            hosted.stop()

    return JobLoop


def _configured_app(settings: Settings) -> Any:
    """Return an application with our settings and queue, without tasks."""
    celery, kombu = _import_celery(), importlib.import_module("kombu")
    app = celery.Celery("callboard", set_as_current=False)
    is_redis = settings.celery_broker_url.startswith("redis")
    app.conf.update(
        broker_url=settings.celery_broker_url,
        broker_transport=_tolerant_redis_transport() if is_redis else None,
        broker_transport_options=_redis_options() if is_redis else {},
        broker_connection_timeout=CONNECT_SECONDS,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=HEARTBEAT_SECONDS,
        task_queues=[
            kombu.Queue(settings.queue_name, routing_key=settings.queue_name, queue_arguments=QUEUE_PRIORITIES)
        ],
        task_default_queue=settings.queue_name,
        task_default_exchange=settings.queue_name,
        task_default_routing_key=settings.queue_name,
        task_create_missing_queues=False,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_acks_late=True,
        task_ignore_result=settings.celery_results_url is None,
        result_backend=settings.celery_results_url,
        result_expires=RESULT_SECONDS,
        result_extended=True,  # with the task's name, for who reads results without events
        result_backend_transport_options={
            "retry_policy": BACKEND_RETRIES,
            "global_keyprefix": f"{settings.queue_name}:",
        },
        redis_socket_connect_timeout=CONNECT_SECONDS,
        redis_socket_timeout=SOCKET_SECONDS,
        worker_pool="threads",
        worker_concurrency=settings.celery_concurrency,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,  # as -E does: Flower lives on it
        worker_cancel_long_running_tasks_on_connection_loss=False,  # the lease is in the database, not in the broker
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
        timezone="UTC",
    )
    return app


def _tolerant_redis_transport() -> Any:
    """Return kombu's transport for Redis, without two of its faults (kombu 5.7), each of which ends the worker.

    It drops what is no message; and it does not ask a connection that is lost to give tokens in progress back.
    """
    transports: Any = importlib.import_module("kombu.transport.redis")

    class Channel(transports.Channel):  # type: ignore[misc]  # kombu's have no types
        def _brpop_read(self, **options: Any) -> Any:
            try:
                return super()._brpop_read(**options)
            except ValueError as error:  # no JSON; it is off the list by now
                log.warning("queue.foreign_message", error=repr(error)[:300])
                return True

        def close(self) -> None:
            # Let go of after a loss, or closed before: Redis shows the tokens again by itself.
            if self.connection is None or self.connection.client is None:
                self.do_restore = False
            super().close()

    class Transport(transports.Transport):  # type: ignore[misc]
        def _deliver(self, message: Any, queue: str) -> None:
            properties = message.get("properties") if isinstance(message, dict) else None
            if isinstance(properties, dict) and "delivery_tag" in properties and "body" in message:
                super()._deliver(message, queue)
            else:
                log.warning("queue.foreign_message", error="it is JSON, and no message of Celery")

    Transport.Channel = Channel
    return Transport


def _redis_options() -> dict[str, Any]:
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "queue_order_strategy": "priority",
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": SOCKET_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def _broker_priority(priority: int, *, is_redis: bool) -> int:
    """Return the broker's own number for `priority`, which is 10 for the most urgent.

    >>> [_broker_priority(priority, is_redis=True) for priority in (10, 5, 0)]
    [0, 5, 9]
    >>> _broker_priority(10, is_redis=False)
    10
    """
    if not is_redis:
        return priority
    return REDIS_LAST_PRIORITY - priority * REDIS_LAST_PRIORITY // MAX_PRIORITY


def _import_celery() -> Any:
    try:
        for part in ("celery.bootsteps", "celery.exceptions", "celery.signals"):
            importlib.import_module(part)
        return importlib.import_module("celery")
    except ModuleNotFoundError as error:
        raise missing_extra("celery") from error


def _errors_of_brokers() -> tuple[type[Exception], ...]:
    """Return what a broker's client raises when the broker is away, was wiped, or hangs up."""
    transports = [importlib.import_module(f"kombu.transport.{name}").Transport for name in ("redis", "pyamqp")]
    found = [error for each in transports for error in (*each.connection_errors, *each.channel_errors)]
    return (importlib.import_module("kombu.exceptions").KombuError, *found)
