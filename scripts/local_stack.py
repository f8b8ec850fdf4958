"""Start what compose.yaml starts, without containers: the same commands and settings, servers of this machine.

    python scripts/local_stack.py up       PostgreSQL and Redis that answer here, or private ones; then every process
    python scripts/local_stack.py status   what runs, and where
    python scripts/local_stack.py down     stop all in good order, as containers are stopped

Commands and settings are read from compose.yaml, so that what is tried here is what runs there. Names of servers
become 127.0.0.1, secrets that .env does not give are made up once and kept, mode 600, with logs and process ids in
.callboard/local. `make up-local` and `make down-local` call it.
"""

import argparse
import asyncio
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import yaml
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".callboard" / "local"
PROCESSES = HOME / "processes.json"
MADE_UP = HOME / "secrets.json"

RUN_FIRST = ("migrate",)
KEPT_RUNNING = ("worker", "beat", "api", "flower")
REDIS_PORT, POSTGRES_PORT = 6379, 5432
DATABASE = "callboard_local"
ANSWER_SECONDS = 60.0
STOP_SECONDS = 150.0  # compose.yaml's stop_grace_period, and a little
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class LocalStackError(Exception):
    """The stack cannot be started here; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command says. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Start what compose.yaml starts, without containers.")
    parser.add_argument("action", choices=["up", "status", "down"])
    action = parser.parse_args(arguments).action
    try:
        return {"up": up, "status": status, "down": down}[action]()
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1


def up() -> int:
    """Start everything, and return when the API answers."""
    if any(_is_alive(pid) for pid in _processes().values()):
        raise LocalStackError("It runs already: `make down-local` stops it.")
    HOME.mkdir(parents=True, exist_ok=True)
    variables = _variables()
    started: dict[str, int] = {}
    _need_redis(started)
    asyncio.run(_need_database())
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for name in RUN_FIRST:
        _run_to_end(name, _command(services[name], variables), _environment(services[name], variables))
    for name in KEPT_RUNNING:
        started[name] = _start(name, _command(services[name], variables), _environment(services[name], variables))
        PROCESSES.write_text(json.dumps(started))
    _wait_for_api(variables["PORT"], started["api"])
    print(f"API      http://127.0.0.1:{variables['PORT']}   (docs at /docs; X-API-Key: {variables['ADMIN_API_KEY']})")
    print(f"Flower   http://127.0.0.1:{variables['FLOWER_PORT']}   ({variables['FLOWER_BASIC_AUTH']})")
    print(f"Logs     {HOME.relative_to(ROOT)}/*.log    stop: make down-local")
    return 0


def status() -> int:
    """Print what runs. Returns 1 when something does not."""
    processes = _processes()
    for name, pid in processes.items():
        print(f"{name:<9} {pid:<8} {'runs' if _is_alive(pid) else 'HAS ENDED, see its log'}")
    if not processes:
        print("Nothing was started: make up-local")
    return 0 if processes and all(_is_alive(pid) for pid in processes.values()) else 1


def down() -> int:
    """Stop everything as compose does: SIGTERM, and SIGKILL to what has not ended when its time is up."""
    processes = _processes()
    for name in reversed(processes):
        _stop(name, processes[name])
    PROCESSES.unlink(missing_ok=True)
    return 0


def _variables() -> dict[str, str]:
    """Return what compose would interpolate: .env, this environment, and made-up values for what neither gives."""
    made_up = json.loads(MADE_UP.read_text()) if MADE_UP.exists() else _make_up()
    given = {name: text for name, text in {**dotenv_values(ROOT / ".env"), **os.environ}.items() if text}
    defaults = {"PORT": "8000", "FLOWER_PORT": "5555", "WORKER_CONCURRENCY": "50"}
    return {**defaults, **made_up, **given}


def _make_up() -> dict[str, str]:
    values = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(16),
        "ADMIN_API_KEY": f"local-{secrets.token_urlsafe(24)}",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FLOWER_BASIC_AUTH": f"admin:{secrets.token_urlsafe(12)}",
    }
    MADE_UP.touch(mode=0o600)
    MADE_UP.write_text(json.dumps(values))
    return values


def _command(service: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """Return the service's command, with programs of this environment and ports of this machine."""
    program, *rest = shlex.split(_filled(service["command"], variables))
    local = [
        part.replace("/data/", f"{HOME}/").replace("--port=5555", f"--port={variables['FLOWER_PORT']}") for part in rest
    ]
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        raise LocalStackError(f"{program} is not installed here; run `make setup-dev`.")
    return [found, *local]


