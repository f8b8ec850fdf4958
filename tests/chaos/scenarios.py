"""The scenarios of `make chaos`: each function is one, and its docstring the promise that it tries to break.

`catalogue.py` names them. A scenario starts what it needs, submits, injects its faults and returns when all has
ended; what has to be true then is the ledger's business.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import sqlalchemy as sa

from callboard.jobs.models import Job, JobStep
from tests.chaos.rounds import Round
from tests.chaos.stand import GIVE_UP_SECONDS, thaw
from tests.chaos.workflows import CALLS_AT_ONCE, MIXED
from tests.fixtures.kill_points import LIVES_SECONDS, check_life
from tests.fixtures.processes import ROOT
from tests.fixtures.queue_rigs import until

KILL_SECONDS = 2.0  # between kills
CRASH_SECONDS = 5.0  # between crashes
AWAY_SECONDS = 3.0  # that PostgreSQL is away
BROKER_AWAY_SECONDS = 20.0
CUT_SECONDS = 1.5  # between cuts
MOMENT_SECONDS = 0.08  # around which things happen at once
CALLERS = 12  # people and programs that race over HTTP


def kill_workers(given: Round) -> None:
    """Two workers, one of which is killed every 2 s, once the last is replaced: only calls in flight are repeated."""
    given.stand.start_all(workers=2)
    given.ledger.has_usage_of_all = False
    given.beside(given.submit)
    for _ in given.ticks(KILL_SECONDS):
        _kill_one_of_two(given)
    given.wait_for_all_to_end()


def crash_postgres(given: Round) -> None:
    """PostgreSQL crashes under load and comes back: what is accepted ends, and not one call is paid again."""
    postgres = given.stand.postgres
    assert postgres is not None
    given.stand.start_all(workers=2)
    given.beside(given.submit)
    for _ in given.ticks(CRASH_SECONDS):
        given.ledger.look()
        postgres.crash()
        given.ledger.faults += 1
        time.sleep(AWAY_SECONDS)
        postgres.start()
    given.wait_for_all_to_end()


def stop_broker(given: Round) -> None:
    """The broker is away for 20 s: submits are accepted all the same, and their jobs run when it is back."""
    given.stand.start_all(workers=2)
    half = given.jobs // 2
    for number in range(half):
        given.submit_one(number, "three_calls", delay=0.5)
    given.ledger.look()

    given.stand.broker.stop()
    given.ledger.faults += 1
    began_at = time.monotonic()
    for number in range(half, given.jobs):
        given.submit_one(number, "three_calls", delay=0.5)
    time.sleep(max(0, min(BROKER_AWAY_SECONDS, given.seconds) - (time.monotonic() - began_at)))
    given.stand.broker.start()
    given.wait_for_all_to_end()


def cut_connections(given: Round) -> None:
    """Every connection to database and broker is cut, again and again: all jobs end, no call is paid again."""
    postgres = given.stand.postgres
    assert postgres is not None
    given.stand.start_all(workers=2)
    given.beside(given.submit)
    for _ in given.ticks(CUT_SECONDS):
        given.ledger.look()
        postgres.cut_connections(given.stand.database_name)
        given.stand.broker.cut_connections()
        given.ledger.faults += 1
    given.wait_for_all_to_end()


def wipe_broker(given: Round) -> None:
    """The broker loses everything while jobs are queued: the database is the queue, so they run all the same."""
    given.stand.start_all(workers=2)
    given.submit()
    given.ledger.look()
    given.stand.broker.wipe()
    given.ledger.faults += 1
    given.wait_for_all_to_end()


def freeze_workers(given: Round) -> None:
    """A worker frozen beyond its lease is replaced; when it goes on, it writes usage rows and nothing else."""
    given.stand.start_all(workers=2)
    given.beside(given.submit)
    for _ in given.ticks(KILL_SECONDS):
        ready = given.stand.ready_workers()
        if len(ready) < 2 or given.has_ended():
            continue
        frozen = given.dice.choice(ready)
        with given.frozen(frozen):
            if given.stand.is_locked():  # it was frozen while it wrote to SQLite: nobody can replace it
                thaw(frozen)
                continue
            given.stand.until_dead(frozen)
            fences = {row.id: row.fence for row in given.stand.read(sa.select(Job.id, Job.fence))}
            before = _journal(given)
            thaw(frozen)
        given.stand.until_registered(frozen)  # as a new worker
        late = [row for row in _journal(given) - before if row[2] < fences.get(row[0], 0)]
        given.ledger.remarks.extend(f"written after its lease was lost: {row}" for row in late)
    given.wait_for_all_to_end()
    paid = given.stand.paid
    until(lambda: given.stand.usage_rows() == sum(paid().values()))


def race_over_http(given: Round) -> None:
    """Answers, cancels and ends at one moment: one answer counts, one end is written, nobody waits for ever."""
    given.stand.start_all(workers=2)
    with ThreadPoolExecutor(CALLERS) as callers:
        races = (_answer_twice, _cancel_at_the_end)
        for race in callers.map(lambda number: races[number % 2](given, number), range(given.jobs)):
            given.ledger.remarks.extend(race)
            given.ledger.faults += 1
    given.wait_for_all_to_end()


def kill_mixed(given: Round) -> None:
    """Loops, approvals, signals, sub-workflows, waits and budgets while workers and the server are killed at random."""
    given.calls_at_once = CALLS_AT_ONCE
    given.stand.start_all(workers=2)
    given.ledger.has_usage_of_all = False
    given.beside(lambda: given.submit(MIXED))
    given.beside(lambda: _signal_all(given))
    given.beside(lambda: _answer_all(given))
    for _ in given.ticks(KILL_SECONDS):
        if given.dice.random() < 0.2:  # now and then it is the server
            given.ledger.faults += 1
            given.stand.restart_server()
        else:
            _kill_one_of_two(given)
    given.wait_for_all_to_end()


def roll_workers(given: Round) -> None:
    """Workers are replaced one by one with SIGTERM while the old ones drain: nothing is lost, nothing paid again."""
    given.stand.start_all(workers=2)
    given.beside(given.submit)
    for _ in given.ticks(KILL_SECONDS):
        new = given.stand.add_worker()
        given.stand.until_registered(new)
        old = given.stand.workers.pop(0)
        given.ledger.look()
        old.terminate()
        given.ledger.faults += 1
        code = old.wait(GIVE_UP_SECONDS)
        if code != 0:
            given.ledger.remarks.append(f"a worker that was told to stop ended with {code}")
    given.wait_for_all_to_end()


def kill_at_every_statement(given: Round) -> None:
    """A kill between every pair of statements of one job's life, with a second process that takes over."""
    folder = given.stand.folder / "lives"
    folder.mkdir()
    options = ["--database-url", given.stand.database_url, "--provider-url", given.stand.provider_url]
    lives = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.kill_points", *options, "--folder", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIVES_SECONDS,
        check=False,
    )
    if lives.returncode != 0:
        given.ledger.remarks.append(lives.stderr[-1000:])
    for line in lives.stdout.splitlines():
        report = json.loads(line)
        given.ledger.faults += report["was_killed"]
        given.ledger.excused += report["was_killed"]
        try:
            check_life(report)
        except AssertionError as error:
            given.ledger.remarks.append(str(error))
    given.ledger.has_usage_of_all = False
    given.ledger.accepted.update(given.stand.jobs_by_key("three_calls"))


