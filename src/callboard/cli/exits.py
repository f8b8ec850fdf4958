"""The exit codes of `callboard`: scripts depend on them, so they are a contract. Used by every command."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says when it ends."""

    OK = 0
    FAILED = 1  # the job failed or was cancelled, or the operation did not succeed
    USAGE = 2  # wrong options, an input that cannot be read, a wrong setting
    SERVER_AWAY = 3
    NOT_AUTHORISED = 4
    NOT_FOUND = 5
    REFUSED = 6  # understood, and said no: input or workflow not valid, wrong state, too large, too fast
    INTERRUPTED = 130  # Ctrl-C, as shells count it


EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 the job failed or was cancelled, or the operation failed; 2 wrong usage, input file "
    "or setting; 3 the server does not answer; 4 key missing or not allowed; 5 not found; 6 refused "
    "(input or workflow not valid, wrong state); 130 interrupted."
)


def exit_code_of(http_status: int) -> ExitCode:
    """Return the exit code for an error answer of the server.

    >>> exit_code_of(403).name, exit_code_of(422).name, exit_code_of(500).name
    ('NOT_AUTHORISED', 'REFUSED', 'FAILED')
    """
    if http_status in {401, 403}:
        return ExitCode.NOT_AUTHORISED
    if http_status == 404:
        return ExitCode.NOT_FOUND
    if http_status == 503:
        return ExitCode.SERVER_AWAY
    return ExitCode.REFUSED if 400 <= http_status < 500 else ExitCode.FAILED
