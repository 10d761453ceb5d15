"""A reader who pastes the blocks of a page into a shell, one after the other, in a checkout of their own.

The checkout is a folder that has everything of this one, so that nothing is written here. What a block exports, and the
folder that it goes to, is still so in the next one. In a block only ports and placeholders (`i-...`) are replaced.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from tests.support import node_js
from tests.support.documents import REPOSITORY, Block

_SECONDS = 120.0
_STOP_SECONDS = 30.0
_KEEPS_STATE = """set -euo pipefail
cd "$(cat {folder})"
source {variables}
set -a
{{ {text}
}}
export -p > {variables}
pwd > {folder}
"""


class Failed(AssertionError):
    """A block ended with an error, or did not come up; the message holds it and all it wrote."""


class Reader:
    """Pastes blocks. `home` is an empty folder, `replaced` gives what stands in the documents what to take for it here.

    `programs` are shell scripts by their path in the checkout, or by a name for one that is found before any other. A
    page of `examples` is read in its folder, any other in that of the whole project; that one is `folder`.
    """

    def __init__(
        self,
        home: Path,
        variables: Mapping[str, str],
        replaced: Mapping[str, str],
        programs: Mapping[str, str] = MappingProxyType({}),
        page: Path = REPOSITORY / "README.md",
    ) -> None:
        checkout = home / "voicefleet"
        example = page.is_relative_to(REPOSITORY / "examples")
        self.folder = checkout / page.parent.relative_to(REPOSITORY) if example else checkout
        self.replaced = dict(replaced)
        self._written = home / "written"
        self._written.mkdir()
        self._state = {"variables": home / "variables", "folder": home / "folder"}
        self._serving: subprocess.Popen[str] | None = None
        _check_out(checkout)
        self._state["variables"].touch()
        self._state["folder"].write_text(str(self.folder), encoding="utf-8")
        (home / "bin").mkdir()
        (home / "bin" / "node").symlink_to(node_js.newest_node())
        for name, script in programs.items():
            file = checkout / name if "/" in name else home / "bin" / name
            file.unlink(missing_ok=True)
            file.write_text(script, encoding="utf-8")
            file.chmod(0o755)
        path = [home / "bin", Path(sys.executable).parent]
        own = {name: value for name, value in os.environ.items() if not name.startswith(("VOICE", "AWS_", "CDK_"))}
        self._environment = own | {"PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]), **variables}

    def paste(self, block: Block) -> str:
        """Do with a block what its comment says; gives what it wrote. Raises `Failed`."""
        kind, _, rest = block.note.partition(" ")
        match kind:
            case "file":
                (self.folder / rest).write_text(self._ours(block.text), encoding="utf-8")
                return ""
            case "until":
                return self._bring_up(block, rest)
        assert block.language == "sh", f"{block.name}: only a shell block can be run"
        process = self._started(block)
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._failed(block, "did not end") from None
        finally:
            _kill(process)
        if process.returncode:
            raise self._failed(block, f"ended with {process.returncode}")
        return self._output(block)

    def close(self) -> None:
        """Ctrl-C for what still runs."""
        if self._serving:
            process, self._serving = self._serving, None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(_STOP_SECONDS)
            finally:
                _kill(process)

    def _bring_up(self, block: Block, words: str) -> str:
        self.close()
        self._serving = process = self._started(block)
        deadline = time.monotonic() + _SECONDS
        while words not in self._output(block):
            if process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise self._failed(block, f"never wrote {words!r}")
            time.sleep(0.05)
        return self._output(block)

    def _started(self, block: Block) -> "subprocess.Popen[str]":
        script = _KEEPS_STATE.format(
            text=self._ours(block.text),
            **{name: shlex.quote(str(path)) for name, path in self._state.items()},
        )
        with self._file(block).open("w", encoding="utf-8") as output:
            return subprocess.Popen(
                ["bash", "-c", script],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # so that Ctrl-C reaches all of it and nothing else
            )

    def _output(self, block: Block) -> str:
        return self._file(block).read_text(encoding="utf-8")

    def _file(self, block: Block) -> Path:
        return self._written / str(block.line)

    def _failed(self, block: Block, how: str) -> Failed:
        return Failed(f"{block.name} {how}:\n{block.text}\n{self._output(block)}")

    def _ours(self, text: str) -> str:
        for documented, ours in self.replaced.items():
            text = text.replace(documented, ours)
        return text


def _check_out(folder: Path) -> None:
    """All of this checkout: links, but copies of what a block or a test may write to."""
    folder.mkdir()
    without = shutil.ignore_patterns("node_modules", "dist", "__pycache__")
    for entry in REPOSITORY.iterdir():
        if entry.name in {"examples", "infra"}:
            shutil.copytree(entry, folder / entry.name, ignore=without)
        elif entry.name == "cdk.json":
            shutil.copy(entry, folder)
        elif not entry.name.endswith("_cache") and entry.name != "cdk.out":
            (folder / entry.name).symlink_to(entry)
    programs = Path("infra", "node_modules", ".bin")
    (folder / programs).mkdir(parents=True)
    (folder / programs / "cdk").symlink_to(REPOSITORY / programs / "cdk")


def _kill(process: "subprocess.Popen[str]") -> None:
    """What the block left in the background, too."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
