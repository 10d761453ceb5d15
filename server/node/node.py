"""A node: every part that serves calls, started in order and stopped as one.

The composition, and nothing else: what a part does is its own; what it needs is handed to it here.
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal, Self

import structlog

from server.access.admission import Admission
from server.access.call_capacity import TalkShare, calls_for
from server.access.entrance import Entrance
from server.access.key_secret import follow_keys
from server.errors import VoicefleetError, first_of
from server.front_door import CALL_PATHS
from server.http_api.app import HttpApi
from server.llm.interface import LlmError
from server.llm_processor import LlmProcessor
from server.models.store import ModelStore
from server.node.http import PartState, serve_http
from server.observability import metrics
from server.observability.loop_lag import watch_loop_lag
from server.pipeline import Parts
from server.settings.settings import Settings
from server.smart_turn_processor import SmartTurnProcessor
from server.spoken_lines import SpokenLines
from server.stt_processor import SttProcessor
from server.talk.page import PATH as TALK_PATH
from server.talk.page import TalkPage
from server.tts_processor import TtsError, TtsProcessor
from server.vad_processor import VadProcessor
from server.websocket_handler import Gateway, tls_context
from server.workers.client import Credentials, watch_health
from server.workers.commands import speech_workers
from server.workers.supervisor import Supervisor

log = structlog.get_logger(__name__)

_RECORD_AGAIN_SECONDS = 10.0
_WARM_AGAIN_SECONDS = 30.0
_VAD_MODEL = ("silero-vad", "silero_vad.onnx")
_SMART_TURN_MODEL = ("smart-turn-v3.2", "smart-turn-v3.2-cpu.onnx")

_SPOT_SECONDS = 120.0  # between EC2's notice and the end of the instance


class CannotListen(VoicefleetError):
    """A port of the node's can't be had."""


class Node:
    """One node of the fleet. `websocket` and `http` are its addresses while it runs.

    `deregistered` tells whether its group has taken it from the load balancer.
    """

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        self._parts = dict.fromkeys(("vad", "smart_turn", "stt", "llm", "tts", "gateway"), PartState(False, "starting"))
        self._supervisor = Supervisor([])
        self._llm: LlmProcessor | None = None
        self._tts: TtsProcessor | None = None
        self._calls = AsyncExitStack()
        self.admission = Admission(
            settings.max_sessions, settings.retry_after_seconds, settings.sessions_per_key, settings.sessions_per_token
        )
        self.websocket = ""
        self.http = ""
        self.talk: TalkPage | None = None
        self.deregistered = False

    def parts(self) -> Mapping[str, PartState]:
        """Each part's state now. A language model that fails makes no node unready: the next request may succeed."""
        states = dict(self._parts)
        for name, status in self._supervisor.status().items():
            states[name] = PartState(status.state == "serving", status.state)
        if self._tts and self._settings.tts_address:
            states["tts"] = _pool_state(self._tts.pool.workers)
        if self._llm:
            states["llm"] = PartState(self._llm.state == "ok", self._llm.describe(), required=False)
        return states

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run inside the block; on entry every part is warm and calls are taken. Raises `VoicefleetError`."""
        with first_of(VoicefleetError, OSError):
            async with AsyncExitStack() as stack:
                await self._start(stack)
                try:
                    yield self
                finally:  # not ready any more before the port is closed
                    self._parts["gateway"] = PartState(False, "stopping")
                log.info("node_stopping")

    async def _start(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        tls, credentials = tls_context(settings), Credentials.from_settings(settings)
        run_dir = settings.run_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voicefleet-")))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [tasks.create_task(watch_loop_lag())]
        stack.callback(lambda: [task.cancel() for task in background])
        with _listening("VOICE_HTTP_PORT", settings.http_port):
            port = await stack.enter_async_context(serve_http(self, settings.host, settings.http_port))
        self.http = f"http://{_in_url(settings.host)}:{port}"

        commands = speech_workers(settings, run_dir)
        self._supervisor = Supervisor(commands)
        background.append(tasks.create_task(self._supervisor.run()))
        started = {command.name: command.address for command in commands}
        vad = await self._start_vad(tasks, background)
        smart_turn = await self._start_smart_turn(stack)
        self._llm = await self._start_llm(stack)
        await self._supervisor.wait_ready()
        stt = await stack.enter_async_context(
            SttProcessor(settings.stt_address or started["stt"], settings.stt_language)
        )
        if settings.stt_address:
            background.append(tasks.create_task(self._watch_stt()))
        self._tts = TtsProcessor(
            *(settings.tts_address or [started["tts"]]),
            default_voice=settings.tts_voice,
            credentials=credentials,
        )
        tts = await stack.enter_async_context(self._tts)
        background.append(tasks.create_task(self._follow_capacity(tts)))

        _mind_the_time()
        parts, entrance = Parts(vad, smart_turn, stt, self._llm, tts), Entrance(settings)
        http = HttpApi(settings, parts, self.admission, entrance)
        gateway = Gateway(settings, parts, self.admission, entrance, http, tls)
        with _listening("VOICE_PORT", settings.port):
            port = await self._calls.enter_async_context(gateway.serve())
        stack.push_async_exit(self._calls)
        if settings.keys_secret:
            background.append(tasks.create_task(follow_keys(settings, gateway.take_keys, self._llm.take_keys)))
        scheme: Literal["ws", "wss"] = "wss" if tls else "ws"
        path = CALL_PATHS[0]
        self.websocket = f"{scheme}://{_in_url(settings.host)}:{port}{path}"
        self.talk = TalkPage(
            entrance, scheme, port, path, lambda: tts.voices, settings.effective_speculation, settings.needs_auth
        )
        self._parts["gateway"] = PartState(True, f"port {port}")  # ready only now: before, callers would be refused
        log.info("node_serving", websocket=self.websocket, http=self.http, talk=f"{self.http}{TALK_PATH}")
        background.append(tasks.create_task(self._llm.warm_up_again(_WARM_AGAIN_SECONDS)))
        background.append(tasks.create_task(self._record_lines(tts, stt.languages)))

    async def drain(self) -> None:
        """Take no more calls, and wait for those in progress as long as the settings allow."""
        self.start_draining("sigterm")
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self.admission.all_ended()
        except TimeoutError:
            await self.cut_calls()

    def start_draining(self, reason: str) -> None:
        """Take no more calls."""
        log.info("node_draining", reason=reason, sessions=self.admission.active)
        self.deregistered = reason == "terminating"  # the group tells its load balancer itself
        seconds = self._settings.drain_seconds
        if reason == "spot_interruption":
            seconds = min(seconds, _SPOT_SECONDS)
        self.admission.start_draining(time.monotonic() + seconds)

    async def cut_calls(self) -> None:
        """Close every call there still is with 1001 (going away), and the port."""
        log.warning("node_drain_timed_out", sessions=self.admission.active)
        metrics.drain_cut_calls.inc(self.admission.active)
        self._parts["gateway"] = PartState(False, "closed")
        await self._calls.aclose()

    async def try_voice(self) -> None:
        """Speak a word to nobody. Raises `TtsError` if there is no audio."""
        assert self._tts, "the node runs"
        async with aclosing(self._tts.synthesize("Hello.")) as chunks:
            if not [chunk async for chunk in chunks]:
                raise TtsError("unavailable", "the voice is silent")

    async def _start_vad(self, tasks: asyncio.TaskGroup, background: list[asyncio.Task[None]]) -> VadProcessor:
        name, file = _VAD_MODEL
        folder = await asyncio.to_thread(self._store.verified, name)
        vad = await asyncio.to_thread(VadProcessor, folder / file)
        background.append(tasks.create_task(vad.run()))
        self._parts["vad"] = PartState(True, name)
        return vad

    async def _start_smart_turn(self, stack: AsyncExitStack) -> SmartTurnProcessor:
        name, file = _SMART_TURN_MODEL
        folder = await asyncio.to_thread(self._store.verified, name)
        smart_turn = await asyncio.to_thread(SmartTurnProcessor, folder / file)
        stack.callback(smart_turn.close)
        self._parts["smart_turn"] = PartState(True, name)
        return smart_turn

    async def _start_llm(self, stack: AsyncExitStack) -> LlmProcessor:
        llm = await asyncio.to_thread(LlmProcessor.from_settings, self._settings, self._store.verified)
        stack.push_async_callback(llm.close)
        try:
            await llm.warm_up()
        except LlmError as error:
            # A wrong model or key does not mend by itself, and whoever starts a node by hand is told at once. A group
            # would replace a node that ends by the next one that ends, for ever; and rights may be given meanwhile.
            if not error.retryable and not self._settings.fleet_group:
                raise
            log.warning("llm_not_warm", failure=error.failure, error=str(error))
        return llm

    async def _record_lines(self, tts: TtsProcessor, languages: Collection[str] | None) -> None:
        """Have all lines spoken that callers hear where model or voice fail, before either does.

        Calls need not wait for it: until a line is recorded the voice says it when it is needed.
        """
        lines = SpokenLines.of(self._settings.stt_language, self._settings.spoken_lines)
        for text in lines.for_callers(languages):
            while tts.recorded(text) is None:
                try:
                    await tts.record(text)
                except TtsError as error:
                    log.warning("line_not_recorded", failure=error.failure)
                    await asyncio.sleep(_RECORD_AGAIN_SECONDS)

    async def _watch_stt(self) -> None:
        """A worker that something else runs: only its health is ours to know."""
        async for serving in watch_health(self._settings.stt_address):
            self._parts["stt"] = PartState(serving, self._settings.stt_address)

    async def _follow_capacity(self, tts: TtsProcessor) -> None:
        """Take no more calls than can be answered aloud. Looks whenever a worker was checked: every few seconds."""
        most, share = self._settings.max_sessions, TalkShare()
        while True:
            share.observe(time.monotonic(), self.admission.active, tts.spoken_seconds)
            metrics.agent_talk_ratio.set(share.ratio)
            streams = tts.pool.balancer.capacity
            limit = most if streams is None else min(most, calls_for(streams, share.ratio))
            if limit != self.admission.limit:
                log.info("capacity_changed", sessions=limit, streams=streams, agents_talk=share.ratio)
                self.admission.resize(limit)
            await tts.pool.changed.wait()


def _pool_state(workers: Mapping[str, bool]) -> PartState:
    """A part with workers of which one is enough; the detail names those that are not serving."""
    lost = [address for address, serving in workers.items() if not serving]
    detail = ", ".join(workers) if not lost else f"{len(lost)} of {len(workers)} not serving: {', '.join(lost)}"
    return PartState(len(lost) < len(workers), detail)


@contextmanager
def _listening(setting: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotListen(f"{setting}: got {port}, which can't be listened on ({error.strerror})") from None


def _mind_the_time() -> None:
    """Set Python up for frames that leave on time."""
    # A thread that comes back from the models waits at most this long for Python's lock, and its call with it.
    sys.setswitchinterval(0.0005)
    # Or each full collection would look at all that start-up made, for 65 ms in which no frame leaves.
    gc.collect()
    gc.freeze()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
