"""Workflow files and the engine that walks them. The core of it knows no database, HTTP or queue."""
