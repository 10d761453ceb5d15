"""Thousands of calls that end in every state, and what they leave behind: `python -m tests.bench.soak`."""
