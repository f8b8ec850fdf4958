"""Faults injected into running systems, and what has to be true afterwards: `make chaos`."""
