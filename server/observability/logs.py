"""Log lines: JSON on standard error, one object each, with the session and turn that they belong to.

Two promises. A line never holds what was said, heard or written, nor a credential: code logs ids, durations and
lengths, and what slips through is dropped here. And nobody waits for a log reader: lines are written by a thread of
their own from a bounded queue, and those that find it full are counted and dropped.

Context comes from `structlog.contextvars.bind_contextvars(session_id=..., turn_id=...)`.
"""

import json
import logging
import os
import queue
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath
from types import TracebackType
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

from server.errors import VoicefleetError
from server.observability import metrics

_STDERR = 2
_MAX_QUEUED_LINES = 10_000
_SECONDS_TO_FINISH = 1.0  # at exit, for a reader that is merely slow
_MAX_EVENT = 200  # characters of a foreign library's message
_MAX_FRAMES = 20
_FIRST = ("timestamp", "level", "event", "logger")

# fmt: off
SENSITIVE = frozenset({
    "text", "transcript", "audio", "delta", "pcm", "content", "item", "items", "message", "messages", "prompt",
    "instructions", "arguments", "output", "tools", "token", "secret", "password", "key", "api_key", "credential",
    "credentials", "authorization", "headers", "cookie", "query", "payload", "body", "data", "request",
    "response", "session",
})
# fmt: on
"""Field names that are left out of a line wherever they stand in it."""


def configure(level: Literal["debug", "info", "warning", "error"]) -> None:
    """Write this process's log lines, from `level` up (those of libraries: from warning up). To be called once."""
    ours = logging.getLevelNamesMapping()[level.upper()]
    handler = _NeverWaits()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_COMMON, _first_line_only],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _to_json],
        )
    )
    logging.basicConfig(level=max(ours, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("server").setLevel(ours)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_COMMON,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _NeverWaits(logging.Handler):
    """Formats a line where it is logged, as the context is there, and leaves the writing to a thread.

    The thread writes to the descriptor itself: with Python's stream in between, a reader that has stopped would hold
    the stream's lock and with it the end of the process.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MAX_QUEUED_LINES)
        self._writer = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record).encode() + b"\n")
        except Exception:  # the queue is full, or the line can't be formatted: no call may end for a log line
            metrics.log_lines_dropped.inc()

    def close(self) -> None:
        with suppress(queue.Full):
            self._lines.put(None, timeout=_SECONDS_TO_FINISH)
            self._writer.join(_SECONDS_TO_FINISH)
        super().close()

    def _write(self) -> None:
        cut_short = False
        while (line := self._lines.get()) is not None:
            rest = b"\n" + line if cut_short else line  # or the next line would be lost with what is there of the last
            try:
                while rest:
                    rest = rest[os.write(_STDERR, rest) :]
                cut_short = False
            except OSError:  # the disk is full, or the reader is gone
                metrics.log_lines_dropped.inc()
                cut_short = cut_short or len(rest) < len(line)


def _first_line_only(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
    """Libraries put reprs of what they worked on (tasks, futures, frames) below the first line of a message."""
    first, *_rest = str(fields["event"]).splitlines() or [""]
    fields["event"] = first[:_MAX_EVENT]
    return fields


def _describe(error: BaseException) -> dict[str, Any]:
    """An exception as types and places. Its message only where it is one of ours or the system's.

    Other messages may quote what was being parsed or looked up.
    """
    described: dict[str, Any] = {"type": type(error).__qualname__, "where": _places(error.__traceback__)}
    if isinstance(error, VoicefleetError | OSError):
        described["says"] = str(error)
    if isinstance(error, BaseExceptionGroup):
        described["exceptions"] = [_describe(inner) for inner in error.exceptions]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        described["cause"] = _describe(cause)
    return described


def _places(traceback: TracebackType | None) -> list[str]:
    """The innermost frames, without reading source files: an error must not make the event loop wait for a disk."""
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_qualname}")
        traceback = traceback.tb_next
    return places[-_MAX_FRAMES:]


def _to_json(_: WrappedLogger, __: str, fields: EventDict) -> str:
    first = {name: fields.pop(name) for name in _FIRST if name in fields}
    return json.dumps(first | _without_sensitive(fields), default=_plain)


def _without_sensitive(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): _without_sensitive(inner) for name, inner in value.items() if str(name).lower() not in SENSITIVE
        }
    if isinstance(value, list | tuple):
        return [_without_sensitive(inner) for inner in value]
    return value


def _plain(value: object) -> str:
    """A value JSON has no word for. A repr would show the fields of whatever event or message it is."""
    if isinstance(value, VoicefleetError | OSError | PurePath):
        return str(value)
    return f"<{type(value).__qualname__}>"


_COMMON: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.ExceptionRenderer(lambda exc_info: _describe(exc_info[1])),
]
