"""Callboard: durable AI workflows over HTTP. Start reading at `docs/one-job.md`."""

__version__ = "0.1.0"
