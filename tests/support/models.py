"""A small model, a store that knows only it, and the hub that has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from server.models.cancellation import Cancellation
from server.models.catalogue import Hub, Model, ModelFile, Wheels
from server.models.store import ModelStore
from tests.support.file_server import FileServer, serving

WEIGHTS = bytes(range(256)) * 1200  # 307,200 bytes, a few chunks
CONFIG = b'{"layers": 4}'
REVISION = "a" * 40
HUB = Hub(repo="owner/voice", revision=REVISION)
HUB_WEIGHTS = f"/owner/voice/resolve/{REVISION}/model.bin"
HUB_CONFIG = f"/owner/voice/resolve/{REVISION}/config.json"


def file(path: str, content: bytes) -> ModelFile:
    """A catalogue entry for that content."""
    return ModelFile(path=path, size=len(content), sha256=sha256(content).hexdigest())


def model(*sources: Hub | Wheels, files: tuple[ModelFile, ...] = (file("model.bin", WEIGHTS),)) -> Model:
    """A model called voice, by default of one file."""
    return Model(name="voice", purpose="tests", licence="MIT", files=files, sources=sources)


def store_of(tmp_path: Path, entry: Model, *, local: Path | None = None, s3: str = "") -> ModelStore:
    """A store in `tmp_path` that knows this one model."""
    return ModelStore(tmp_path / "models", local=local, s3=s3, catalogue={entry.name: entry})


@contextmanager
def serving_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A model hub that has the files of `HUB`."""
    with serving(FileServer({HUB_WEIGHTS: WEIGHTS, HUB_CONFIG: CONFIG})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def record_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, in seconds; from now on nobody waits for them."""
    waited: list[float] = []
    monkeypatch.setattr(Cancellation, "pause", lambda _, seconds: waited.append(seconds))
    return waited
