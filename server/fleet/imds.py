"""The EC2 instance metadata service, version 2 only: which instance this is, and what is about to happen to it.

It reads and decides nothing. Address and switch are the standard variables AWS_EC2_METADATA_SERVICE_ENDPOINT and
AWS_EC2_METADATA_DISABLED.
"""

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from server.errors import VoicefleetError

_DEFAULT_ENDPOINT = "http://169.254.169.254"
_TIMEOUT = aiohttp.ClientTimeout(total=1.0)  # it is a neighbour on the host; away from EC2 nobody answers at all
_TOKEN_SECONDS = 21_600
_RENEW_EARLY_SECONDS = 60.0
_META_DATA = "/latest/meta-data/"
_FIRST_TRIES = 3  # the network may have come up a moment ago


class ImdsUnavailable(VoicefleetError):
    """The service is switched off, gives no answer, or gives one that is none."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which instance this is."""

    instance_id: str
    region: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is about to happen: the state that the group brings the instance to (empty: none is named), when EC2 takes a
    spot instance back (UTC, as EC2 writes it), and whether it advises to replace it before it has to."""

    target_state: str
    spot_action_at: str | None
    rebalance_recommended: bool


class Imds:
    """A client, open inside `open_imds`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._token = ""
        self._token_expires = 0.0

    async def identity(self) -> Identity:
        """Who this is; tried a few times. Raises `ImdsUnavailable`."""
        for tries_left in reversed(range(_FIRST_TRIES)):
            try:
                instance_id, region = await self._get("instance-id"), await self._get("placement/region")
                break
            except ImdsUnavailable:
                if not tries_left:
                    raise
        if not instance_id or not region:
            raise ImdsUnavailable("the instance metadata service names no instance and region")
        return Identity(instance_id, region)

    async def look(self) -> Sighting:
        """What is about to happen now. Raises `ImdsUnavailable`."""
        target = await self._get("autoscaling/target-lifecycle-state")
        spot = await self._get("spot/instance-action")
        rebalance = await self._get("events/recommendations/rebalance")
        try:
            spot_action_at = None if spot is None else str(json.loads(spot)["time"])
        except (ValueError, KeyError, TypeError):
            spot_action_at = "soon"  # whatever it says, there is a notice
        return Sighting((target or "").strip(), spot_action_at, rebalance is not None)

    async def _get(self, path: str) -> str | None:
        """The item; None where there is none. Raises `ImdsUnavailable`."""
        status, text = await self._ask(path)
        if status == 401:  # a token from before the instance was stopped, say
            self._token_expires = 0.0
            status, text = await self._ask(path)
        if status == 404:
            return None
        if status != 200:
            raise ImdsUnavailable(f"the instance metadata service answered {status}")
        return text

    async def _ask(self, path: str) -> tuple[int, str]:
        if time.monotonic() >= self._token_expires:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
            status, self._token = await self._request("PUT", "/latest/api/token", headers)
            if status != 200:
                raise ImdsUnavailable(f"the instance metadata service gave no token ({status})")
            self._token_expires = time.monotonic() + _TOKEN_SECONDS - _RENEW_EARLY_SECONDS
        return await self._request("GET", _META_DATA + path, {"X-aws-ec2-metadata-token": self._token})

    async def _request(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        try:
            async with self._session.request(method, path, headers=headers) as response:
                return response.status, await response.text()
        except Exception as error:  # such as LookupError, for a charset that nobody knows
            raise ImdsUnavailable(f"the instance metadata service gives no answer ({type(error).__name__})") from None


@asynccontextmanager
async def open_imds() -> AsyncIterator[Imds]:
    """A client for use inside the block. Raises `ImdsUnavailable` if it is switched off."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        raise ImdsUnavailable("the instance metadata service is switched off by AWS_EC2_METADATA_DISABLED")
    endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _DEFAULT_ENDPOINT
    async with aiohttp.ClientSession(endpoint.rstrip("/"), timeout=_TIMEOUT) as session:
        yield Imds(session)
