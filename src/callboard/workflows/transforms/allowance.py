"""What one run of a transform may use: time until it is given up, and how large its result may grow.

`steps/transform.py` makes one per run and stops it when nobody waits for the result any more; transforms
ask it between items, so that no thread works on for a step that was cancelled or took too long.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue, UnstorableValueError

ItemT = TypeVar("ItemT")

UNLIMITED_CHARS = 2**62


class TransformStoppedError(PermanentError):
    """The step was given up while its transform was at work. Nobody waits for this answer."""

    code = "transform_stopped"
    category = "workflow"


class Allowance:
    """Shared by the thread that works and the event loop that may give it up.

    `max_chars` bounds the result: each value in it counts 1 and each text its characters, which is never
    more than its length as JSON. So what is refused here could not have been stored either.
    """

    def __init__(self, *, max_chars: int = UNLIMITED_CHARS) -> None:
        self._max_chars = max_chars
        self._chars = 0
        self._is_stopped = False

    def stop(self) -> None:
        """Make whoever asks next stop working. May be called from any thread."""
        self._is_stopped = True

    def check(self) -> None:
        """Return when work may go on. Raises: TransformStoppedError."""
        if self._is_stopped:
            raise TransformStoppedError

    def watch(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield `items`, asking before each whether work may go on. Raises: TransformStoppedError."""
        for item in items:
            self.check()
            yield item

    def take(self, part: JsonValue) -> None:
        """Count `part` towards the result. Raises: UnstorableValueError, when the result grows too large."""
        self.take_chars(weigh(part, limit=self._max_chars - self._chars + 1))

    def take_chars(self, chars: int) -> None:
        """Count so many characters towards the result. Raises: UnstorableValueError, as `take`."""
        self._chars += chars
        if self._chars > self._max_chars:
            raise UnstorableValueError(
                f"The result has over {self._max_chars:,} characters as JSON; no more are stored "
                "(MAX_STEP_OUTPUT_BYTES). Extract what later steps need, or raise the setting.",
                details={"max_bytes": self._max_chars},
            )


def weigh(value: JsonValue, *, limit: int) -> int:
    """Return how many values and characters of text `value` holds; at `limit` or above the count ends early.

    >>> weigh({"a": [1, 2], "b": "text"}, limit=100)
    9
    >>> weigh(["x"] * 1_000_000, limit=10) >= 10
    True
    """
    weight = 0
    stack: list[Iterator[JsonValue]] = [iter((value,))]
    while stack and weight < limit:
        item = next(stack[-1], stack)
        if item is stack:
            stack.pop()
            continue
        weight += 1
        if isinstance(item, str):
            weight += len(item)
        elif isinstance(item, dict):
            stack.append(iter(item.values()))
        elif isinstance(item, list):
            stack.append(iter(item))
    return weight
