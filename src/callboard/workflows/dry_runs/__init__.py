"""Dry runs: what a run would do and take, with nobody called. `walk.foresee` is the way in."""
