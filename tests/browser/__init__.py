"""Tests that look at what Callboard makes through a real browser. They run by `make test-full`."""
