"""The documents say what the code says: states, links, names of functions, names of settings."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from callboard.core.config import Settings
from callboard.core.telemetry import Telemetry
from callboard.jobs.status import LEGAL_MOVES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

# Names in capitals that are no settings of Callboard: what tests, commands and make read, and prefixes.
OTHER_NAMES = {
    "ACME_RATES_TOKEN",
    "ACME_RATES_URL",
    "CALLBOARD_API_KEY",
    "CALLBOARD_SECRET_ACME_RATES_TOKEN",
    "CALLBOARD_SECRET_NAME",
    "CALLBOARD_SECRET_SHOP_TOKEN",
    "CALLBOARD_URL",
    "CALL_TIMEOUT_SECONDS",
    "CHAOS_ARGS",
    "DEFAULT_OPENAI_MODEL_NAME",
    "GOOGLE_SERVICES_API_KEY",
    "JOB_ID",
    "KEY_ID",
    "LEGAL_MOVES",
    "NO_COST",
    "PYTEST_ARGS",
    "SHOP_TOKEN",
    "TEST_DATABASE_URL",
    "TYPE_CHECKING",
}

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)", re.DOTALL)
_NAME = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_MOVE = re.compile(r"^\s*(?P<source>\w+) --> (?P<target>\w+)", re.MULTILINE)
_CODE = re.compile(r"`(?P<name>[A-Za-z_][\w.]*)`")
_MAKE = re.compile(r"^(?:\$ )?make ([a-z-]+)", re.MULTILINE)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links_of(page: Path) -> Iterator[tuple[str, str]]:
    """Yield text and target of every link of `page` that is no web address."""
    for link in _LINK.finditer(_FENCE.sub("", page.read_text("utf-8"))):
        if "://" not in link["target"]:
            yield link["text"], link["target"]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the headings of `page`, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class TestAlerts:
    def test_name_metrics_that_are_served(self) -> None:
        page = (ROOT / "docs/operations.md").read_text("utf-8")
        alerts = page[page.index("## Alerts") : page.index("## The queue grows")]

        named = set(re.findall(r"callboard_[a-z_]+", alerts))

        families = re.findall(r"^# TYPE (\w+)", Telemetry().render(None).decode(), re.MULTILINE)
        parts = {f"{family}{suffix}" for family in families for suffix in ("", "_bucket", "_count")}
        assert named - parts == set()


class TestStates:
    def test_the_diagram_has_every_legal_move_and_no_other(self) -> None:
        (diagram,) = _FENCE.findall((ROOT / "docs/states.md").read_text("utf-8"))

        drawn = {(move["source"], move["target"]) for move in _MOVE.finditer(diagram)}

        legal = {(source.value, target.value) for source, targets in LEGAL_MOVES.items() for target in targets}
        assert drawn == legal

    def test_the_diagram_ends_where_a_job_ends(self) -> None:
        (diagram,) = _FENCE.findall((ROOT / "docs/states.md").read_text("utf-8"))

        ends = set(re.findall(r"^\s*(\w+) --> \[\*\]", diagram, re.MULTILINE))

        assert ends == {status.value for status in LEGAL_MOVES if status.is_final}


@pytest.mark.parametrize("page", PAGES, ids=named)
class TestPages:
    def test_links_lead_to_files_and_headings(self, page: Path) -> None:
        broken = []
        for _, target in links_of(page):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in anchors_of(file)):
                broken.append(target)

        assert broken == []

    def test_linked_names_stand_in_the_linked_file(self, page: Path) -> None:
        missing = []
        for text, target in links_of(page):
            if target.endswith(".py"):
                source = (page.parent / target).read_text("utf-8")
                parts = [part for code in _CODE.finditer(text) for part in code["name"].split(".")]
                missing += [f"{part} in {target}" for part in parts if not re.search(rf"\b{part}\b", source)]

        assert missing == []

    def test_names_in_capitals_are_settings(self, page: Path) -> None:
        known = {name.upper() for name in Settings.model_fields} | OTHER_NAMES

        assert set(_NAME.findall(page.read_text("utf-8"))) <= known

    def test_make_has_the_targets_that_are_shown(self, page: Path) -> None:
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)

        shown = [target for fence in _FENCE.findall(page.read_text("utf-8")) for target in _MAKE.findall(fence)]

        assert set(shown) <= set(targets)


class TestLinksOf:
    def test_sees_links_over_two_lines_and_leaves_code_out(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("[two\nlines](a.md) [web](https://example.org)\n```\n[code](b.md)\n```\n", "utf-8")

        assert list(links_of(page)) == [("two\nlines", "a.md")]
