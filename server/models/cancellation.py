"""Work in several threads that ends together: the first failure, or an interrupt, stops the rest at once.

Knows nothing of models. Python can't stop a thread, so whoever waits in one does it where a `Cancellation` can wake it.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from contextlib import contextmanager

_LOOK_SECONDS = 0.1  # Python hears of a signal that came just before a wait when the wait has ended

_INTERRUPTED_SECONDS = 1.0


class Cancelled(Exception):
    """The result of this thread's work is wanted no longer."""


class Cancellation:
    """Tells any number of threads to stop; once cancelled it stays so."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Stop whoever checks or pauses from now on, and call back whoever asked for it."""
        with self._lock:
            self._cancelled.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raises `Cancelled` once it is."""
        if self._cancelled.is_set():
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """Sleep. Raises `Cancelled` as soon as it is."""
        if self._cancelled.wait(seconds):
            raise Cancelled

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within the block, `callback` is called when this is cancelled. Raises `Cancelled` where it already is."""
        with self._lock:
            self.check()
            self._callbacks.append(callback)
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)


def run_together(pool: Executor, calls: Iterable[Callable[[Cancellation], None]], parent: Cancellation) -> None:
    """Run all `calls` in `pool` and return when all have ended; `parent` cancels them.

    What the first to fail has raised is raised here, once the others, cancelled by it, have ended too. After an
    interrupt of this very thread that takes a second at most: one may be deep in a call that can't be woken.
    """
    cancellation = Cancellation()
    futures: list[Future[None]] = []
    with parent.calling(cancellation.cancel):
        try:
            futures.extend(pool.submit(call, cancellation) for call in calls)
            waiting = set(futures)
            while waiting:
                ended, waiting = wait(waiting, _LOOK_SECONDS, FIRST_EXCEPTION)
                for future in ended:
                    future.result()
        except BaseException as error:
            cancellation.cancel()
            for future in futures:
                future.cancel()
            wait(futures, None if isinstance(error, Exception) else _INTERRUPTED_SECONDS)
            raise