def _kill_one_of_two(given: Round) -> None:
    """Kill a worker and start another one in its place, unless the one killed before is not yet replaced."""
    ready = given.stand.ready_workers()
    if len(ready) < 2:
        return
    victim = given.dice.choice(ready)
    with given.frozen(victim):  # so that what is in flight can be counted
        given.stand.kill(victim)
    given.stand.add_worker()


def _journal(given: Round) -> set[tuple[UUID, str, int]]:
    """Return the rows of the journal by job, path and fence."""
    rows = given.stand.read(sa.select(JobStep.job_id, JobStep.path, JobStep.fence))
    return {(row.job_id, row.path, row.fence) for row in rows}


def _answer_twice(given: Round, number: int) -> list[str]:
    """Have two people answer at once, about when the other branch ends; return what was wrong."""
    delay = 0.5
    job_id = given.submit_one(number, "asked", delay=delay)
    _until_asked(given, job_id)
    time.sleep(max(0, delay + given.dice.uniform(-MOMENT_SECONDS, MOMENT_SECONDS)))
    with ThreadPoolExecutor(2) as people:
        path = f"/jobs/{job_id}/approvals/review"
        bodies = [{"answer": {"fine": True}, "answered_by": name} for name in ("ada", "bob")]
        answers = list(people.map(lambda body: given.stand.send("POST", path, body), bodies))
    statuses = sorted(status for status, _ in answers)
    if statuses != [200, 409]:
        return [f"two answers to one approval of {job_id}: {statuses}"]
    winner = next(answer["answered_by"] for status, answer in answers if status == 200)
    ended = given.stand.ended(job_id)
    said = (ended["result"] or {}).get("by")
    return [] if said == winner else [f"{winner} was told 200 for {job_id}, and it says {said}"]


