"""The general reading `lists`: every list as its items. `markdown/general.py` calls it."""

import re
from collections.abc import Sequence

from markdown_it.token import Token

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.markdown.inline import plain_text
from callboard.workflows.transforms.markdown.warnings import Warnings

_OPENS = frozenset({"bullet_list_open", "ordered_list_open"})
_CLOSES = frozenset({"bullet_list_close", "ordered_list_close"})
_BOX = re.compile(r"^\[(?P<mark>[ xX✓✔])\]\s+")


def read_lists(tokens: Sequence[Token], warnings: Warnings) -> list[JsonValue]:
    """Return [[text]]: the lists in order, bulleted and numbered, each a list of its items.

    Items of a list within an item follow that item. The box of a task is left out, with a warning
    where it was ticked. Paragraphs of one item are lines of its text; an empty item is left out.
    """
    lists: list[JsonValue] = []
    items: list[list[str]] = []
    opened: list[list[str]] = []  # the items that are not closed yet; the last one takes the text
    depth = 0
    for token in tokens:
        if token.type in _OPENS:
            depth += 1
        elif token.type in _CLOSES:
            depth -= 1
            if not depth:
                lists.append([text for text in map("\n".join, items) if text])
                items = []
        elif token.type == "list_item_open":
            items.append([])
            opened.append(items[-1])
        elif token.type == "list_item_close":
            opened.pop()
        elif opened and token.type in {"inline", "fence"}:
            text = token.content.strip("\n") if token.type == "fence" else plain_text(token.children or [])
            opened[-1].append(text if opened[-1] else _without_box(text, token, warnings))
    return lists


def _without_box(text: str, token: Token, warnings: Warnings) -> str:
    box = _BOX.match(text)
    if box is None:
        return text
    if box["mark"] != " ":
        warnings.add((token.map or [0])[0] + 1, f"the tick of a done task is left out: {text[box.end() :]}")
    return text[box.end() :]
