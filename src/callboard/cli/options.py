"""The options that several commands share, each with its one wording."""

from typing import Annotated

import typer

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="CALLBOARD_URL",
        help="Server to talk to. Without it: HOST and PORT of the settings (http://127.0.0.1:8000).",
        show_default=False,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="CALLBOARD_API_KEY",
        help="API key. Without it: the key of the settings, else the file api_key in CALLBOARD_HOME.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs; errors are problem documents.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
JobArgument = Annotated[str, typer.Argument(help="Id of the job.", metavar="JOB_ID", show_default=False)]
