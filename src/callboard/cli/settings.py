"""`callboard settings`: what this machine's settings are and where each comes from. No secret is shown."""

import json
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.text import Text

from callboard.cli.failures import reporting
from callboard.cli.formats import clean
from callboard.cli.job_views import new_table
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.core.config import Settings, load_settings
from callboard.core.logging import MASK, mask_text
from callboard.core.settings_origins import find_origins, settings_files

DEFAULT_ORIGIN = "default"

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:\n\ncallboard settings\n\ncallboard settings --given\n\n"
    "ENVIRONMENT=production callboard settings log    (those with `log` in their name)\n\n"
    "callboard settings --json | jq .settings"
)
def settings(
    part: Annotated[str, typer.Argument(help="Only settings with this in their name.", show_default=False)] = "",
    is_given: Annotated[bool, typer.Option("--given", help="Only settings that somebody gave.")] = False,
    is_json: JsonOption = False,
) -> None:
    """Show every setting, and which file or variable it comes from.

    An environment variable wins, then .env, settings.{environment}.ini, settings.ini, the default.
    """
    output = open_output(is_json=is_json)
    with reporting(output):
        loaded = load_settings()
        origins = find_origins(Settings, {})
        files = [{"path": str(path), "exists": path.is_file()} for path in settings_files(Settings)]
    shown = [
        {"name": name.upper(), "value": _shown(getattr(loaded, name), plain), "from": origins.get(name, DEFAULT_ORIGIN)}
        for name, plain in loaded.model_dump(mode="json").items()
        if part.lower() in name and (name in origins or not is_given)
    ]
    if is_json:
        output.document({"environment": loaded.environment, "files": files, "settings": shown})
        return
    _show(output, shown)
    for file in files:
        output.say(f"{file['path']}: {'read' if file['exists'] else 'not there'}", style="dim")


def _shown(value: object, plain: Any) -> Any:
    """Return a value as JSON without what is secret in it: keys, and passwords in URLs."""
    if isinstance(value, SecretStr):
        return MASK
    return mask_text(plain) if isinstance(plain, str) else plain


def _show(output: Output, shown: list[dict[str, Any]]) -> None:
    table = new_table("name", "value", "from", whole=("name",))
    for setting in shown:
        is_default = setting["from"] == DEFAULT_ORIGIN
        table.add_row(
            Text(setting["name"]),
            Text(clean(_as_written(setting["value"]))),
            Text(clean(setting["from"]), style="dim" if is_default else "bold"),
        )
    output.say(table if shown else f"No such settings. There are {len(Settings.model_fields)}: callboard settings")


def _as_written(value: Any) -> str:
    """Return a value as a settings file would have it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
