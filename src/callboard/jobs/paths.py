"""Paths of step instances, as the journal names them: step ids joined by "/", "[i]" per item of a loop."""


def step_id_of(path: str) -> str:
    """Return the id of the step at `path`.

    >>> step_id_of("each[3]/draft")
    'draft'
    >>> step_id_of("each[3]")
    'each'
    """
    return path.rpartition("/")[2].partition("[")[0]
