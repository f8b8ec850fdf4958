"""Names of an object's fields that a text brings: the columns of a table, the keys of `key_values`."""


class UniqueNames:
    """Gives each name once: a repeated one gets a number, so that no value replaces another.

    >>> names = UniqueNames()
    >>> [names.take(name) for name in ("Phone", "Phone", "Phone (2)", "Phone")]
    ['Phone', 'Phone (2)', 'Phone (2) (2)', 'Phone (3)']
    """

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def take(self, name: str) -> str:
        """Return `name`, or what stands for it where it was taken before."""
        unique = name
        while unique in self._times:
            self._times[name] += 1
            unique = f"{name} ({self._times[name]})"
        self._times[unique] = 1
        return unique
