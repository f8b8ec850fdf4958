"""The workflows of a folder by the names that they give themselves: where a `workflow` step finds the one it names.

Asked by `files.py` for each file that has such a step. A file is parsed once per change, and nothing is kept of
it but its name and the names that it uses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from callboard.core.json_values import JsonValue
from callboard.workflows.compiled_workflow import MAX_NESTED_WORKFLOWS
from callboard.workflows.errors import UnusableWorkflowError
from callboard.workflows.findings import pointer_of
from callboard.workflows.json_files import FileStamp, objects_in, stamped_files_in

WORKFLOW_TYPE = "workflow"  # of the steps that run another workflow


def workflow_uses(raw: JsonValue) -> Iterator[tuple[str, str]]:
    """Yield the workflow that each `workflow` step in `raw` names, after the pointer of that name."""
    for pointer, item in objects_in(raw):
        if item.get("type") == WORKFLOW_TYPE and "id" in item:
            config = item.get("config")
            is_lifted = not isinstance(config, dict) or "workflow" not in config
            holder, base = (item, pointer) if is_lifted else (config, pointer_of("config", base=pointer))
            name = holder.get("workflow") if isinstance(holder, dict) else None
            if isinstance(name, str):
                yield pointer_of("workflow", base=base), name


@dataclass(frozen=True, slots=True)
class Shelf:
    """The workflows of one folder at one moment: their files, and whom each of them uses."""

    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    uses: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def find(self, name: str, *, user: str) -> Path:
        """Return the file of the workflow `name`, which `user` wants to run.

        Raises: UnusableWorkflowError, when there is none, or several, or when it runs `user` itself.
        """
        if name == user:
            raise UnusableWorkflowError.recursion([user, name])
        paths = self.files.get(name, ())
        if not paths:
            raise UnusableWorkflowError.unknown(name, known=self.files.keys() - {user})
        if len(paths) > 1:
            named = " and ".join(sorted(path.name for path in paths))
            message = f'The name "{name}" is used by {named}; each workflow has a name of its own.'
            raise UnusableWorkflowError(message, code="duplicate_name")
        back = self._way_back(name, user)
        if back is not None:
            raise UnusableWorkflowError.recursion([user, *back])
        longest = self._longest_way(name, {}, frozenset())
        if len(longest) > MAX_NESTED_WORKFLOWS:
            raise UnusableWorkflowError.too_deep([user, *longest], limit=MAX_NESTED_WORKFLOWS)
        return paths[0]

    def _way_back(self, name: str, user: str) -> list[str] | None:
        """Return the shortest way from `name` to `user`, both included, or None."""
        ways, seen = [[name]], {name}
        for way in ways:
            for used in sorted(self.uses.get(way[-1], ())):
                if used == user:
                    return [*way, used]
                if used not in seen:
                    seen.add(used)
                    ways.append([*way, used])
        return None

    def _longest_way(self, name: str, known: dict[str, list[str]], around: frozenset[str]) -> list[str]:
        """Return the longest way down from `name`, `name` included. One that goes round is told by those on it."""
        if name not in known:
            below = [
                self._longest_way(used, known, around | {name})
                for used in sorted(self.uses.get(name, frozenset()) - around - {name})
                if len(around) <= MAX_NESTED_WORKFLOWS
            ]
            known[name] = [name, *max(below, key=len, default=[])]
        return known[name]


@dataclass(frozen=True, slots=True)
class _Entry:
    stamp: FileStamp
    name: str
    uses: frozenset[str]


class WorkflowLibrary:
    """Reads shelves, and remembers what has not changed. One object may serve several threads."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[Path, _Entry]] = {}

    def look_into(self, folder: Path | None) -> Shelf:
        """Return the workflows of `folder`, as they are now; without a folder there are none."""
        if folder is None:
            return Shelf()
        known = self._folders.get(folder, {})
        entries = {
            path: known[path] if path in known and known[path].stamp == stamp else _read(path, stamp)
            for path, stamp in sorted(stamped_files_in(folder))
        }
        self._folders[folder] = entries
        files: dict[str, list[Path]] = {}
        for path, entry in entries.items():
            files.setdefault(entry.name, []).append(path)
        return Shelf(files, {entry.name: entry.uses for entry in entries.values()})


def _read(path: Path, stamp: FileStamp) -> _Entry:
    """Return what a file says of itself; of one that cannot be read, its file name, and why is told by its reader."""
    try:
        raw = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (OSError, orjson.JSONDecodeError):
        return _Entry(stamp, path.stem, frozenset())
    name = raw.get("name") if isinstance(raw, dict) else None
    uses = frozenset(used for _, used in workflow_uses(raw))
    return _Entry(stamp, name if isinstance(name, str) and name else path.stem, uses)
