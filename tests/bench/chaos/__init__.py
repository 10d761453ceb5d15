"""Calls to a small fleet whose parts are killed, one after the other: `python -m tests.bench.chaos`."""
