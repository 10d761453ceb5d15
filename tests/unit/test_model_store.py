"""The model store: what it hands out, which source it takes, disks and other processes."""

import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from server.models.catalogue import Model
from server.models.errors import DiskTooFull, ModelCorrupt, ModelMissing, ModelUnavailable, StoreUnusable, UnknownModel
from server.models.store import ModelStore, State
from tests.support.file_server import FileServer
from tests.support.models import (
    CONFIG,
    HUB,
    HUB_CONFIG,
    HUB_WEIGHTS,
    REVISION,
    WEIGHTS,
    file,
    model,
    serving_hub,
    store_of,
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving_hub(monkeypatch) as server:
        yield server


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror" / "voice"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(WEIGHTS)
    return folder.parent


# --- what may be loaded


def test_a_pulled_model_is_ready_and_verified(tmp_path: Path, local: Path) -> None:
    store = store_of(tmp_path, model(), local=local)

    assert store.status("voice") is State.MISSING
    folder = store.pull("voice")

    assert folder == tmp_path / "models" / "voice"
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert store.status("voice") is State.READY
    assert store.verified("voice") == folder


def test_a_missing_model_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"lacks model\.bin; `voicefleet models pull voice`"):
        store_of(tmp_path, model()).verified("voice")


def test_a_corrupt_file_is_never_handed_out_and_is_fetched_again(tmp_path: Path, local: Path) -> None:
    store = store_of(tmp_path, model(), local=local)
    weights = store.pull("voice") / "model.bin"
    weights.write_bytes(b"\xff" + WEIGHTS[1:])

    assert store.status("voice") is State.CORRUPT
    with pytest.raises(ModelCorrupt) as caught:
        store.verified("voice")
    for part in (
        "model.bin",
        sha256(WEIGHTS).hexdigest(),
        sha256(weights.read_bytes()).hexdigest(),
        "models pull voice",
    ):
        assert part in str(caught.value)

    store.pull("voice")
    assert store.verified("voice")


def test_a_truncated_file_is_fetched_again(tmp_path: Path, local: Path) -> None:
    store = store_of(tmp_path, model(), local=local)
    weights = store.pull("voice") / "model.bin"
    os.truncate(weights, 1000)

    with pytest.raises(ModelCorrupt, match=f"1000 bytes, not {len(WEIGHTS)}"):
        store.verified("voice")
    store.pull("voice")
    assert weights.read_bytes() == WEIGHTS


def test_a_complete_model_needs_no_source_and_no_writable_folder(tmp_path: Path, local: Path) -> None:
    store_of(tmp_path, model(), local=local).pull("voice")
    shutil.rmtree(tmp_path / "models" / ".partial")

    assert store_of(tmp_path, model()).pull("voice").is_dir()
    assert not (tmp_path / "models" / ".partial").exists()


def test_a_folder_of_the_users_own_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path, model())
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))

    assert store.verified(str(own)) == own
    assert store.verified("~/own") == own
    with pytest.raises(UnknownModel, match="takes one of voice"):
        store.verified(str(tmp_path / "nowhere"))
    with pytest.raises(UnknownModel, match="takes one of voice"):
        store.pull("other")


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = ModelStore(Path("~/kept"), local=Path("~/mirror"), catalogue={"voice": model()})

    assert store.pull("voice") == tmp_path / "kept" / "voice"


# --- sources in order


def test_the_next_source_gives_what_an_earlier_one_lacks(tmp_path: Path, local: Path, hub: FileServer) -> None:
    entry = model(HUB, files=(file("model.bin", WEIGHTS), file("config.json", CONFIG)))

    folder = store_of(tmp_path, entry, local=local).pull("voice")

    assert (folder / "config.json").read_bytes() == CONFIG
    assert [request.path for request in hub.requests] == [HUB_CONFIG]


def test_wrong_bytes_are_deleted_and_the_next_source_is_tried(tmp_path: Path, local: Path, hub: FileServer) -> None:
    (local / "voice" / "model.bin").write_bytes(b"\0" * len(WEIGHTS))

    folder = store_of(tmp_path, model(HUB), local=local).pull("voice")

    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert [entry.name for entry in (tmp_path / "models" / ".partial").iterdir()] == ["voice.lock"]


def test_when_every_source_fails_each_reason_is_told(tmp_path: Path, local: Path, hub: FileServer) -> None:
    (local / "voice" / "model.bin").write_bytes(b"\0" * len(WEIGHTS))
    hub.files.clear()

    with pytest.raises(ModelUnavailable) as caught:
        store_of(tmp_path, model(HUB), local=local).pull("voice")

    message = str(caught.value)
    for part in (str(local), "model.bin", sha256(WEIGHTS).hexdigest(), sha256(b"\0" * len(WEIGHTS)).hexdigest()):
        assert part in message
    assert "hub owner/voice: HTTP status 404" in message
    assert not (tmp_path / "models" / "voice").exists()


