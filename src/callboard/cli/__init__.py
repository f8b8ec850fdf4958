"""The command `callboard`. Start at `main.py`; each command has a module of its own."""
