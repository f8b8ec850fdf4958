"""Which steps of a file can be read from where: only those that have run by then, whatever branch is taken.

Called by the compiler, which adds steps as it comes by them, and by `reference_checks.py` for the verdict.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice

from callboard.workflows.findings import suggest
from callboard.workflows.references import Reference

MAX_STEPS_COMPARED = 500  # in search of the step that was meant: a file may have thousands, and as many mistakes


@dataclass(frozen=True, slots=True)
class Enclosure:
    """One container around a step, and the branch of it that the step is in (its pointer: unique in a file)."""

    step_id: str
    branch: str
    is_loop: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step stands: what is around it, and how many steps the file has before it."""

    step_id: str
    order: int
    enclosures: tuple[Enclosure, ...] = ()
    names: frozenset[str] = frozenset()  # of the loops around it


class StepMap:
    """The steps of a file by id."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._unreadable_ids: set[str] = set()
        self._apart: dict[str, str] = {}

    def __contains__(self, step_id: str) -> bool:
        return step_id in self._places

    def add(self, step_id: str, *, enclosures: tuple[Enclosure, ...], names: frozenset[str]) -> Place:
        """Return the place of the next step in the order of the file. Of two with one id the first is kept."""
        place = Place(step_id, len(self._places), enclosures, names)
        self._places.setdefault(step_id, place)
        return place

    def add_unreadable(self, step_ids: Collection[str]) -> None:
        """Note steps that are there but cannot be read, so that references to them are no mistakes as well."""
        self._unreadable_ids.update(step_ids)

    def add_apart(self, step_ids: Iterable[str], container: str) -> None:
        """Note the steps of the workflow that `container` runs: nothing here can read them, and why is told."""
        for step_id in step_ids:
            self._apart.setdefault(step_id, container)

    def end(self) -> Place:
        """Return the place behind all steps: that of the file's outputs."""
        return Place("", len(self._places))

    def problem_of(self, reference: Reference, reader: Place) -> tuple[str, str] | None:
        """Return code and reason where a reference to a step is read before that step has run, or None."""
        step_id = str(reference.step_id)
        target = self._places.get(step_id)
        if target is None:
            if step_id in self._unreadable_ids:
                return None
            if (container := self._apart.get(step_id)) is not None:
                return "step_not_reachable", (
                    f'"{step_id}" is a step of the workflow that "{container}" runs; read what that gives: '
                    f"${{steps.{container}.output}}."
                )
            earlier = (name for name, place in self._places.items() if place.order < reader.order)
            hint = suggest(step_id, islice(earlier, MAX_STEPS_COMPARED), what="Steps before it:")
            return "unknown_step", f'there is no step "{step_id}".{hint}'
        if target == reader:
            return "step_not_reachable", "a step cannot read its own output."
        if any(enclosure.step_id == step_id for enclosure in reader.enclosures):
            return "step_not_reachable", f'"{step_id}" is the step around this one and has no output yet.'
        return _why_not_reachable(target, reader)


def _why_not_reachable(target: Place, reader: Place) -> tuple[str, str] | None:
    """Return the code and message for a reference from `reader` to a known step that it cannot see, or None."""
    shared = 0
    for one, other in zip(target.enclosures, reader.enclosures, strict=False):
        if one.step_id != other.step_id:
            break
        if one.branch != other.branch:
            message = f'"{target.step_id}" runs in another branch of "{one.step_id}"; read it after that step.'
            return "sibling_branch", message
        shared += 1
    for enclosure in target.enclosures[shared:]:
        if enclosure.is_loop:
            message = (
                f'"{target.step_id}" runs inside the loop "{enclosure.step_id}", once per item; '
                f"read the loop's list: ${{steps.{enclosure.step_id}.output}}."
            )
            return "step_in_loop", message
    if target.order > reader.order:
        return "step_comes_later", f'"{target.step_id}" comes later in the file; only steps before this one have run.'
    return None
