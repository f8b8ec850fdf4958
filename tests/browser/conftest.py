"""Mermaid in a headless Chromium, for tests of diagrams.

Chromium is the system's (CHROMIUM names another); Mermaid comes from `npm ci` in this folder. Without them the
tests are left out, which is said loudly; with CI=true they fail.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Error, Page, sync_playwright

HERE = Path(__file__).parent
MERMAID = HERE / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"
NO_BROWSER = "The browser was left out: "
PICTURES = "CALLBOARD_PICTURES"  # a folder: what is rendered is kept there as PNG, for people to look at
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
RENDER = """async (text) => {
  document.body.innerHTML = '<div id="place"></div>';
  const place = document.getElementById('place');
  place.innerHTML = (await mermaid.render('diagram', text)).svg;
  const shown = (element) => ({id: element.id, text: element.innerText ?? '', left: element.getBoundingClientRect().x});
  const labelled = (selector) => [...place.querySelectorAll(selector)].map((group) => {
    const label = group.querySelector('foreignObject div');
    return {...shown(group), text: label ? label.innerText : ''};
  });
  return {
    nodes: labelled('g.node'),
    boxes: labelled('g.cluster'),
    edges: labelled('g.edgeLabel').map((edge) => edge.text).filter((text) => text),
    foreign: [...place.querySelectorAll('script, iframe, img, a, object, embed')].map((each) => each.outerHTML),
    was_attacked: window.alert.was_called === true,
  };
}"""
PARSE = """async (texts) => {
  const faults = [];
  for (const text of texts) {
    try { await mermaid.parse(text); } catch (error) { faults.push(String(error) + '\\n' + text); }
  }
  return faults;
}"""


@dataclass(frozen=True)
class Shown:
    """Something that can be seen: its text with line breaks, and where its left side is."""

    id: str
    text: str
    left: float


@dataclass(frozen=True)
class Picture:
    """A rendered diagram. `foreign` is everything in it that a diagram has no use for: scripts, images, links."""

    nodes: Sequence[Shown]
    boxes: Sequence[Shown]
    edges: Sequence[str]
    foreign: Sequence[str]
    was_attacked: bool

    def node(self, name: str) -> Shown:
        """Return the node whose id in the text is `name`."""
        (found,) = [node for node in self.nodes if f"-{name}-" in node.id]
        return found

    def box(self, name: str) -> Shown:
        """Return the box whose id in the text is `name`."""
        (found,) = [box for box in self.boxes if box.id == name or box.id.endswith(f"-{name}")]
        return found


class Mermaid:
    """The real Mermaid, with the settings of sites that show other people's diagrams."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def faults_in(self, texts: Sequence[str]) -> list[str]:
        """Return why each of the texts that cannot be parsed cannot."""
        faults: list[str] = self._page.evaluate(PARSE, list(texts))
        return faults

    def render(self, text: str, *, name: str) -> Picture:
        """Return what is seen of the diagram. Fails, when Mermaid cannot draw it."""
        try:
            seen = self._page.evaluate(RENDER, text)
        except Error as error:
            pytest.fail(f"Mermaid cannot draw this: {error}\n{text}")
        if os.environ.get(PICTURES):
            self._page.locator("svg").screenshot(path=Path(os.environ[PICTURES]) / f"{name}.png")
        return Picture(
            nodes=[Shown(**each) for each in seen["nodes"]],
            boxes=[Shown(**each) for each in seen["boxes"]],
            edges=seen["edges"],
            foreign=seen["foreign"],
            was_attacked=seen["was_attacked"],
        )


@pytest.fixture(scope="module")
def mermaid() -> Iterator[Mermaid]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        leave_out("there is no chromium; install it (Debian: apt-get install chromium) or set CHROMIUM to its path.")
    if not MERMAID.is_file():
        leave_out("there is no Mermaid; install npm, then use `make test-full`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_content("<!doctype html><html><body></body></html>")
        page.add_script_tag(path=MERMAID)
        page.evaluate(
            "window.alert = () => { window.alert.was_called = true; };"
            "mermaid.initialize({startOnLoad: false, securityLevel: 'strict'});"
        )
        yield Mermaid(page)
        browser.close()


def leave_out(reason: str) -> NoReturn:
    """Skip the test, or fail it where everything has to be there."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(NO_BROWSER + reason)
    pytest.skip(NO_BROWSER + reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was left out."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if NO_BROWSER in str(report.longrepr)]
    if skipped:
        reason = str(skipped[0].longrepr).partition(NO_BROWSER)[2].rstrip("')\"")
        terminalreporter.section("THE BROWSER WAS LEFT OUT", sep="!", red=True, bold=True)
        terminalreporter.write_line(f"{len(skipped)} tests of diagrams did not run: {reason}")
