"""What people and programs see when a command fails: never a traceback, always what to do next.

`reporting` stands around the body of every command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.text import Text

from callboard.cli.exits import ExitCode, exit_code_of
from callboard.cli.formats import clean
from callboard.cli.output import Output
from callboard.client.errors import CallboardApiError, Problem, ProblemPart, ServerAwayError
from callboard.core.config import SettingsError
from callboard.core.errors import CallboardError


class CommandError(Exception):
    """A command cannot go on; the message says why and what to do."""

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.FAILED, title: str = "Error") -> None:
        self.exit_code = exit_code
        self.title = title
        super().__init__(message)


@contextmanager
def reporting(output: Output, *, key_source: str = "") -> Iterator[None]:
    """Run a command's body; show what fails in it and end the process with the documented exit code."""
    try:
        yield
    except CallboardApiError as error:
        _show(output, error.problem, hint=_hint(error.problem, key_source))
        raise typer.Exit(exit_code_of(error.status)) from error
    except ServerAwayError as error:
        hint = "Start one with `callboard serve`, or name another with --url or CALLBOARD_URL."
        _show(output, _problem("Server away", str(error), code="server_away"), hint=hint)
        raise typer.Exit(ExitCode.SERVER_AWAY) from error
    except SettingsError as error:
        _show(output, _problem("Wrong setting", str(error), code="wrong_setting"))
        raise typer.Exit(ExitCode.USAGE) from error
    except CommandError as error:
        _show(output, _problem(error.title, str(error), code="command_failed"))
        raise typer.Exit(error.exit_code) from error
    except CallboardError as error:
        parts = tuple(ProblemPart(part.pointer, part.message, part.code) for part in error.errors)
        _show(output, _problem(error.code.replace("_", " ").capitalize(), error.message, code=error.code, errors=parts))
        raise typer.Exit(exit_code_of(error.status)) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(ExitCode.INTERRUPTED) from error


def _problem(title: str, detail: str, *, code: str, errors: tuple[ProblemPart, ...] = ()) -> Problem:
    document: dict[str, Any] = {"title": title, "detail": detail, "error": code}
    if errors:
        document["errors"] = [{"pointer": part.pointer, "message": part.message, "code": part.code} for part in errors]
    return Problem(status=0, title=title, detail=detail, code=code, errors=errors, document=document)


def _hint(problem: Problem, key_source: str) -> str:
    if problem.status == 401 and key_source:
        return f"The key came from {key_source}. Give another with --api-key or CALLBOARD_API_KEY."
    if problem.retry_after_seconds is not None:
        return f"Try again in {problem.retry_after_seconds:g} s."
    return ""


def _show(output: Output, problem: Problem, *, hint: str = "") -> None:
    if output.is_json:
        output.document(dict(problem.document))
        return
    heading = Text(clean(problem.title), style="bold red")
    if problem.status:
        heading.append(f" ({problem.status})", style="red")
    output.complain(heading)
    if problem.detail:
        output.complain(clean(problem.detail))
    for part in problem.errors:
        output.complain(Text.assemble("  ", (clean(part.pointer) or "/", "bold"), "  ", clean(part.message)))
    if hint:
        output.complain(hint)
    if problem.request_id:
        output.complain(f"Request id: {clean(problem.request_id)}", style="dim")
