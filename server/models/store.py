"""The folder that holds a node's models: fetches what is missing, hands out only what matches its hash.

Nothing is ever seen half-written: files are made in `.partial/`, checked, and renamed into place; one process at a
time does so for a model. It loads no model and shows no progress; callers do.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Self

import structlog
from filelock import FileLock

from server.models.catalogue import Catalogue, Model, ModelFile, is_folder, load_catalogue
from server.models.errors import (
    ModelCorrupt,
    ModelMissing,
    ModelUnavailable,
    SourceFailed,
    StoreUnusable,
    UnknownModel,
    WrongContent,
)
from server.models.sources import Report, Source, sources_of
from server.settings import Settings

log = structlog.get_logger(__name__)


class State(StrEnum):
    """How a model stands in the store."""

    READY = "ready"
    MISSING = "missing"
    CORRUPT = "corrupt"


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
            raise ModelCorrupt(name, file.path, found, _expected(file))
        return self._directory / name

    def pull(self, name: str, report: Report = _report_nothing) -> Path:
        """Fetch what the model lacks and return its folder; quick when nothing is to be done.

        Raises `UnknownModel`, `ModelUnavailable` when every source failed, or `StoreUnusable`.
        """
        model = self.model(name)
        partial = self._directory / ".partial"
        if self._faults(model):
            try:
                partial.mkdir(parents=True, exist_ok=True)
                with FileLock(partial / f"{name}.lock"):
                    # Another process may have fetched it while this one waited.
                    if faults := self._faults(model):
                        self._fetch(model, [file for file, _ in faults], partial / name, report)
            except OSError as error:
                raise StoreUnusable(self._directory, error) from error
        return self._directory / name

    def _faults(self, model: Model) -> list[tuple[ModelFile, str]]:
        """The files that are not as the catalogue has them, each with what was found instead: "" for nothing."""
        found = [(file, _content(self._directory / model.name / file.path, file)) for file in model.files]
        return [(file, content) for file, content in found if content != _expected(file)]

    def _fetch(self, model: Model, files: Sequence[ModelFile], scratch: Path, report: Report) -> None:
        wanted, failures = list(files), []
        for source in sources_of(model, local=self._local, s3=self._s3, scratch=scratch):
            try:
                while wanted:
                    self._fetch_file(model, wanted[0], source, scratch, report)
                    wanted.pop(0)
                break
            except SourceFailed as failure:
                log.info("model_source_failed", model=model.name, source=source.name, reason=str(failure))
                failures.append(f"{source.name}: {failure}")
        if wanted:
            raise ModelUnavailable(model.name, failures)
        shutil.rmtree(scratch)

    def _fetch_file(self, model: Model, file: ModelFile, source: Source, scratch: Path, report: Report) -> None:
        """One file from one source into its place. Bytes that are wrong after a resumed try are fetched afresh once."""
        fetched = scratch / file.sha256  # what is left over of an earlier try is then of the same content
        while True:
            scratch.mkdir(exist_ok=True)
            resumes = any(scratch.iterdir())
            try:
                _fetch_checked(file, source, fetched, report)
                break
            except WrongContent:
                shutil.rmtree(scratch)
                if not resumes:
                    raise
        target = self._directory / model.name / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with fetched.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(fetched, target)


def _fetch_checked(file: ModelFile, source: Source, target: Path, report: Report) -> None:
    source.fetch(file, target, report)
    if (found := _content(target, file)) != _expected(file):
        raise WrongContent(file.path, found, _expected(file))


def _expected(file: ModelFile) -> str:
    return f"SHA-256 {file.sha256}"


def _content(path: Path, file: ModelFile) -> str:
    """What `path` holds, in the words of `_expected`; "" for nothing. A wrong size tells without hashing."""
    try:
        with path.open("rb") as opened:
            if (size := os.fstat(opened.fileno()).st_size) != file.size:
                return f"{size} bytes, not {file.size}"
            return f"SHA-256 {hashlib.file_digest(opened, 'sha256').hexdigest()}"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"no readable content ({error.strerror})"
