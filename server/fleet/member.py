"""Makes a node a good member of its Auto Scaling group: the I/O around `Lifecycle`, which decides.

It watches IMDS, sends requests to Auto Scaling, publishes to CloudWatch and tells the node when to drain. None of these
failing costs a call. Outside a fleet none of it is imported.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import structlog

from server.access.admission import Admission
from server.errors import VoicefleetError, first_of
from server.fleet.autoscaling import InstanceInGroup
from server.fleet.cloudwatch import PERIOD_SECONDS, Publisher
from server.fleet.group_requests import Answer, PublishCutCalls, Request
from server.fleet.imds import Imds, ImdsUnavailable, open_imds
from server.fleet.lifecycle import CutCalls, Drain, DrainReason, Exit, Lifecycle
from server.node.http import PartState, missing_parts
from server.observability import metrics
from server.settings.settings import Settings
from server.tts_processor import TtsError

log = structlog.get_logger(__name__)

_TICK_SECONDS = 0.25
_LOOK_SECONDS = 2.0  # a spot instance has two minutes
_SPEAK_AGAIN_SECONDS = 1.0


class FleetNode(Protocol):
    """What the life cycle has to do with a node."""

    @property
    def admission(self) -> Admission:
        """The owner of the session count."""
        ...

    def parts(self) -> Mapping[str, PartState]:
        """Each part's state now, by its name."""
        ...

    async def try_voice(self) -> None:
        """Really synthesise something. Raises `TtsError`."""
        ...

    def start_draining(self, reason: str) -> None:
        """Take no more calls."""
        ...

    async def cut_calls(self) -> None:
        """Close the calls that there still are."""
        ...


class FleetMember:
    """This instance and, once it `serves`, the node on it."""

    def __init__(self, instance: InstanceInGroup, publisher: Publisher, imds: Imds, drain_seconds: float) -> None:
        self._instance = instance
        self._publisher = publisher
        self._imds = imds
        self._life = Lifecycle(drain_seconds, time.monotonic())
        self._node: FleetNode | None = None
        self._has_node = asyncio.Event()
        self._may_exit = asyncio.Event()
        self._drain_reason: DrainReason | None = None
        self._to_send: asyncio.Queue[Request] = asyncio.Queue()  # holds one of each kind at most
        self._publishing = asyncio.Lock()

    def serves(self, node: FleetNode) -> None:
        """The instance's node is this one; it runs."""
        self._node = node
        if self._drain_reason:
            node.start_draining(self._drain_reason)
        self._has_node.set()

    async def drain(self) -> None:
        """Wait for the end of the drain, which begins now if it has not yet, and for what the group is owed then."""
        self._life.terminate(time.monotonic())
        await self._may_exit.wait()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for work in (self._live(tasks), self._send(), self._watch_imds(), self._publish(), self._speak_once()):
                tasks.create_task(work)

    async def _live(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            now = time.monotonic()
            if self._node:
                self._life.parts(missing_parts(self._node.parts()), now)
                self._life.calls(self._node.admission.active)
            for command in self._life.decide(now):
                match command:
                    case Drain(reason):
                        self._drain_reason = reason
                        if self._node:
                            self._node.start_draining(reason)
                    case CutCalls():
                        assert self._node, "who has calls has a node"
                        tasks.create_task(self._node.cut_calls())
                    case Exit():
                        self._may_exit.set()
                    case request:
                        self._to_send.put_nowait(request)
            metrics.reported_unhealthy.set(self._life.unhealthy(now))
            await asyncio.sleep(_TICK_SECONDS)

    async def _send(self) -> None:
        while True:
            request = await self._to_send.get()
            self._life.answered(request, await self._answer(request), time.monotonic())

    async def _answer(self, request: Request) -> Answer:
        if not isinstance(request, PublishCutCalls):
            return await asyncio.to_thread(self._instance.send, request)
        async with self._publishing:
            return await asyncio.to_thread(self._publisher.publish_cut, request.calls)

    async def _watch_imds(self) -> None:
        has_failed, told = False, set[str]()
        while True:
            try:
                seen = await self._imds.look()
            except ImdsUnavailable as error:
                if not has_failed:
                    log.warning("imds_failed", error=str(error))
                has_failed = True
            else:
                if has_failed:
                    log.info("imds_back")
                has_failed = False
                self._life.target_state(seen.target_state)
                if seen.spot_action_at:
                    self._life.spot_notice()
                    _tell_once(told, "spot", ends_at=seen.spot_action_at)
                if seen.rebalance_recommended:  # the group starts another instance and then ends this one by its hook
                    _tell_once(told, "rebalance")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _publish(self) -> None:
        """One at a time: what can't be published in time leaves beats out, and piles nothing up."""
        next_beat = time.monotonic()
        while True:
            takes_calls = self._node is not None and self._life.takes_calls
            utilization = self._node.admission.utilization if self._node and takes_calls else None
            async with self._publishing:
                await asyncio.to_thread(self._publisher.publish, utilization)
            next_beat = max(next_beat + PERIOD_SECONDS, time.monotonic())
            await asyncio.sleep(next_beat - time.monotonic())

    async def _speak_once(self) -> None:
        await self._has_node.wait()
        assert self._node
        while True:
            if not missing_parts(self._node.parts()):
                try:
                    await self._node.try_voice()
                except TtsError as error:
                    log.warning("first_synthesis_failed", error=str(error))
                else:
                    break
            await asyncio.sleep(_SPEAK_AGAIN_SECONDS)
        self._life.spoke()


@asynccontextmanager
async def fleet_member(settings: Settings) -> AsyncIterator[FleetMember | None]:
    """The membership of this instance in the settings' group, alive inside the block; None where there is no IMDS."""
    with first_of(VoicefleetError):
        async with AsyncExitStack() as stack:
            yield await _start(settings, stack)


async def _start(settings: Settings, stack: AsyncExitStack) -> FleetMember | None:
    try:
        imds = await stack.enter_async_context(open_imds())
        identity = await imds.identity()
    except ImdsUnavailable as error:
        log.warning("fleet_life_cycle_off", group=settings.fleet_group, reason=str(error))
        return None
    log.info("fleet_member", group=settings.fleet_group, instance=identity.instance_id, region=identity.region)
    instance = InstanceInGroup(settings.fleet_group, identity.instance_id, identity.region)
    publisher = Publisher(settings.fleet_group, identity.region)
    member = FleetMember(instance, publisher, imds, settings.drain_seconds)
    tasks = await stack.enter_async_context(asyncio.TaskGroup())
    stack.callback(tasks.create_task(member.run()).cancel)
    return member


def _tell_once(told: set[str], kind: str, **details: str) -> None:
    if kind not in told:
        told.add(kind)
        metrics.interruption_notices.labels(kind).inc()
        log.warning("interruption_notice", kind=kind, **details)
