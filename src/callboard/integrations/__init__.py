"""Outside services that are no language models: one port, one file per service."""
