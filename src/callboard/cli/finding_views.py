"""How findings in workflow files look to people, and to programs. Called by `validate`, `run` and `test`."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from callboard.cli.formats import clean
from callboard.workflows.findings import Excerpt, Severity, WorkflowFinding
from callboard.workflows.schemas import FindingRead

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}


def show_findings(console: Console, findings: Sequence[WorkflowFinding], *, file: str | None = None) -> None:
    """Print each finding as `file:line:column: severity: message [code]`, and its line with a caret under the place.

    `file` is how the user wrote the path; without it the findings' own names of their files are shown.
    """
    for finding in findings:
        _print(console, _heading(finding, file))
        if finding.excerpt is not None:
            _print(console, _caret(finding.excerpt, _STYLES[finding.severity]))
        if finding.related is not None:
            _print(console, Text.assemble("    in ", (clean(finding.related.describe()), "bold")))
            if finding.related.excerpt is not None:
                _print(console, _caret(finding.related.excerpt, _STYLES[finding.severity]))


def document_of(finding: WorkflowFinding) -> dict[str, Any]:
    """Return the finding as `--json` prints it: the same fields as the HTTP API's."""
    return FindingRead.of(finding).model_dump(mode="json")


def _heading(finding: WorkflowFinding, file: str | None) -> Text:
    place = clean(file or finding.file or "")
    if finding.line is not None:
        place += f":{finding.line}:{finding.column}"
    heading = Text.assemble((place, "bold"), ": " if place else "")
    heading.append(finding.severity.value, style=_STYLES[finding.severity])
    heading.append(f": {clean(finding.message)}  ")
    where = f"{finding.pointer} " if finding.pointer else ""
    heading.append(f"{clean(where)}[{finding.code}]", style="dim")
    return heading


def _caret(excerpt: Excerpt, style: str) -> Text:
    """Return the source line with a caret under the place; tabs count as one column in both lines."""
    text = clean(excerpt.text.replace("\t", " "))
    before = Text(text[: excerpt.caret]).cell_len  # wide characters take two columns
    return Text.assemble(f"    {text}\n    {' ' * before}", ("^", style))


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True, highlight=False)
