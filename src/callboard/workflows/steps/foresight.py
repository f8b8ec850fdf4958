"""What a step can tell about itself before it runs. Asked by `dry_runs/walk.py`, answered by step kinds that can.

A body that has `foresee` is `Foreseeable`. It renders what it needs from a scope in which some values are
not known yet (`unknown_values.py`), and asks nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from callboard.core.json_values import JsonValue
from callboard.workflows.references import Scope
from callboard.workflows.steps.base import StepSequence, Subworkflow

IsKnown: TypeAlias = Callable[[JsonValue], bool]


@dataclass(frozen=True, slots=True)
class ForeseenMessage:
    """A message to a model, as far as its text is known."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenModelCall:
    """A question to a language model. `candidates` = (provider, model), in the order in which they are asked.

    `extra_text` is sent beside the messages (the `output_schema`, as JSON). `max_tokens` is None where the
    step sets no limit. `may_ask_again`: an answer that does not fit the schema is asked for once more.
    """

    candidates: tuple[tuple[str, str], ...]
    messages: tuple[ForeseenMessage, ...]
    extra_text: str = ""
    max_tokens: int | None = None
    may_ask_again: bool = False
    may_be_kept: bool = False  # by `cache_ttl`: then it costs nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenServiceCall:
    """A call of an outside service. `provider` is who really answers."""

    service: str
    provider: str
    method: str
    parameters: Mapping[str, JsonValue]
    may_be_kept: bool = False


@dataclass(frozen=True, slots=True)
class ForeseenWork:
    """Work that asks nobody: what it gives is known as soon as all that it reads is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenBranch:
    """A branch of a choice. `is_taken` is None where that is not known yet; `condition` is None for the last resort."""

    sequence: StepSequence
    condition: str | None
    is_taken: bool | None


@dataclass(frozen=True, slots=True)
class ForeseenChoice:
    """One of these branches is taken."""

    branches: tuple[ForeseenBranch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenParallel:
    """All of these branches run, so many at a time."""

    branches: Mapping[str, StepSequence]
    max_concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenLoop:
    """The sequence runs once per item.

    `items` is a list, or a value that is not known yet; `over` is its path, "" where it stands in the file.
    """

    sequence: StepSequence
    items: JsonValue
    item_name: str
    index_name: str
    over: str
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class ForeseenWait:
    """Waiting for a person, a signal or a time, in words. `may_time_out`: the run goes on when its time is up."""

    words: str
    may_time_out: bool


@dataclass(frozen=True, slots=True)
class ForeseenWorkflow:
    """Another workflow runs, with this input, defaults filled in, and this `context`."""

    workflow: Subworkflow
    input_data: JsonValue
    context: Mapping[str, JsonValue]


Foreseen: TypeAlias = (
    ForeseenModelCall
    | ForeseenServiceCall
    | ForeseenWork
    | ForeseenWait
    | ForeseenChoice
    | ForeseenParallel
    | ForeseenLoop
    | ForeseenWorkflow
)


@runtime_checkable
class Foreseeable(Protocol):
    """A step body that can tell what it would do."""

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        """Return what the step would do in `scope`; it does nothing of it.

        Raises: StepError, when it would fail whatever is not known yet will be.
        """
        ...