def _environment(service: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the service's settings, with servers of this machine in the place of containers."""
    settings = {name: _filled(str(value), variables) for name, value in service["environment"].items()}
    own = {
        "DATABASE_URL": _database_url(),
        "BROKER_URL": settings["BROKER_URL"].replace("//redis:", "//127.0.0.1:").replace("@rabbitmq:", "@127.0.0.1:"),
        "REDIS_URL": settings["REDIS_URL"].replace("//redis:", "//127.0.0.1:"),
        "HOST": "127.0.0.1",
        "PORT": variables["PORT"],
        "CALLBOARD_HOME": str(HOME),
    }
    passed = {name: text for name, text in dotenv_values(ROOT / ".env").items() if text}
    return {**os.environ, **passed, **settings, **own}


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with ${NAME}, ${NAME:-default} and ${NAME:?why} filled in, as compose does."""

    def fill(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise LocalStackError(f"{name} is not set: {rest}.")
        return rest or ""

    return _VARIABLE.sub(fill, text)


def _database_url() -> str:
    return (
        os.environ.get("LOCAL_DATABASE_URL") or f"postgresql://{_postgres_user()}@127.0.0.1:{POSTGRES_PORT}/{DATABASE}"
    )


def _postgres_user() -> str:
    return os.environ.get("PGUSER", "postgres")


async def _need_database() -> None:
    """Make the database on the server of this machine, where LOCAL_DATABASE_URL names no other."""
    if os.environ.get("LOCAL_DATABASE_URL"):
        return
    try:
        server = await asyncpg.connect(host="127.0.0.1", port=POSTGRES_PORT, user=_postgres_user(), database="postgres")
    except (OSError, asyncpg.PostgresError) as error:
        raise LocalStackError(
            f"No PostgreSQL answers {_postgres_user()} at 127.0.0.1:{POSTGRES_PORT} ({error}). Start one, or give its "
            "database in LOCAL_DATABASE_URL=postgresql://user:password@host/name."
        ) from error
    try:
        if not await server.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await server.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await server.close()


def _need_redis(started: dict[str, int]) -> None:
    """Start a Redis of our own where none answers."""
    if _answers(REDIS_PORT):
        return
    program = shutil.which("redis-server")
    if program is None:
        raise LocalStackError(f"No Redis answers at 127.0.0.1:{REDIS_PORT}, and there is no redis-server to start.")
    started["redis"] = _start("redis", [program, "--port", str(REDIS_PORT), "--dir", str(HOME)], dict(os.environ))
    _wait_until(lambda: _answers(REDIS_PORT), f"Redis does not answer; see {HOME}/redis.log.")


def _run_to_end(name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    with (HOME / f"{name}.log").open("w") as log:
        ran = subprocess.run(
            command, cwd=ROOT, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if ran.returncode != 0:
        raise LocalStackError(f"{name} ended with {ran.returncode}:\n{(HOME / f'{name}.log').read_text()[-2000:]}")


def _start(name: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
    with (HOME / f"{name}.log").open("w") as log:
        running = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in this terminal is not meant for it
        )
    return running.pid


def _wait_for_api(port: str, pid: int) -> None:
    def answers() -> bool:
        if not _is_alive(pid):
            raise LocalStackError(f"The API has ended:\n{(HOME / 'api.log').read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    _wait_until(answers, f"The API does not answer; see {HOME}/api.log.")


def _wait_until(is_true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            raise LocalStackError(otherwise)
        time.sleep(0.2)


def _stop(name: str, pid: int) -> None:
    if not _is_alive(pid):
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_alive(pid):
        if time.monotonic() > deadline:
            print(f"{name} has not ended in {STOP_SECONDS:.0f} s and is killed.", file=sys.stderr)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    print(f"{name} stopped")


def _processes() -> dict[str, int]:
    return dict(json.loads(PROCESSES.read_text())) if PROCESSES.exists() else {}


def _is_alive(pid: int) -> bool:
    """Return whether the process runs; one that has ended and was our child is reaped."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != pid
    except ChildProcessError:  # started by an earlier call of this script
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
