"""Log lines: what is in them, what never is, and that nobody waits for them."""

import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from server.errors import VoicefleetError
from server.llm.interface import UserText
from server.observability import logs
from server.observability.metrics import REGISTRY

CANARY = "4111 1111 1111 1111"  # a card number, spoken


@dataclass
class Heard:
    text: str


Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Logging as a node sets it up, at level info; calling it ends the log and gives what was written."""
    root, ours = logging.getLogger(), logging.getLogger("server")
    before = root.handlers[:], root.level, ours.level
    root.handlers = []
    logs.configure("info")

    def written() -> list[dict[str, Any]]:
        root.handlers[0].close()
        return [json.loads(line) for line in capfd.readouterr().err.splitlines()]

    yield written
    root.handlers[0].close()
    root.handlers, root.level = before[0], before[1]
    ours.setLevel(before[2])
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_line_says_when_where_what_and_for_whom(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(session_id="sess_1", turn_id="turn_2")
    structlog.get_logger("server.pipeline").info("turn_done", seconds=0.81)
    (line,) = lines()
    assert next(iter(line)) == "timestamp"  # for whoever reads lines raw
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert line == {
        "level": "info",
        "event": "turn_done",
        "logger": "server.pipeline",
        "session_id": "sess_1",
        "turn_id": "turn_2",
        "seconds": 0.81,
    }


def test_libraries_are_heard_from_warning_up_in_the_same_form(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(session_id="sess_1")
    logging.getLogger("websockets.server").info("connection open")
    logging.getLogger("websockets.server").warning("connection lost after %d s", 3)
    logging.getLogger("server.models").info("checked")
    logging.getLogger("server.models").debug("not at this level")
    structlog.get_logger("server.models").debug("not_at_this_level")
    warnings.warn("to be replaced", UserWarning, stacklevel=1)
    events = [(line["logger"], line["event"], line["session_id"]) for line in lines()]
    assert events[:2] == [
        ("websockets.server", "connection lost after 3 s", "sess_1"),
        ("server.models", "checked", "sess_1"),
    ]
    assert [logger for logger, *_ in events[2:]] == ["py.warnings"]


def log_fields() -> None:
    fields = dict.fromkeys(logs.SENSITIVE, CANARY) | {"Authorization": CANARY}
    structlog.get_logger("server.x").warning("said", **fields)


def log_nested_fields() -> None:
    structlog.get_logger("server.x").warning("said", outer={"inner": [{"transcript": CANARY}, ({"delta": CANARY},)]})


def log_objects() -> None:
    values = [Heard(CANARY), UserText(CANARY), CANARY.encode(), {CANARY}, ValueError(CANARY), memoryview(b"4111")]
    structlog.get_logger("server.x").warning("said", values=values, value=values[0])


def log_context() -> None:
    structlog.contextvars.bind_contextvars(transcript=CANARY)
    structlog.get_logger("server.x").warning("said")


def log_exceptions() -> None:
    try:
        try:
            int(CANARY)
        except ValueError as error:
            raise ExceptionGroup(CANARY, [KeyError(CANARY), RuntimeError(CANARY)]) from error
    except ExceptionGroup:
        structlog.get_logger("server.x").exception("failed")
        logging.getLogger("aiohttp.server").exception("Error handling request")


def log_foreign_lines() -> None:
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <Task exception=%r>", CANARY)


def log_what_cannot_be_formatted() -> None:
    circle: list[Any] = [CANARY]
    circle.append(circle)
    structlog.get_logger("server.x").warning("circle", circle=circle)


@pytest.mark.parametrize(
    "log",
    [
        log_fields,
        log_nested_fields,
        log_objects,
        log_context,
        log_exceptions,
        log_foreign_lines,
        log_what_cannot_be_formatted,
    ],
)
def test_a_spoken_card_number_is_in_no_line(lines: Lines, log: Callable[[], None]) -> None:
    structlog.get_logger("server.x").info("before")
    log()
    structlog.get_logger("server.x").info("after")
    written = lines()
    if log is log_exceptions:
        assert any("log_exceptions" in place for place in written[1]["exception"]["where"])
    assert [written[0]["event"], written[-1]["event"]] == ["before", "after"]
    assert "4111" not in json.dumps(written)
    assert log is log_what_cannot_be_formatted or len(written) > 2


def test_an_exception_is_its_types_and_only_our_own_say_their_message(lines: Lines) -> None:
    error = KeyError("hidden")
    error.__cause__ = VoicefleetError("tts: got nothing; takes text")
    structlog.get_logger("server.x").error("failed", exc_info=error)
    (line,) = lines()
    assert line["exception"] == {
        "type": "KeyError",
        "where": [],
        "cause": {"type": "VoicefleetError", "where": [], "says": "tts: got nothing; takes text"},
    }


SHOUT = """
import sys, time
import structlog
from server.observability import logs
from server.observability.metrics import REGISTRY
logs.configure("info")
log = structlog.get_logger("server.x")
slowest = 0.0
for n in range(14_000):
    before = time.perf_counter()
    log.info("line", n=n)
    slowest = max(slowest, time.perf_counter() - before)
print(slowest, REGISTRY.get_sample_value("voice_log_lines_dropped_total"), flush=True)
"""


def shout(stderr: int) -> tuple[float, float]:
    """Log 14,000 lines to `stderr` in a process of its own: its slowest line in seconds, and how many were dropped."""
    done = subprocess.run(
        [sys.executable, "-c", SHOUT],
        stdout=subprocess.PIPE,
        stderr=stderr,
        timeout=30,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    slowest, dropped = map(float, done.stdout.split())
    return slowest, dropped


def test_a_reader_that_has_stopped_costs_lines_and_not_time() -> None:
    reading, writing = os.pipe()  # nobody reads: it takes 64 KiB and then blocks
    started = time.monotonic()
    slowest, dropped = shout(writing)
    assert slowest < 1.0
    assert 2_000 < dropped < 4_000  # all but the pipe's and the queue's
    assert time.monotonic() - started < 20  # and the process could end
    os.close(reading)
    os.close(writing)


def test_a_full_disk_costs_lines_and_not_calls() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    _, dropped = shout(full)
    os.close(full)
    assert dropped > 0


def test_the_drop_counter_is_among_the_metrics() -> None:
    assert REGISTRY.get_sample_value("voice_log_lines_dropped_total") is not None
