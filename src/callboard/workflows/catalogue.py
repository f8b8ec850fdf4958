"""The workflows that the files in WORKFLOWS_DIR define, read again whenever a file changes.

Called by submit and by the listing endpoints; with `files.py` the only part of the workflow core that looks
at files. A broken file is told apart with its findings and hides none of the others. Workers use stored bundles.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from callboard.workflows.bundles import Bundle
from callboard.workflows.errors import InvalidWorkflowError, WorkflowNotFoundError
from callboard.workflows.files import BrokenWorkflow, LoadedWorkflow, WorkflowFileReader
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.json_files import FileStamp, read_json_file, stamp_of, stamped_files_in

LOOK_SECONDS = 0.5  # a burst of submits looks at the folders once


class WorkflowCatalogue:
    """The workflows of a folder, read by `reader`."""

    def __init__(
        self,
        definitions_dir: Path,
        reader: WorkflowFileReader,
        *,
        look_seconds: float = LOOK_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._definitions_dir = definitions_dir
        self._reader = reader
        self._look_seconds, self._monotonic = look_seconds, monotonic
        self._looked_at = float("-inf")
        self._shared_stamps: Mapping[Path, FileStamp] = {}
        self._stamps: dict[Path, FileStamp] = {}
        self._files: dict[Path, LoadedWorkflow | BrokenWorkflow] = {}
        self._loaded: dict[str, LoadedWorkflow] = {}
        self._broken: list[BrokenWorkflow] = []

    def get(self, name: str) -> LoadedWorkflow:
        """Return the workflow `name`.

        Raises: WorkflowNotFoundError with the nearest names; InvalidWorkflowError, when its file is broken.
        """
        self._look()
        loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded
        for broken in self._broken:
            if broken.name == name:
                raise InvalidWorkflowError(broken.findings, name=name)
        raise WorkflowNotFoundError(name, known=self._loaded)

    def names(self) -> list[str]:
        """Return the names of all workflows that can be submitted, in order."""
        self._look()
        return sorted(self._loaded)

    def broken(self) -> list[BrokenWorkflow]:
        """Return the files that cannot be submitted, by path."""
        self._look()
        return list(self._broken)

    def bundle_for(self, name: str, defaults: Mapping[str, Any]) -> Bundle:
        """Return all that a run of `name` reads. Raises: as `get` does."""
        return self.get(name).bundle(defaults)

    def list(self) -> list[LoadedWorkflow]:
        """Return all workflows that can be submitted, by name."""
        self._look()
        return [self._loaded[name] for name in sorted(self._loaded)]

    def _look(self) -> None:
        """Read again what has changed since the last look."""
        now = self._monotonic()
        if now - self._looked_at < self._look_seconds:
            return
        self._looked_at = now
        shared = {path: stamp for folder in self._reader.shared_folders for path, stamp in _stamps_below(folder)}
        stamps = dict(stamped_files_in(self._definitions_dir))
        if shared != self._shared_stamps:
            self._stamps = {}  # any workflow may use what changed
        elif stamps == self._stamps:
            return
        else:  # so may any that runs others
            self._stamps = {path: stamp for path, stamp in self._stamps.items() if not self._files[path].uses_others}
        self._files = {
            path: self._files[path] if self._stamps.get(path) == stamp else self._reader.read(path)
            for path, stamp in sorted(stamps.items())
        }
        self._shared_stamps, self._stamps = shared, stamps
        self._index()

    def _index(self) -> None:
        loaded = [each for each in self._files.values() if isinstance(each, LoadedWorkflow)]
        broken = [each for each in self._files.values() if isinstance(each, BrokenWorkflow)]
        doubles = find_same_names(loaded)
        taken = {each.name for each in doubles}
        self._loaded = {each.name: each for each in loaded if each.name not in taken}
        self._broken = sorted([*broken, *doubles], key=lambda each: each.path)


def find_same_names(loaded: Iterable[LoadedWorkflow]) -> list[BrokenWorkflow]:
    """Return the files of a folder whose names are not theirs alone: none of them can be submitted."""
    by_name: dict[str, list[LoadedWorkflow]] = {}
    for each in loaded:
        by_name.setdefault(each.name, []).append(each)
    return [_double(each, same) for same in by_name.values() if len(same) > 1 for each in same]


def _double(each: LoadedWorkflow, same: Sequence[LoadedWorkflow]) -> BrokenWorkflow:
    files = " and ".join(sorted(other.path.name for other in same))
    message = f'The name "{each.name}" is used by {files}; each workflow has a name of its own.'
    finding = WorkflowFinding(pointer="/name", message=message, code="duplicate_name", file=each.path.name)
    placed = read_json_file(each.path, "workflow file").place([finding])
    return BrokenWorkflow(name=each.name, path=each.path, findings=(*placed, *each.warnings))


def _stamps_below(folder: Path) -> Iterator[tuple[Path, FileStamp]]:
    """Yield all files below `folder`."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                yield path, stamp_of(path.stat())
            except OSError:  # a link to nothing, or gone by now
                continue
