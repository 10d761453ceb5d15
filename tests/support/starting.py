"""The program in a process of its own that has not served yet, for tests that end it before it does."""

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

_SECONDS = 30.0  # for what takes a few: two cores are shared with everything else that runs


@dataclass(slots=True)
class Starting:
    """A process, and what it wrote so far. Whatever it has started bears its `mark`."""

    process: "subprocess.Popen[str]"
    mark: str
    lines: list[str] = field(default_factory=list)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` holds. Fails with what was written if the process ends first."""
        deadline = time.monotonic() + _SECONDS
        while not condition():
            assert self.process.poll() is None, "".join(self.lines)
            assert time.monotonic() < deadline, "".join(self.lines)
            time.sleep(0.02)

    def until_said(self, words: str) -> None:
        """Wait for a line with these words."""
        self.until(lambda: any(words in line for line in list(self.lines)))

    def ended_by(self, *signals: Signals, within: float) -> int:
        """Send the signals, wait for the end, and give the exit status; nothing that it started may be left then."""
        for signum in signals:
            self.process.send_signal(signum)
        status = self.process.wait(within)
        deadline = time.monotonic() + 1.0
        while left := self.commands():  # a worker that the kernel ends with its parent takes a moment
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.02)
        return status

    def commands(self) -> list[str]:
        """The command line of each process that runs, its own first."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_text("utf-8").replace("\0", " "))
            except OSError:
                continue  # it has ended meanwhile
        return found


@contextmanager
def starting(*arguments: str, **variables: str) -> Iterator[Starting]:
    """Start `voicefleet` with these arguments and variables; it is killed when the block ends, if it has not ended."""
    mark = f"VOICEFLEET_TEST={uuid.uuid4()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "server.main", *arguments],
        env=os.environ | variables | dict([mark.split("=")]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    started = Starting(process, mark)
    assert process.stdout
    reader = threading.Thread(target=started.lines.extend, args=(process.stdout,))
    reader.start()
    try:
        yield started
    finally:
        process.kill()
        process.wait()
        reader.join(_SECONDS)
        process.stdout.close()
