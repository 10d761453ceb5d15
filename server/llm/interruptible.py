"""Lets one thread cut off the request that another thread is waiting for, on a botocore client's connection.

botocore has no way to do so: closing an event stream from outside waits until the next bytes arrive, and before the
headers there is nothing to close. Shutting the socket down wakes the waiting thread at once. `make_interruptible`
reaches into botocore's private parts; it fails loudly when they have changed.
"""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any, Self

_thread = threading.local()


class Interrupted(Exception):
    """The request of this thread was cut off by another."""


class InterruptibleRequest:
    """What the thread that makes a request enters, and what any other thread may `interrupt`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.interrupted = False

    def __enter__(self) -> Self:
        _thread.request = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _thread.request = None
        self.release()

    def interrupt(self) -> None:
        """Cut the request off, now or as soon as it has a connection. Does nothing once it has ended."""
        with self._lock:
            self.interrupted = True
            if self._socket is not None:
                # Not SSLSocket.shutdown, which would take the TLS state away from under the reading thread.
                # OSError: it is closed already. TypeError: TLS inside a proxy's TLS; that waits for the read timeout.
                with contextlib.suppress(OSError, TypeError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def hold(self, connected: socket.socket) -> None:
        """The request runs over `connected` from here on. Raises `Interrupted`."""
        with self._lock:
            if self.interrupted:
                raise Interrupted
            self._socket = connected

    def release(self) -> None:
        """The request is over; its connection may serve another one."""
        with self._lock:
            self._socket = None


class _Reporting:
    """Mixed into a urllib3 connection: tells the thread's request which socket it runs over."""

    sock: Any
    _holder: InterruptibleRequest | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self._holder is not None:
            self._holder.release()
        self._holder = getattr(_thread, "request", None)
        super().request(*args, **kwargs)  # type: ignore[misc]  # urllib3's connection, once mixed in
        if self._holder is not None:
            self._holder.hold(self.sock)


def make_interruptible(client: Any) -> None:
    """Make the connections of a new botocore `client` report to the `InterruptibleRequest` of their thread."""
    pools = client._endpoint.http_session._pool_classes_by_scheme
    for scheme, pool in tuple(pools.items()):
        connection = type("InterruptibleConnection", (_Reporting, pool.ConnectionCls), {})
        pools[scheme] = type("InterruptiblePool", (pool,), {"ConnectionCls": connection})
