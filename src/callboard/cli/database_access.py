"""What `keys` and `db` share: work on the database without a server, and its failures for people."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from alembic.util import CommandError as AlembicError

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.output import Output
from callboard.core.database import DATABASE_ERRORS
from callboard.core.event_loop import run_on_fast_loop

MAX_REASON = 300  # characters of a driver's message; the statement behind it helps nobody here

Answer = TypeVar("Answer")


def run_on_database(output: Output, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Return what `work` gets; a database that is away or behind is shown and ends the command."""
    with reporting(output):
        try:
            return run_on_fast_loop(work)
        except AlembicError as error:
            raise CommandError(f"{error}. See `callboard db current`.", title="No such revision") from error
        except DATABASE_ERRORS as error:
            raise CommandError(
                f"{_reason(error)}\nCheck DATABASE_URL and CALLBOARD_HOME. Missing tables: `callboard db upgrade`.",
                title="The database cannot be used",
                exit_code=ExitCode.FAILED,
            ) from error


def _reason(error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error)
    return text.split("\n", 1)[0][:MAX_REASON]
