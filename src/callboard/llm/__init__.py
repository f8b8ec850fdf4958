"""Calls to language models: one port, one file per provider, one client that chooses and prices."""
