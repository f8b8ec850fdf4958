"""The Python client of Callboard's HTTP API. Start at `client.py`; it imports nothing of the server."""
