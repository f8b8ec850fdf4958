"""What a transform step can do with a value: one file per operation; `wiring` hands them to the registry."""
