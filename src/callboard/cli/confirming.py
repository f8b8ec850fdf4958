"""Asking before something is lost. Called by `db` and `admin`."""

from rich.prompt import Confirm

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError
from callboard.cli.output import Output


def make_sure(output: Output, risk: str, question: str, *, is_sure: bool) -> None:
    """Return when somebody at a terminal says yes, or `is_sure`. Raises: CommandError otherwise.

    `risk` is what a program reads that cannot answer.
    """
    if is_sure:
        return
    if output.is_json or not output.console.is_terminal:
        raise CommandError(f"{risk}; say --yes.", exit_code=ExitCode.USAGE)
    if not Confirm.ask(question, console=output.console):
        raise CommandError("Nothing was changed.", title="Stopped")
