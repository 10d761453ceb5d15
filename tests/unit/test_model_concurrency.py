"""Several files at once, and several ranges of a large one: over connections that break, from sources that fail."""

import random
import resource
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from server.models.catalogue import Model
from server.models.download import CHUNK_BYTES
from server.models.errors import ModelUnavailable, StoreUnusable
from server.models.partial import PartialFile
from server.models.ranges import ranges_of
from server.models.store import ModelStore
from tests.support.file_server import Crowd, Drop, FileServer, Hold, serving
from tests.support.models import (
    CONFIG,
    HUB,
    HUB_CONFIG,
    HUB_WEIGHTS,
    REVISION,
    file,
    model,
    record_waits,
    serving_hub,
    store_of,
)

LARGE = random.Random(0).randbytes((36 << 20) + 123)
RANGES = ranges_of(len(LARGE))
ASKED = [f"bytes={one.start}-{(one.end or 0) - 1}" for one in RANGES]
FIRST, SECOND, THIRD, LAST = ASKED
ENTRY = model(HUB, files=(file("model.bin", LARGE),))
IN_S3 = "/bucket/voice/model.bin"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving_hub(monkeypatch) as server:
        server.files[HUB_WEIGHTS] = LARGE
        yield server


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving(FileServer({IN_S3: LARGE, "/bucket/voice/config.json": CONFIG})) as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


@dataclass
class Place:
    """A server that has the large file under `path`, and a store that asks it alone."""

    server: FileServer
    path: str
    store: ModelStore

    def pulled(self) -> bytes:
        return (self.store.pull("voice") / "model.bin").read_bytes()


