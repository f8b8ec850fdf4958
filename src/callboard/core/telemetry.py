"""Metrics in Prometheus' form: every name that `/metrics` shows, and a typed method for each event.

`wiring` builds one `Telemetry` per process and hands it to what counts; `system/router.py` renders it.
What is in the database (jobs by status, queue depth) is not counted here but read when asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

JOB_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)
STEP_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
FLUSH_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
FLUSH_ROWS = (1, 2, 5, 10, 25, 50, 100, 250, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNumbers:
    """How much work there is. `by_status` counts jobs that have not ended by (status, workflow name)."""

    workers: int
    depth: int
    oldest_seconds: float
    by_status: Mapping[tuple[str, str], int] = field(default_factory=dict)


class QueueStats(Protocol):
    """Where the numbers of the queue come from. `jobs` implements it."""

    async def read(self) -> QueueNumbers: ...

    async def count_workers(self) -> int: ...


class Telemetry:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._jobs = Gauge("callboard_jobs", "Jobs that have not ended.", ("status", "workflow"), registry=registry)
        self._depth = Gauge("callboard_queue_depth", "Jobs that are ready and wait for a worker.", registry=registry)
        self._age = Gauge("callboard_queue_age_seconds", "Seconds the oldest of them has waited.", registry=registry)
        self._workers = Gauge("callboard_workers", "Worker processes that are alive.", registry=registry)
        self._job_seconds = Histogram(
            "callboard_job_duration_seconds",
            "Seconds from a job's start to its end.",
            ("workflow", "status"),
            buckets=JOB_SECONDS,
            registry=registry,
        )
        self._step_seconds = Histogram(
            "callboard_step_duration_seconds", "Seconds of a step.", ("type",), buckets=STEP_SECONDS, registry=registry
        )
        self._llm_calls = Counter(
            "callboard_llm_calls", "Calls to language models.", ("provider", "model", "outcome"), registry=registry
        )
        self._llm_tokens = Counter(
            "callboard_llm_tokens", "Tokens of language models.", ("provider", "model", "direction"), registry=registry
        )
        self._llm_cost = Counter(
            "callboard_llm_cost_usd", "Cost of language models, US dollars.", ("provider", "model"), registry=registry
        )
        self._service_calls = Counter(
            "callboard_service_calls",
            "Calls to outside services that are no language models.",
            ("service", "method", "outcome"),
            registry=registry,
        )
        self._service_cost = Counter(
            "callboard_service_cost_usd", "Cost of those calls, US dollars.", ("service", "method"), registry=registry
        )
        self._flush_rows = Histogram(
            "callboard_checkpoint_flush_rows",
            "Rows written together.",
            ("writer",),
            buckets=FLUSH_ROWS,
            registry=registry,
        )
        self._flush_seconds = Histogram(
            "callboard_checkpoint_flush_seconds",
            "Seconds of a write.",
            ("writer",),
            buckets=FLUSH_SECONDS,
            registry=registry,
        )
        self._waiting_rows = Gauge(
            "callboard_checkpoint_waiting_rows", "Rows that wait to be written.", ("writer",), registry=registry
        )
        self._waiting_bytes = Gauge(
            "callboard_checkpoint_waiting_bytes", "Bytes of those rows.", ("writer",), registry=registry
        )
        self._writers: dict[str, Callable[[], tuple[int, int]]] = {}
        self._events_dropped = Counter(
            "callboard_events_dropped", "Events left out while the database was behind.", registry=registry
        )
        # `labels` looks a child up under a lock: too much for what happens with every step.
        self._step_seconds_of = cache(self._step_seconds.labels)
        self._job_seconds_of = cache(self._job_seconds.labels)
        self._flush_rows_of = cache(self._flush_rows.labels)
        self._flush_seconds_of = cache(self._flush_seconds.labels)
        self._leases_lost = Counter("callboard_leases_lost", "Runs that lost their lease.", registry=registry)
        self._breakers = Gauge(
            "callboard_breaker_open", "1 for a circuit that refuses calls now.", ("circuit",), registry=registry
        )
        self._breaker_sources: list[Callable[[], Mapping[str, float]]] = []

    def flushed(self, writer: str, rows: int, seconds: float) -> None:
        """Count one flush of the batch writer `writer`."""
        self._flush_rows_of(writer).observe(rows)
        self._flush_seconds_of(writer).observe(seconds)

    def llm_call(
        self, provider: str, model: str, *, outcome: str, input_tokens: int, output_tokens: int, cost: Decimal
    ) -> None:
        """Count one call to a language model; `outcome` is `succeeded` or the code of the error."""
        self._llm_calls.labels(provider, model, outcome).inc()
        self._llm_tokens.labels(provider, model, "input").inc(input_tokens)
        self._llm_tokens.labels(provider, model, "output").inc(output_tokens)
        self._llm_cost.labels(provider, model).inc(float(cost))

    def service_call(self, service: str, method: str, *, outcome: str, cost: Decimal) -> None:
        """Count one call to an outside service; `outcome` is `succeeded` or the code of the error."""
        self._service_calls.labels(service, method, outcome).inc()
        self._service_cost.labels(service, method).inc(float(cost))

    def job_ended(self, workflow: str, status: str, seconds: float) -> None:
        """Count a job that reached its final `status`."""
        self._job_seconds_of(workflow, status).observe(seconds)

    def step_ended(self, step_type: str, seconds: float) -> None:
        """Count a step of `step_type` that was run, not replayed."""
        self._step_seconds_of(step_type).observe(seconds)

    def lease_lost(self) -> None:
        """Count a run whose lease another worker took."""
        self._leases_lost.inc()

    def event_dropped(self) -> None:
        """Count an event that was not written, since more important rows wait."""
        self._events_dropped.inc()

    def watch_writer(self, writer: str, waiting: Callable[[], tuple[int, int]]) -> None:
        """Show what `waiting` says (rows, bytes) of the batch writer `writer`."""
        self._writers[writer] = waiting

    def watch_breakers(self, open_circuits: Callable[[], Mapping[str, float]]) -> None:
        """Show the circuits that `open_circuits` names (with the seconds until they close) as open."""
        self._breaker_sources.append(open_circuits)

    def render(self, numbers: QueueNumbers | None) -> bytes:
        """Return the metrics as text. Without `numbers` (database away) the queue's are left as they were."""
        if numbers is not None:
            self._show_queue(numbers)
        for writer, waiting in self._writers.items():
            rows, size_bytes = waiting()
            self._waiting_rows.labels(writer).set(rows)
            self._waiting_bytes.labels(writer).set(size_bytes)
        self._breakers.clear()
        for source in self._breaker_sources:
            for circuit in source():
                self._breakers.labels(circuit).set(1)
        return generate_latest(self.registry)

    def _show_queue(self, numbers: QueueNumbers) -> None:
        self._depth.set(numbers.depth)
        self._age.set(numbers.oldest_seconds)
        self._workers.set(numbers.workers)
        self._jobs.clear()  # a workflow whose last job is gone must not stay at its old number
        for (status, workflow), count in numbers.by_status.items():
            self._jobs.labels(status, workflow).set(count)
