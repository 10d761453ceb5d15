"""Passes: what a page of the node's own is given in place of its visitor's key, to place one call with.

A browser can send a WebSocket no header, and what it sends instead may end up in logs. A pass is worth nothing there:
it is good once, for a minute, in this process. It stands for whoever showed the key: their limits count, and the call
ends if their key is withdrawn. Pure.
"""

import secrets
from collections import OrderedDict

from server.access.auth import Principal
from server.settings.access import hash_api_key

PASS_SECONDS = 60.0
"""From being given to the beginning of the call, which may last longer."""

_MOST_PASSES = 256  # not yet used; one more takes the place of the oldest


class Passes:
    """The passes that are good now. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, tuple[Principal, float]] = OrderedDict()

    def give(self, principal: Principal, now: float) -> str:
        """A pass for one call of `principal`."""
        if len(self._given) >= _MOST_PASSES:
            self._given.popitem(last=False)
        new = f"vfp_{secrets.token_urlsafe(32)}"
        self._given[hash_api_key(new)] = principal, now + PASS_SECONDS
        return new

    def take(self, credential: str | None, now: float) -> Principal | None:
        """Who the pass was given to; None if `credential` is no pass, or none any more."""
        principal, until = self._given.pop(hash_api_key(credential or ""), (None, 0.0))
        return principal if now < until else None
