"""One caller against the others: `python -m tests.bench.attacks` attacks a node beside a caller who talks to it.

Every attacker has a valid key and means harm (or is only heavy-handed). What it may do to the others is the figure.
"""
