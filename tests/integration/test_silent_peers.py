"""Callers who vanish with their network, or live and read no more: `python -m tests.bench.silent_peers`."""

import subprocess
import sys

import pytest

from tests.support.programs import NAMESPACES


@pytest.mark.needs(NAMESPACES, "nft", "ip")
def test_whoever_falls_silent_gives_its_place_back_whatever_the_call_was_in_the_middle_of() -> None:
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    command = [*alone, sys.executable, "-m", "tests.bench.silent_peers"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("| ping_timeout |") == 8
    assert "| stops reading, at rest | " in run.stdout
    assert run.stdout.count("| 1011 |") == 2  # those who were owed nothing else
