"""How a command ends that is told to: by SIGINT, which is Ctrl-C, or by SIGTERM, which means the same to it.

Python's own way serves for both: an interrupt, which inside an event loop cancels what the loop runs. On its way out
everything that was started is stopped. A node that serves hears both signals in its own way (`serve.until_stopped`).
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ended_by_signals(*, serves: bool) -> Iterator[None]:
    """Within the block, either signal ends the process in order; the second one at once.

    The exit status is 128 and the signal's number, as shells have it; but 0 after SIGTERM for a command that `serves`
    until it is stopped, whether or not it does so yet.
    """
    terminated = False

    def terminate(_: int, __: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        signal.raise_signal(signal.SIGINT)

    # A shell that starts this in the background has SIGINT ignored, which would leave SIGTERM without effect too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        _exit(0 if terminated and serves else 128 + (signal.SIGTERM if terminated else signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


@contextmanager
def silent_interrupt() -> Iterator[None]:
    """Within the block, in which nothing is started yet, Ctrl-C ends the process without a traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _exit(status: int) -> None:
    """Without waiting for threads: one that fetches or loads a model can't be stopped, and leaves nothing half-done."""
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