def _until_asked(given: Round, job_id: str) -> None:
    until(lambda: bool(given.stand.send("GET", f"/jobs/{job_id}/approvals")[1].get("items")))


def _cancel_at_the_end(given: Round, number: int) -> list[str]:
    """Cancel a job about when it ends; return what was wrong."""
    delay = 0.2
    job_id = given.submit_one(number, "three_calls", delay=delay)
    given.ledger.cancelled.add(UUID(job_id))
    until(lambda: given.stand.status(job_id)["steps_completed"] >= 2 or _is_final(given, job_id))
    time.sleep(max(0, delay + given.dice.uniform(-2 * MOMENT_SECONDS, MOMENT_SECONDS)))
    _, told = given.stand.send("DELETE", f"/workflow/{job_id}")
    ended = given.stand.ended(job_id)["status"]
    right = {
        "cancelled": {"cancelled"},
        "stopping": {"cancelled", "completed"},
        "already_ended": {"completed"},
    }[told["outcome"]]
    return [] if ended in right else [f"a cancel of {job_id} was told {told['outcome']}, and it is {ended}"]


def _is_final(given: Round, job_id: str) -> bool:
    return given.stand.status(job_id)["status"] in {"completed", "cancelled", "failed"}


def _signal_all(given: Round) -> None:
    """Send each job that waits for a signal its one, before or after it waits."""
    sent: set[UUID] = set()
    wanted = len([number for number in range(given.jobs) if MIXED[number % len(MIXED)] == "signalled"])
    while len(sent) < wanted and not given.is_over:
        known = [each for each, (workflow, _) in list(given.ledger.accepted.items()) if workflow == "signalled"]
        for job_id in set(known) - sent:
            status, answer = given.stand.surely_send(
                "POST", f"/jobs/{job_id}/signals/news", {"payload": {}}, **{"Idempotency-Key": str(job_id)}
            )
            if status != 202:
                given.ledger.remarks.append(f"a signal to {job_id} was answered {status}: {answer}")
            sent.add(job_id)
        time.sleep(given.dice.uniform(0, 1))


def _answer_all(given: Round) -> None:
    """Answer what stands in the inbox until every job that asks was answered."""
    answered: set[str] = set()
    wanted = len([number for number in range(given.jobs) if MIXED[number % len(MIXED)] == "asked"])
    while len(answered) < wanted and not given.is_over:
        _, page = given.stand.surely_send("GET", "/approvals")
        for shown in page["items"]:
            path = f"/jobs/{shown['job_id']}/approvals/{shown['approval_id']}"
            status, answer = given.stand.surely_send("POST", path, {"answer": {"fine": True}})
            if status not in {200, 409}:  # 409: the answer before was taken, and its own answer lost in a kill
                given.ledger.remarks.append(f"an answer to {shown['job_id']} was answered {status}: {answer}")
            answered.add(shown["job_id"])
        time.sleep(given.dice.uniform(0, 1))
