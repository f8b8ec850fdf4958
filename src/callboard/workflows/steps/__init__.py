"""Step kinds: one file each; `wiring` hands them to the registry."""
