"""The table of legal moves: every one it names, and none that it does not."""

import pytest

from callboard.jobs.status import (
    FINAL_STATUSES,
    LEGAL_MOVES,
    RETRYABLE_STATUSES,
    IllegalMoveError,
    JobStatus,
    ensure_legal,
    ensure_retryable,
)

MOVES = [(source, target) for source in JobStatus for target in JobStatus]


class TestLegalMoves:
    def test_knows_every_status(self) -> None:
        assert set(LEGAL_MOVES) == set(JobStatus)

    def test_lets_only_a_retry_leave_an_end(self) -> None:
        assert {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED} == FINAL_STATUSES
        assert not LEGAL_MOVES[JobStatus.COMPLETED]
        assert all(LEGAL_MOVES[status] == {JobStatus.QUEUED} for status in RETRYABLE_STATUSES)

    @pytest.mark.parametrize("status", JobStatus)
    def test_a_retry_is_for_what_ended_badly(self, status: JobStatus) -> None:
        if status in {JobStatus.FAILED, JobStatus.CANCELLED}:
            ensure_retryable(status)
            return

        with pytest.raises(IllegalMoveError, match="cancelled or failed can be tried again"):
            ensure_retryable(status)

    def test_lets_whatever_has_not_ended_be_cancelled(self) -> None:
        assert all(JobStatus.CANCELLED in targets for source, targets in LEGAL_MOVES.items() if not source.is_final)

    def test_lets_only_a_queued_job_be_claimed(self) -> None:
        assert [source for source, targets in LEGAL_MOVES.items() if JobStatus.PROCESSING in targets] == ["queued"]


class TestEnsureLegal:
    @pytest.mark.parametrize(("source", "target"), MOVES)
    def test_follows_the_table(self, source: JobStatus, target: JobStatus) -> None:
        if target in LEGAL_MOVES[source]:
            ensure_legal(source, target)
            return

        with pytest.raises(IllegalMoveError, match=f"{source} cannot become {target}"):
            ensure_legal(source, target)

    def test_says_that_a_job_has_ended(self) -> None:
        with pytest.raises(IllegalMoveError, match="it has ended"):
            ensure_legal(JobStatus.COMPLETED, JobStatus.QUEUED)
