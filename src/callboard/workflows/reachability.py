"""Which steps of a file can be read from where: only those that have run by then, whatever branch is taken.

Called by the compiler, which adds steps and references as it comes by them and asks for the verdict last.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from callboard.workflows.findings import WorkflowFinding, suggest
from callboard.workflows.references import Reference


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


@dataclass(frozen=True, slots=True)
class _Use:
    reference: Reference
    pointer: str
    reader: Place


class StepMap:
    """The steps of a file by id, and the references to them."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._unreadable_ids: set[str] = set()
        self._uses: list[_Use] = []

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

    def end(self) -> Place:
        """Return the place behind all steps: that of the file's outputs."""
        return Place("", len(self._places))

    def note_use(self, reference: Reference, pointer: str, reader: Place) -> None:
        """Keep a reference to a step for the verdict."""
        self._uses.append(_Use(reference, pointer, reader))

    def judge(self) -> Iterator[WorkflowFinding]:
        """Yield a finding for every reference to a step that has not run when it is read."""
        for use in self._uses:
            problem = self._problem_of(use)
            if problem is not None:
                code, message = problem
                message = f"${{{use.reference.text}}}: {message}"
                yield WorkflowFinding(pointer=use.pointer, message=message, code=code)

    def _problem_of(self, use: _Use) -> tuple[str, str] | None:
        step_id, reader = str(use.reference.step_id), use.reader
        target = self._places.get(step_id)
        if target is None:
            if step_id in self._unreadable_ids:
                return None
            earlier = [name for name, place in self._places.items() if place.order < reader.order]
            hint = suggest(step_id, earlier, what="Steps before it:")
            return "unknown_step", f'there is no step "{step_id}".{hint}'
        if step_id == reader.step_id:
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
