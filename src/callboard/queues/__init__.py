"""Doorbells: how a worker learns that there is work. The database says what the work is."""
