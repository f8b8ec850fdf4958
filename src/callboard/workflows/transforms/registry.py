"""The transforms that a process knows, by name. `wiring` fills it; `steps/transform.py` asks it."""

from collections.abc import Iterable

from callboard.workflows.transforms.base import Transform, UnknownTransformError, suggest_name

# Every operation that the workflow format names: nobody else's may have one of these names.
FORMAT_OPERATIONS = frozenset(
    {
        "extract_fields",
        "filter",
        "join",
        "map",
        "markdown_to_json",
        "merge",
        "regex_extract",
        "sort",
        "template",
        "unique",
    }
)


class TransformRegistry:
    """Finds a transform by its operation. Two of one name are a mistake in the wiring."""

    def __init__(self, transforms: Iterable[Transform]) -> None:
        self._by_operation: dict[str, Transform] = {}
        for transform in transforms:
            if transform.operation in self._by_operation:
                raise ValueError(f"two transforms are called {transform.operation!r}")
            self._by_operation[transform.operation] = transform

    @property
    def operations(self) -> tuple[str, ...]:
        """The names that `get` knows, sorted."""
        return tuple(sorted(self._by_operation))

    def get(self, operation: str) -> Transform:
        """Return the transform called `operation`.

        Raises: UnknownTransformError, with the nearest name, or with all of them.
        """
        transform = self._by_operation.get(operation)
        if transform is not None:
            return transform
        raise UnknownTransformError(
            f"There is no transform operation {operation!r}. {suggest_name(operation, self.operations)}"
        )