@pytest.mark.parametrize("lengths", [True, False])
def test_an_endless_body_is_cut_off_at_the_size_of_the_file(tmp_path: Path, hub: FileServer, lengths: bool) -> None:
    hub.files[HUB_WEIGHTS] = WEIGHTS * 50
    hub.lengths = lengths
    reported: list[int] = []

    with pytest.raises(ModelUnavailable, match=f"more than {len(WEIGHTS)} bytes"):
        store_of(tmp_path, model(HUB)).pull("voice", lambda label, done, total: reported.append(done))
    assert max(reported, default=0) <= len(WEIGHTS)


def test_progress_tells_the_label_the_bytes_so_far_and_the_total(tmp_path: Path, hub: FileServer) -> None:
    reported: list[tuple[str, int, int | None]] = []

    def report(*progress: Any) -> None:
        reported.append(progress)
        assert not (tmp_path / "models" / "voice").exists()  # nothing half-written is ever seen

    store_of(tmp_path, model(HUB)).pull("voice", report)

    assert {(label, total) for label, _, total in reported} == {("voice/model.bin", len(WEIGHTS))}
    assert [done for _, done, _ in reported] == sorted({done for _, done, _ in reported})
    assert reported[-1][1] == len(WEIGHTS)


# --- the disk, and other processes


def test_a_folder_that_cannot_be_written_is_a_typed_error(tmp_path: Path, local: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")

    with pytest.raises(StoreUnusable, match="VOICE_MODEL_DIR names another folder"):
        store_of(tmp_path, model(), local=local).pull("voice")


def test_a_model_that_may_not_be_read_is_not_handed_out(tmp_path: Path, local: Path) -> None:
    store = store_of(tmp_path, model(), local=local)
    weights = store.pull("voice") / "model.bin"
    weights.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything, so be somebody else
        os.seteuid(65534)
    try:
        with pytest.raises(ModelCorrupt, match=r"no readable content \(Permission denied\)"):
            store.verified("voice")
    finally:
        os.seteuid(user)


def test_what_would_not_fit_is_refused_before_anything_is_fetched(tmp_path: Path, hub: FileServer) -> None:
    huge = structs.replace(file("model.bin", WEIGHTS), size=10**15)
    store = store_of(tmp_path / "not" / "there", model(HUB, files=(huge,)))

    says = r"there/models: .+ are free, and to fetch what is missing takes 1\.0 PB; make room there, .* VOICE_MODEL_DIR"
    with pytest.raises(DiskTooFull, match=says):
        store.pull("voice")
    with pytest.raises(DiskTooFull, match=says):
        store.pull_all(["voice"])
    assert hub.requests == []
    assert not (tmp_path / "not").exists()


def test_a_disk_that_runs_full_is_told_once_whatever_is_fetched(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    names = ("one", "two", "three")
    catalogue = {name: Model(name, "", "", (file("w", WEIGHTS),), ()) for name in names}
    for name in names:
        (tmp_path / "mirror" / name).mkdir(parents=True)
        (tmp_path / "mirror" / name / "w").write_bytes(WEIGHTS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreUnusable) as told:
            ModelStore(tmp_path / "models", local=tmp_path / "mirror", catalogue=catalogue).pull_all(names)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(told.value).count("VOICE_MODEL_DIR") == 1


def test_a_disk_that_runs_full_is_a_typed_error_and_leaves_no_model(tmp_path: Path, local: Path) -> None:
    """A limit on the size of files stands in for a full disk: the kernel refuses the write in the same way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreUnusable, match="File too large"):
            store_of(tmp_path, model(), local=local).pull("voice")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert store_of(tmp_path, model()).status("voice") is State.MISSING
    assert store_of(tmp_path, model(), local=local).pull("voice")


PULL = f"""
import sys
from pathlib import Path
from typing import Any
from server.models.catalogue import Hub, Model, ModelFile
from server.models.store import ModelStore
file = ModelFile(path="model.bin", size={len(WEIGHTS)}, sha256="{sha256(WEIGHTS).hexdigest()}")
hub = Hub(repo="owner/voice", revision="{REVISION}")
model = Model(name="voice", purpose="", licence="", files=(file,), sources=(hub,))
print("pulling", flush=True)
ModelStore(Path(sys.argv[1]), catalogue={{"voice": model}}).pull("voice")
"""


def test_two_processes_that_pull_at_once_download_once(tmp_path: Path, hub: FileServer) -> None:
    hub.gate = threading.Event()
    command = [sys.executable, "-c", PULL, str(tmp_path / "models")]
    pulls = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for pull in pulls:
        assert pull.stdout
        assert pull.stdout.readline() == "pulling\n"
    hub.gate.set()

    for pull in pulls:
        pull.communicate(timeout=60)
        assert pull.returncode == 0
    assert [request.path for request in hub.requests] == [HUB_WEIGHTS]
    assert (tmp_path / "models" / "voice" / "model.bin").read_bytes() == WEIGHTS
