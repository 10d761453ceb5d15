"""Keeps worker processes running: starts them, watches their exit and their health, starts them again.

It decides nothing itself; `Watch` does. A worker it started ends with it.
"""

import asyncio
import os
import re
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from server.errors import VoicefleetError, first_of
from server.observability import metrics
from server.workers.client import is_serving, open_channel
from server.workers.commands import WorkerCommand
from server.workers.restarts import STARTS_FAILED, Watch, WorkerState
from server.workers.serving import REFUSES

_STDERR = 2
_NOT_STARTED = 127  # as a shell says of a program that it can't start
_CHECK_SECONDS = 1.0
_CHECK_SECONDS_AT_START = 0.1
_CHECK_TIMEOUT = 1.5
_STOP_SECONDS = 8.0  # a worker gives its calls 5
_KEPT_CHARACTERS = 2000  # of what it said last

log = structlog.get_logger(__name__)


class WorkerFailed(VoicefleetError):
    """A worker refused to start, or ended again and again before it ever served."""

    def __init__(self, name: str, exit_code: int, last_words: str) -> None:
        said = f"; it last said: {last_words}" if last_words else ""
        ends = f"it ended {STARTS_FAILED} times, with exit code {exit_code}{said}"
        super().__init__(f"the {name} worker can't start: {last_words if exit_code == REFUSES else ends}")


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """How a worker stands: its process id while it has one, how often it was started again, and why it last ended."""

    state: WorkerState
    pid: int | None
    restarts: int
    last_end: str


class Supervisor:
    """Runs `workers` for as long as `run()` runs."""

    def __init__(self, workers: Sequence[WorkerCommand]) -> None:
        self._workers = [_Worker(command) for command in workers]

    async def run(self) -> None:
        """Until cancelled, which stops them all. Raises `WorkerFailed`."""
        with first_of(WorkerFailed):
            async with asyncio.TaskGroup() as tasks:
                for worker in self._workers:
                    tasks.create_task(worker.run())

    async def wait_ready(self) -> None:
        """Until every worker has served. Belongs in the task group of `run()`, whose failure then ends it."""
        for worker in self._workers:
            await worker.served.wait()

    def status(self) -> dict[str, WorkerStatus]:
        """How each worker stands, by its name."""
        return {worker.command.name: worker.status() for worker in self._workers}


class _Worker:
    """One worker: its process, one after the other."""

    def __init__(self, command: WorkerCommand) -> None:
        self.command = command
        self.served = asyncio.Event()
        self._watch = Watch()
        self._process: Process | None = None
        self._said = ""
        self._last_end = ""
        self._log = log.bind(worker=command.name)

    def status(self) -> WorkerStatus:
        pid = self._process.pid if self._process else None
        return WorkerStatus(self._watch.state, pid, self._watch.restarts, self._last_end)

    async def run(self) -> None:
        while True:
            exit_code = await self._run_process()
            delay = self._watch.ended(time.monotonic(), refuses=exit_code == REFUSES)
            last_words = self._last_words()
            self._last_end = f"exit code {exit_code}" + (f": {last_words}" if last_words else "")
            self._log.warning("worker_ended", exit_code=exit_code, restart_in=delay, last_words=last_words)
            if delay is None:
                raise WorkerFailed(self.command.name, exit_code, last_words)
            metrics.worker_restarts.labels(self.command.name).inc()
            await asyncio.sleep(delay)

    async def _run_process(self) -> int:
        """Run the process to its end, or stop it if cancelled; gives its exit code."""
        self._said = ""
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *self.command.argv,
                *("--parent", str(os.getpid())),
                env=self.command.environment,
                stdin=DEVNULL,
                stderr=PIPE,
                start_new_session=True,  # Ctrl-C is for the gateway alone, which lets calls finish first
            )
        except OSError as error:  # no memory, or too many processes
            self._said = str(error)
            return _NOT_STARTED
        metrics.worker_pids[self.command.name] = process.pid
        self._watch.started(time.monotonic())
        self._log.info("worker_started", pid=process.pid)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._relay(process))
                checking = tasks.create_task(self._check(process))
                exit_code = await process.wait()
                checking.cancel()
        except asyncio.CancelledError:
            await _stop(process)
            self._watch.stopped()
            raise
        finally:
            self._process = None
            metrics.worker_pids.pop(self.command.name, None)
            metrics.worker_up.labels(self.command.name).set(0)
        return exit_code

    async def _check(self, process: Process) -> None:
        async with open_channel(self.command.address) as channel:
            while True:
                next_check = time.monotonic() + (_CHECK_SECONDS if self.served.is_set() else _CHECK_SECONDS_AT_START)
                serving = await is_serving(channel, _CHECK_TIMEOUT)
                if self._watch.checked(serving, time.monotonic()):
                    self._log.error("worker_killed", pid=process.pid, state=self._watch.state)
                    _kill(process)
                if serving:
                    self.served.set()
                metrics.worker_up.labels(self.command.name).set(serving)
                await asyncio.sleep(max(0.0, next_check - time.monotonic()))

    async def _relay(self, process: Process) -> None:
        """Pass on what it logs, and keep the end of it for the day it dies."""
        assert process.stderr
        while said := await process.stderr.read(65536):
            with suppress(OSError):  # the disk is full, or the reader of our log is gone
                await asyncio.to_thread(os.write, _STDERR, said)  # which may also be slow
            self._said = (self._said + said.decode(errors="replace"))[-_KEPT_CHARACTERS:]

    def _last_words(self) -> str:
        """The last line of words that is no log line: of a traceback, the error."""
        lines = [line for line in self._said.splitlines() if re.search(r"\w", line) and not line.startswith("{")]
        return lines[-1].strip(" |") if lines else ""


async def _stop(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        _kill(process)
        await process.wait()


def _kill(process: Process) -> None:
    # Not Process.kill, which looks first whether the process lives, and may so snatch its exit code from asyncio.
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
