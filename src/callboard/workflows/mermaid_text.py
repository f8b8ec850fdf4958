"""Text and ids that are safe inside a Mermaid flowchart, whatever a workflow file says. Called by `diagram.py`.

Mermaid reads Markdown, HTML, entities, directives (`%%{init}%%`) and its own keywords wherever it can, in
quoted labels too. So every character that it might take for one of those is written as an entity.
"""

import re
import unicodedata

CUT = "…"
LINE_BREAK = "<br>"

_PLAIN = frozenset(f"{CUT} .,:/=?!'()[]+@~^")
_NAMED = {'"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"}
_LIST_MARK = re.compile(r"^(\d+)[.)]|^[+=]")  # would begin a Markdown list or underline
_BEGINS_STYLE = re.compile(r"style|classDef")  # with a colon and an entity behind it Mermaid drops a semicolon
# a formula ($$x$$) and an icon (fa:fa-car) are found when the entities are characters again: a gap keeps them apart
_TAKES_GAP = re.compile(r"(?<=\$)(?=\$)|(?<=:)(?=fa-)")
_GAP = "\u200b"
_NOT_IN_ID = re.compile(r"\W", re.ASCII)


def escape_label(text: str) -> str:
    """Return `text` as it stands between the quotes of a label, so that exactly it is shown.

    >>> escape_label('a_b > "x"; end')
    'a_b #gt; #quot;x#quot;#59; end'
    """
    text = _TAKES_GAP.sub(_GAP, " ".join(text.split()).replace(_GAP, ""))
    has_style = _BEGINS_STYLE.search(text) is not None
    begins_list = _LIST_MARK.match(text)
    mark = begins_list.end() - 1 if begins_list else -1
    return "".join(
        char if index != mark and _is_plain(text, index, has_style=has_style) else _entity(char)
        for index, char in enumerate(text)
    )


def cut(text: str, max_chars: int) -> str:
    """Return `text` on one line, in at most `max_chars` characters; what is left out shows as an ellipsis.

    >>> cut("a  long\\n text", 8)
    'a long …'
    """
    text = " ".join(text.split())
    return text if len(text) <= max_chars else text[: max_chars - 1] + CUT


class NodeIds:
    """The ids of one diagram: made of names, each different from all others and none a word of Mermaid's."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, kind: str, *names: str) -> str:
        """Return a new id for the thing of this `kind` (a letter or word) that goes by `names`."""
        wanted = "_".join((kind, *(_NOT_IN_ID.sub("_", name) for name in names)))
        found, number = wanted, 2
        while found in self._taken:
            found, number = f"{wanted}_{number}", number + 1
        self._taken.add(found)
        return found


def _is_plain(text: str, index: int, *, has_style: bool) -> bool:
    char = text[index]
    if char in "_-":  # inside a word they are no emphasis, line or list
        return text[index - 1 : index].isalnum() and text[index + 1 : index + 2].isalnum()
    if char == ":":  # fa:fa-car would be an icon
        return not has_style and text[index + 1 : index + 2] in {"", " "}
    return char.isalnum() or char in _PLAIN


def _entity(char: str) -> str:
    if char == _GAP:
        return "#8203;"
    if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn"}:
        return "#65533;"  # no renderer shows it, and some change what stands around it
    return _NAMED.get(char) or f"#{ord(char)};"
