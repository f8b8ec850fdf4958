"""How recorded tests are reported: lines for people, one JSON document, JUnit XML. Called by `test`.

JUnit's XML is written with the standard library: the few elements that CI systems read are fewer lines than
a dependency would need.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET  # only writes: nothing from outside is parsed

from rich.text import Text

from callboard.cli.case_files import CaseReport
from callboard.cli.formats import clean, format_duration
from callboard.cli.output import Output
from callboard.core.json_differences import ABSENT

CONTROL_CHARACTERS = {code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\t\n\r"}


def show_reports(output: Output, reports: Sequence[CaseReport], *, duration_ms: float) -> None:
    """Print a line per case, what went wrong below it, and how many there are of each."""
    for report in reports:
        mark, style = ("✓", "green") if report.has_passed else ("✗", "red")
        took = format_duration(report.duration_ms) if report.outcome is not None else "not run"
        output.say(Text.assemble((f"{mark} ", style), f"{report.file}: {clean(report.name)}", (f"  {took}", "dim")))
        for line in _lines(report):
            output.say(f"    {clean(line)}", style="red", soft_wrap=True)
        for note in _notes(report):
            output.say(f"    {clean(note)}", style="yellow", soft_wrap=True)
    passed, failed = _count(reports)
    summary = f"{passed} passed" + (f", {failed} failed" if failed else "")
    output.say(f"{summary} in {format_duration(duration_ms)}", style="red" if failed else "green")


def reports_document(reports: Sequence[CaseReport], *, duration_ms: float) -> dict[str, Any]:
    """Return the reports as one JSON document."""
    passed, failed = _count(reports)
    return {
        "passed": passed,
        "failed": failed,
        "duration_ms": round(duration_ms),
        "cases": [_case_document(report) for report in reports],
    }


def write_junit(path: Path, reports: Sequence[CaseReport], *, duration_ms: float) -> None:
    """Write the reports for CI systems. Raises: OSError."""
    _, failed = _count(reports)
    totals = {"name": "callboard", "tests": str(len(reports)), "failures": str(failed), "errors": "0"}
    suite = ET.Element("testsuite", {**totals, "time": f"{duration_ms / 1000:.3f}"})
    for report in reports:
        attributes = {"classname": str(report.file), "name": report.name, "time": f"{report.duration_ms / 1000:.3f}"}
        case = ET.SubElement(suite, "testcase", {key: _xml(value) for key, value in attributes.items()})
        lines = list(_lines(report))
        if lines:
            ET.SubElement(case, "failure", {"message": _xml(lines[0])}).text = _xml("\n".join(lines))
        if notes := _notes(report):
            ET.SubElement(case, "system-out").text = _xml("\n".join(notes))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _count(reports: Sequence[CaseReport]) -> tuple[int, int]:
    passed = sum(report.has_passed for report in reports)
    return passed, len(reports) - passed


def _lines(report: CaseReport) -> Iterator[str]:
    """Yield what went wrong, place by place."""
    for finding in report.findings:
        yield finding.describe()
    if report.outcome is not None:
        for difference in report.outcome.differences:
            yield from difference.describe()


def _notes(report: CaseReport) -> tuple[str, ...]:
    return () if report.outcome is None else report.outcome.notes


def _case_document(report: CaseReport) -> dict[str, Any]:
    outcome = report.outcome
    return {
        "file": str(report.file),
        "name": report.name,
        "passed": report.has_passed,
        "duration_ms": round(report.duration_ms),
        "cost_usd": None if outcome is None else float(outcome.cost_usd),
        "findings": [
            {"pointer": each.pointer, "line": each.line, "column": each.column, "message": each.message}
            for each in report.findings
        ],
        "differences": [
            {
                "pointer": each.pointer,
                "expected": each.rule or (None if each.expected is ABSENT else each.expected),
                "got": None if each.got is ABSENT else each.got,
                "is_missing": each.got is ABSENT,
            }
            for each in (() if outcome is None else outcome.differences)
        ],
        "notes": list(_notes(report)),
    }


def _xml(text: str) -> str:
    """Return `text` without the characters that XML cannot hold."""
    return clean(text).translate(CONTROL_CHARACTERS)
