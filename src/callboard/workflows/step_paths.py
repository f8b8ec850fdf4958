"""The paths of step instances, as people write them. Called by recorded tests and by `local_waits.py`."""

import re

_INDEX = re.compile(r"\[\d+\]")


def bare_path(path: str) -> str:
    """Return `path` without the items of loops.

    >>> bare_path("each[3]/ok")
    'each/ok'
    """
    return _INDEX.sub("", path)
