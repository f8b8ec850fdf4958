"""Metrics: every documented name, counted where it should be."""

from decimal import Decimal

import pytest

from callboard.core.telemetry import QueueNumbers, Telemetry


def numbers(**by_workflow: int) -> QueueNumbers:
    return QueueNumbers(
        workers=2, depth=3, oldest_seconds=4.5, by_status={("queued", name): n for name, n in by_workflow.items()}
    )


class TestRender:
    @pytest.mark.parametrize(
        "name",
        [
            "callboard_jobs",
            "callboard_queue_depth",
            "callboard_queue_age_seconds",
            "callboard_job_duration_seconds",
            "callboard_step_duration_seconds",
            "callboard_llm_calls",
            "callboard_llm_tokens",
            "callboard_llm_cost_usd",
            "callboard_service_calls",
            "callboard_service_cost_usd",
            "callboard_checkpoint_flush_rows",
            "callboard_checkpoint_flush_seconds",
            "callboard_checkpoint_waiting_rows",
            "callboard_checkpoint_waiting_bytes",
            "callboard_events_dropped",
            "callboard_leases_lost",
            "callboard_breaker_open",
        ],
    )
    def test_describes_every_documented_metric(self, name: str) -> None:
        assert f"# HELP {name}" in Telemetry().render(None).decode()

    def test_shows_the_queue(self) -> None:
        text = Telemetry().render(numbers(hello=3)).decode()

        assert 'callboard_jobs{status="queued",workflow="hello"} 3.0' in text
        assert "callboard_queue_depth 3.0" in text
        assert "callboard_queue_age_seconds 4.5" in text

    def test_forgets_workflows_that_have_no_jobs_any_more(self) -> None:
        telemetry = Telemetry()
        telemetry.render(numbers(gone=1))

        assert "gone" not in telemetry.render(numbers(hello=1)).decode()

    def test_keeps_the_last_numbers_while_the_queue_cannot_be_read(self) -> None:
        telemetry = Telemetry()
        telemetry.render(numbers(hello=1))

        assert "callboard_queue_depth 3.0" in telemetry.render(None).decode()

    def test_shows_what_waits_to_be_written(self) -> None:
        telemetry = Telemetry()
        waiting = [(3, 4096), (0, 0)]
        telemetry.watch_writer("journal", lambda: waiting.pop(0))

        first, then = telemetry.render(None).decode(), telemetry.render(None).decode()

        assert 'callboard_checkpoint_waiting_rows{writer="journal"} 3.0' in first
        assert 'callboard_checkpoint_waiting_bytes{writer="journal"} 4096.0' in first
        assert 'callboard_checkpoint_waiting_rows{writer="journal"} 0.0' in then

    def test_keeps_two_processes_apart(self) -> None:
        first, second = Telemetry(), Telemetry()

        first.lease_lost()

        assert "callboard_leases_lost_total 0.0" in second.render(None).decode()


class TestEvents:
    def test_counts_calls_tokens_and_cost(self) -> None:
        telemetry = Telemetry()

        for _ in range(2):
            telemetry.llm_call("openai", "m", outcome="ok", input_tokens=10, output_tokens=5, cost=Decimal("0.25"))

        text = telemetry.render(None).decode()
        assert 'callboard_llm_calls_total{model="m",outcome="ok",provider="openai"} 2.0' in text
        assert 'callboard_llm_tokens_total{direction="input",model="m",provider="openai"} 20.0' in text
        assert 'callboard_llm_tokens_total{direction="output",model="m",provider="openai"} 10.0' in text
        assert 'callboard_llm_cost_usd_total{model="m",provider="openai"} 0.5' in text

    def test_measures_jobs_steps_and_flushes(self) -> None:
        telemetry = Telemetry()

        telemetry.job_ended("hello", "completed", 3.0)
        telemetry.step_ended("llm", 2.0)
        telemetry.flushed("journal", 40, 0.002)

        text = telemetry.render(None).decode()
        assert 'callboard_job_duration_seconds_sum{status="completed",workflow="hello"} 3.0' in text
        assert 'callboard_step_duration_seconds_sum{type="llm"} 2.0' in text
        assert 'callboard_checkpoint_flush_rows_sum{writer="journal"} 40.0' in text
        assert 'callboard_checkpoint_flush_seconds_count{writer="journal"} 1.0' in text

    def test_shows_circuits_only_while_they_are_open(self) -> None:
        telemetry = Telemetry()
        circuits = {"openai/m": 30.0}
        telemetry.watch_breakers(lambda: circuits)

        while_open = telemetry.render(None).decode()
        circuits.clear()

        assert 'callboard_breaker_open{circuit="openai/m"} 1.0' in while_open
        assert "openai/m" not in telemetry.render(None).decode()
