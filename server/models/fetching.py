"""The files that a model lacks, from its sources into their places: source by source, several files at once.

Each file is checked before it gets its name. Who calls holds the model's lock, so that nobody else does the same.
"""

import functools
import os
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog

from server.models.cancellation import Cancellation, run_together
from server.models.catalogue import Model, ModelFile
from server.models.content import content, expected
from server.models.errors import ModelUnavailable, SourceFailed, WrongContent
from server.models.sources import Report, Source

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A model's `folder`, the `scratch` folder for what is under way, and the pool in which files are hashed."""

    model: Model
    folder: Path
    scratch: Path
    hashing: Executor
    report: Report
    cancellation: Cancellation

    def run(self, files: Sequence[ModelFile], sources: Iterable[Source]) -> None:
        """Fetch `files`. Raises `ModelUnavailable`, `Cancelled`, and OSError for the local disk."""
        self.scratch.mkdir(exist_ok=True)
        wanted, failures = list(files), []
        for source in sources:
            wanted, reasons = self._from(source, wanted)
            failures += [f"{source.name}: {reason}" for reason in dict.fromkeys(reasons)]
            if not wanted:
                break
        if wanted:
            raise ModelUnavailable(self.model.name, failures)
        shutil.rmtree(self.scratch)

    def _from(self, source: Source, wanted: Sequence[ModelFile]) -> tuple[list[ModelFile], list[str]]:
        """What of `wanted` the source did not give, and why."""
        fetched: list[ModelFile] = []
        reasons: list[str] = []

        def fetch(file: ModelFile, cancellation: Cancellation) -> None:
            if reasons:  # who has failed is asked for nothing more, but what is under way may arrive
                return
            try:
                self._fetch(file, source, cancellation)
                fetched.append(file)
            except SourceFailed as failure:
                log.info("model_source_failed", model=self.model.name, source=source.name, reason=str(failure))
                reasons.append(str(failure))

        with ThreadPoolExecutor(source.files_at_once) as pool:
            run_together(pool, [functools.partial(fetch, file) for file in wanted], self.cancellation)
        return [file for file in wanted if file not in fetched], reasons

    def _fetch(self, file: ModelFile, source: Source, cancellation: Cancellation) -> None:
        """One file from one source into its place. Bytes that are wrong after a resumed try are fetched afresh once."""
        # What is left over of an earlier try is then of the same content; and no other file of the model has its name.
        fetched = self.scratch / f"{quote(file.path, safe='')}.{file.sha256}"
        while True:
            resumes = bool(source.leftovers(fetched))
            try:
                source.fetch(file, fetched, self.report, cancellation)
                self._check(fetched, file)
                break
            except WrongContent:
                for path in source.leftovers(fetched):
                    path.unlink()
                if not resumes:
                    raise
        target = self.folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with fetched.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(fetched, target)

    def _check(self, path: Path, file: ModelFile) -> None:
        if (found := self.hashing.submit(content, path, file).result()) != expected(file):
            raise WrongContent(file.path, found, expected(file))
