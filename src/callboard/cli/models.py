"""`callboard models`: which language models the server can use, and what they cost."""

from typing import Annotated

import typer
from rich.text import Text

from callboard.cli.connection import ask
from callboard.cli.formats import clean, format_count
from callboard.cli.job_views import new_table
from callboard.cli.options import JsonOption, KeyOption, UrlOption
from callboard.cli.output import Output, open_output
from callboard.client.client import CallboardClient
from callboard.client.models import ModelList

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:\n\ncallboard models\n\n"
    "callboard models --provider openai\n\ncallboard models --json | jq .providers"
)
def models(
    provider: Annotated[str | None, typer.Option(help="Only models of this provider.")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    is_json: JsonOption = False,
) -> None:
    """List the language models that the server can use.

    Prices are US dollars per million tokens.
    """
    output = open_output(is_json=is_json)

    async def work(client: CallboardClient) -> ModelList:
        return await client.list_models()

    listed = ask(output, url, api_key, work)
    if provider is not None:
        listed["items"] = [model for model in listed["items"] if model["provider"] == provider]
        listed["total"] = len(listed["items"])
    if is_json:
        output.document(listed)
        return
    _show(output, listed)


def _show(output: Output, listed: ModelList) -> None:
    default = listed["default_provider"] or "replay where the workflow has answers, else sandbox"
    output.say(f"Providers: {clean(', '.join(listed['providers']))}. By default: {clean(default)}.")
    numbers = ("USD in", "USD out", "context")
    table = new_table("provider", "model", *numbers, "price from", right=numbers)
    for model in listed["items"]:
        table.add_row(
            Text(clean(model["provider"])),
            Text(clean(model["model"])),
            f"{model['input_usd_per_million']:,.2f}",
            f"{model['output_usd_per_million']:,.2f}",
            format_count(model["context_window"]),
            Text(clean(model["source"])),
        )
    output.say(table if listed["items"] else "No models with a known price.")
