"""Telling others that a job ended. The outbox is written with every end; delivery reads it."""