@pytest.fixture(params=["hub", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    server = request.getfixturevalue(request.param)
    if request.param == "hub":
        return Place(server, HUB_WEIGHTS, store_of(tmp_path, ENTRY))
    return Place(server, IN_S3, store_of(tmp_path, model(files=ENTRY.files), s3="s3://bucket"))


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return record_waits(monkeypatch)


# --- at once


def test_the_ranges_of_a_large_file_come_over_several_connections_at_once(place: Place) -> None:
    place.server.gate = Crowd(3, free=1)

    assert place.pulled() == LARGE
    asked = place.server.ranges_asked()
    assert asked[0] == FIRST
    assert sorted(map(str, asked)) == sorted(ASKED)
    etag = f'"{sha256(LARGE).hexdigest()}"'
    condition = "if-range" if place.path == HUB_WEIGHTS else "if-match"
    assert [request.headers.get(condition) for request in place.server.requests] == [None, etag, etag, etag]


def test_several_files_are_fetched_at_once(tmp_path: Path, hub: FileServer) -> None:
    contents = {name: name.encode() * 100 for name in ("a", "b", "c", "d")}
    hub.files = {f"/owner/voice/resolve/{REVISION}/{name}": content for name, content in contents.items()}
    hub.gate = Crowd(len(contents))

    folder = store_of(tmp_path, model(HUB, files=tuple(file(*item) for item in contents.items()))).pull("voice")

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents


def test_several_models_are_fetched_at_once_and_one_that_fails_stops_no_other(tmp_path: Path, s3: FileServer) -> None:
    names = ("one", "two", "three")
    catalogue = {name: Model(name, "", "", (file("w", name.encode()),), ()) for name in names}
    s3.files = {f"/bucket/{name}/w": name.encode() for name in names[:2]}
    s3.gate = Crowd(len(names))

    failures = ModelStore(tmp_path, s3="s3://bucket", catalogue=catalogue).pull_all([*names, "one"])

    assert list(failures) == ["three"]
    assert "404" in str(failures["three"])
    assert [(tmp_path / name / "w").read_bytes() for name in names[:2]] == [b"one", b"two"]


def test_files_of_the_same_content_do_not_meet(tmp_path: Path, hub: FileServer) -> None:
    paths = ("a/config.json", "b/config.json")
    hub.files = {f"/owner/voice/resolve/{REVISION}/{path}": CONFIG for path in paths}
    hub.gate = Crowd(2)

    folder = store_of(tmp_path, model(HUB, files=tuple(file(path, CONFIG) for path in paths))).pull("voice")

    assert [(folder / path).read_bytes() for path in paths] == [CONFIG, CONFIG]


def test_progress_is_told_by_one_thread_at_a_time_and_never_goes_back(
    tmp_path: Path, hub: FileServer, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-6)  # whatever two threads can do at once, they now do
    contents = {f"{number}.bin": LARGE[number << 21 : number + 1 << 21] for number in range(4)}
    contents["model.bin"] = LARGE
    hub.files = {f"/owner/voice/resolve/{REVISION}/{path}": content for path, content in contents.items()}
    hub.gate = Crowd(len(contents))
    told: dict[str, list[int]] = {}
    telling = threading.Lock()

    def report(label: str, done: int, total: int | None) -> None:
        assert telling.acquire(blocking=False)
        for _ in range(20_000):  # time enough for another to come in
            pass
        told.setdefault(label, []).append(done)
        telling.release()

    store_of(tmp_path, model(HUB, files=tuple(file(*item) for item in contents.items()))).pull("voice", report)

    assert {label: done[-1] for label, done in told.items()} == {
        f"voice/{path}": len(content) for path, content in contents.items()
    }
    assert all(done == sorted(done) for done in told.values())


def test_a_real_s3_server_gives_the_ranges_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        client.put_object(Bucket="models", Key="voice/model.bin", Body=LARGE)

        folder = store_of(tmp_path, model(files=ENTRY.files), s3="s3://models").pull("voice")
    finally:
        server.stop()

    assert (folder / "model.bin").read_bytes() == LARGE


# --- interrupted


def test_a_connection_that_breaks_costs_only_the_rest_of_its_range(place: Place, waits: list[float]) -> None:
    place.server.range_faults = {SECOND: deque([Drop(500_000)])}

    assert place.pulled() == LARGE
    (resumed,) = set(place.server.ranges_asked()) - set(ASKED)
    start, end = map(int, str(resumed).removeprefix("bytes=").split("-"))
    assert RANGES[1].start < start <= RANGES[1].start + 500_000
    assert end + 1 == RANGES[1].end
    assert len(place.server.requests) == len(RANGES) + 1
    assert waits == [0.0]


def test_an_overloaded_server_is_asked_again_for_the_range_that_it_refused(tmp_path: Path, hub: FileServer) -> None:
    hub.range_faults = {THIRD: deque([503, 429]), FIRST: deque([Drop(None)])}

    assert (store_of(tmp_path, ENTRY).pull("voice") / "model.bin").read_bytes() == LARGE
    assert len(hub.requests) == len(RANGES) + 3


PULL = f"""
import sys
from pathlib import Path
from server.models.catalogue import Hub, Model, ModelFile
from server.models.store import ModelStore
file = ModelFile(path="model.bin", size={len(LARGE)}, sha256="{sha256(LARGE).hexdigest()}")
hub = Hub(repo="owner/voice", revision="{REVISION}")
model = Model(name="voice", purpose="", licence="", files=(file,), sources=(hub,))
tell = lambda label, done, total: print(done, flush=True)
ModelStore(Path(sys.argv[1]), catalogue={{"voice": model}}).pull("voice", tell)
"""


def test_a_process_that_is_killed_leaves_what_has_arrived_to_the_next(tmp_path: Path, hub: FileServer) -> None:
    arrives = 2 * CHUNK_BYTES
    hold = Hold(arrives + 1, threading.Event())
    hub.range_faults = {LAST: deque([hold])}
    with subprocess.Popen(
        [sys.executable, "-c", PULL, str(tmp_path / "models")], stdout=subprocess.PIPE, text=True
    ) as pull:
        assert pull.stdout
        assert any(int(line) == RANGES[-1].start + arrives for line in pull.stdout if line.strip().isdigit())
        pull.send_signal(signal.SIGKILL)
    hold.until.set()
    hub.requests.clear()

    assert (store_of(tmp_path, ENTRY).pull("voice") / "model.bin").read_bytes() == LARGE
    (request,) = hub.requests
    assert request.headers["range"] == f"bytes={RANGES[-1].start + arrives}-{len(LARGE) - 1}"
    assert request.headers["if-range"] == f'"{sha256(LARGE).hexdigest()}"'


def partial_path(tmp_path: Path) -> Path:
    """Where the large file is made."""
    path = tmp_path / "models" / ".partial" / "voice" / f"model.bin.{sha256(LARGE).hexdigest()}"
    path.parent.mkdir(parents=True)
    return path


def test_what_had_arrived_but_was_not_yet_in_its_place_is_not_fetched_again(tmp_path: Path, hub: FileServer) -> None:
    partial_path(tmp_path).write_bytes(LARGE)

    assert (store_of(tmp_path, ENTRY).pull("voice") / "model.bin").read_bytes() == LARGE
    assert hub.requests == []


# --- other versions, other servers


class Replacing:
    """A gate at which the second request finds the file replaced."""

    def __init__(self, place: Place, by: bytes) -> None:
        self._place, self._by = place, by

    def wait(self, timeout: float) -> None:
        if len(self._place.server.requests) > 1:
            self._place.server.files[self._place.path] = self._by


def test_a_file_that_is_replaced_between_two_ranges_is_never_mixed(place: Place) -> None:
    place.server.files[place.path] = bytes(len(LARGE))
    place.server.gate = Replacing(place, LARGE)

    assert place.pulled() == LARGE
    # Nothing was hashed in vain: what had arrived of the old was known to be old.
    assert place.server.ranges_asked().count(FIRST) == 2
    assert max(place.server.ranges_asked().count(one) for one in ASKED) == 2


def test_where_mirrors_disagree_about_the_version_the_file_comes_in_one_stream(place: Place) -> None:
    place.server.mirrors = 2

    assert place.pulled() == LARGE
    assert place.server.ranges_asked()[-1] is None


def test_a_server_without_ranges_gives_the_file_in_one_stream(place: Place) -> None:
    place.server.ranges = False

    assert place.pulled() == LARGE
    assert place.server.ranges_asked()[-1] is None
    assert set(place.server.ranges_asked()) <= {FIRST, None}


def test_a_file_of_another_size_is_refused_at_the_first_answer(place: Place) -> None:
    for size in (len(LARGE) - 1, 0, len(LARGE) + 1):
        place.server.files[place.path] = LARGE[:size] if size < len(LARGE) else LARGE + b"!"
        found = f"more than {len(LARGE)}" if size > len(LARGE) else f"{size}"
        with pytest.raises(ModelUnavailable, match=rf"model\.bin has {found} bytes, expected {len(LARGE)}"):
            place.pulled()
        assert set(place.server.ranges_asked()) <= {FIRST, None}


# --- sources that fail


def test_the_next_source_goes_on_where_one_fails_midway(tmp_path: Path, s3: FileServer, hub: FileServer) -> None:
    entry = model(HUB, files=(file("model.bin", LARGE), file("config.json", CONFIG)))
    s3.range_faults = {THIRD: deque([403])}

    folder = store_of(tmp_path, entry, s3="s3://bucket").pull("voice")

    assert (folder / "model.bin").read_bytes() == LARGE
    assert (folder / "config.json").read_bytes() == CONFIG
    assert HUB_CONFIG not in [request.path for request in hub.requests]
    assert THIRD in hub.ranges_asked()
    assert FIRST not in hub.ranges_asked()  # it arrived from S3, and both have the same version


def test_of_another_version_the_next_source_gives_all(tmp_path: Path, s3: FileServer, hub: FileServer) -> None:
    s3.mirrors = 3
    s3.files[IN_S3] = bytes(len(LARGE))
    s3.faults = deque([None, 403, 403, 403])

    assert (store_of(tmp_path, ENTRY, s3="s3://bucket").pull("voice") / "model.bin").read_bytes() == LARGE
    assert set(ASKED) <= set(hub.ranges_asked())


def test_the_first_range_to_fail_ends_those_that_wait(place: Place, tmp_path: Path) -> None:
    holds = [Hold(100_000, threading.Event()) for _ in range(2)]
    place.server.gate = Crowd(3, free=1)
    place.server.range_faults = {SECOND: deque([403]), THIRD: deque([holds[0]]), LAST: deque([holds[1]])}

    with pytest.raises(ModelUnavailable, match="403"):
        place.pulled()

    assert [hold.in_vain for hold in holds] == [False, False]
    for hold in holds:
        hold.until.set()


def test_an_interrupt_ends_all_that_is_under_way(tmp_path: Path, hub: FileServer) -> None:
    hold = Hold(2 * CHUNK_BYTES, threading.Event())
    hub.range_faults = {LAST: deque([hold])}

    def interrupt(label: str, done: int, total: int | None) -> None:
        if done > RANGES[-1].start:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_of(tmp_path, ENTRY).pull("voice", interrupt)

    assert not hold.in_vain
    hold.until.set()


@pytest.mark.parametrize("resumed", [True, False])
def test_wrong_bytes_are_fetched_afresh_where_they_may_be_of_an_earlier_try(
    tmp_path: Path, hub: FileServer, resumed: bool
) -> None:
    if resumed:
        hub.etags = False  # or the server would say that they are of another version
        with PartialFile(partial_path(tmp_path), RANGES) as begun:
            begun.start("")
            begun.write(RANGES[1], bytes(16 << 20))
        assert (store_of(tmp_path, ENTRY).pull("voice") / "model.bin").read_bytes() == LARGE
        assert sorted(map(str, hub.ranges_asked())) == sorted([FIRST, THIRD, LAST, *ASKED])
    else:
        hub.files[HUB_WEIGHTS] = bytes(len(LARGE))
        with pytest.raises(ModelUnavailable, match="SHA-256"):
            store_of(tmp_path, ENTRY).pull("voice")
        assert sorted(map(str, hub.ranges_asked())) == sorted(ASKED)


def test_a_disk_that_runs_full_under_one_of_the_ranges_is_a_typed_error(place: Place, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, hard))
    try:
        with pytest.raises(StoreUnusable, match="File too large"):
            place.pulled()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert not (tmp_path / "models" / "voice").exists()
    place.server.requests.clear()
    assert place.pulled() == LARGE
    assert FIRST not in place.server.ranges_asked()  # what had arrived is still there
