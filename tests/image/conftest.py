"""Boots take minutes: they run where they are asked for (`make boot`), and tell at the end how long each stage took."""

import pytest

from tests.support.boot.timeline import TIMELINES, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TIMELINES:
        terminalreporter.section("boots, in seconds")
        terminalreporter.write_line(table())
