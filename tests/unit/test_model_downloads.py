"""Downloads over HTTP that break, resume, meet proxies and company certificates."""

import ssl
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trustme

from server.models.cancellation import Cancellation
from server.models.download import Stream, download
from server.models.errors import ModelUnavailable
from server.models.partial import PartialFile
from server.models.ranges import WHOLE
from tests.support.file_server import Drop, FileServer, serving
from tests.support.models import HUB, HUB_WEIGHTS, WEIGHTS, file, model, record_waits, serving_hub, store_of


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving_hub(monkeypatch) as server:
        yield server


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return record_waits(monkeypatch)


def test_a_dropped_connection_is_resumed_where_it_broke(tmp_path: Path, hub: FileServer, waits: list[float]) -> None:
    hub.faults = deque([Drop(200_000), Drop(50_000)])

    folder = store_of(tmp_path, model(HUB)).pull("voice")

    assert (folder / "model.bin").read_bytes() == WEIGHTS
    first, second, third = hub.requests
    assert "range" not in first.headers
    starts = [int(request.headers["range"].removeprefix("bytes=").rstrip("-")) for request in (second, third)]
    assert 0 < starts[0] <= 200_000
    assert starts[0] < starts[1] <= 250_000
    assert second.headers["if-range"] == f'"{sha256(WEIGHTS).hexdigest()}"'
    assert waits == [0.0, 0.5]


def test_a_server_that_ignores_ranges_starts_again_cleanly(tmp_path: Path, hub: FileServer) -> None:
    hub.faults = deque([Drop(200_000)])
    hub.ranges = False

    folder = store_of(tmp_path, model(HUB)).pull("voice")

    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert len(hub.requests) == 2


def test_a_server_that_gives_less_than_was_asked_for_is_asked_for_the_rest(tmp_path: Path) -> None:
    offsets: list[int] = []

    class Stingy:
        @contextmanager
        def open(self, start: int, end: int | None, etag: str) -> Iterator[Stream]:
            offsets.append(start)
            given = WEIGHTS[start : start + 100_000]
            yield Stream(start, start + len(given), len(WEIGHTS), etag, iter([given]))

    with ThreadPoolExecutor(1) as connections:
        download(Stingy(), tmp_path / "model.bin", lambda done, total: None, connections, Cancellation())

    assert (tmp_path / "model.bin").read_bytes() == WEIGHTS
    assert offsets == [0, 100_000, 200_000, 300_000]
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_later_run_goes_on_where_an_earlier_one_stopped(tmp_path: Path, hub: FileServer) -> None:
    hub.faults = deque([Drop(200_000), 503, 503, 503, 503, 503])
    store = store_of(tmp_path, model(HUB))
    with pytest.raises(ModelUnavailable, match="HTTP status 503"):
        store.pull("voice")
    hub.requests.clear()

    folder = store.pull("voice")

    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert len(hub.requests) == 1
    assert hub.ranges_asked() != [None]


def test_a_long_file_may_break_off_more_often_than_a_short_one(tmp_path: Path, hub: FileServer) -> None:
    """A mebibyte between two breaks shows that the line works, so the count of tries starts anew."""
    long = WEIGHTS * 40
    hub.files[HUB_WEIGHTS] = long
    hub.faults = deque([Drop(1_200_000)] * 8)

    folder = store_of(tmp_path, model(HUB, files=(file("model.bin", long),))).pull("voice")

    assert (folder / "model.bin").read_bytes() == long
    assert len(hub.requests) == 9


def test_a_server_that_hangs_up_without_an_answer_is_asked_again(tmp_path: Path, hub: FileServer) -> None:
    hub.faults = deque([Drop(None), Drop(None)])

    assert store_of(tmp_path, model(HUB)).pull("voice")
    assert len(hub.requests) == 3


def test_an_overloaded_server_is_asked_again_after_growing_pauses(
    tmp_path: Path, hub: FileServer, waits: list[float]
) -> None:
    hub.faults = deque([503, 429, 500, 502])

    store_of(tmp_path, model(HUB)).pull("voice")

    assert waits == [0.0, 0.5, 1.0, 2.0]


def test_a_file_that_changed_on_the_server_is_fetched_from_its_start(tmp_path: Path, hub: FileServer) -> None:
    """The part that is left over has another ETag; nothing of it may end up in the file."""
    hub.files[HUB_WEIGHTS] = bytes(len(WEIGHTS))
    hub.faults = deque([Drop(200_000), 404])
    store = store_of(tmp_path, model(HUB))
    with pytest.raises(ModelUnavailable):
        store.pull("voice")
    hub.files[HUB_WEIGHTS] = WEIGHTS

    assert (store.pull("voice") / "model.bin").read_bytes() == WEIGHTS
    assert len(hub.requests) == 3


def test_a_stale_part_without_an_etag_is_thrown_away_and_the_file_fetched_afresh(
    tmp_path: Path, hub: FileServer
) -> None:
    hub.etags = False
    hub.files[HUB_WEIGHTS] = bytes(len(WEIGHTS))
    hub.faults = deque([Drop(200_000), 404])
    store = store_of(tmp_path, model(HUB))
    with pytest.raises(ModelUnavailable):
        store.pull("voice")
    hub.files[HUB_WEIGHTS] = WEIGHTS

    assert (store.pull("voice") / "model.bin").read_bytes() == WEIGHTS


def test_a_part_that_is_already_too_long_is_thrown_away(tmp_path: Path, hub: FileServer) -> None:
    target = tmp_path / "models" / ".partial" / "voice" / f"model.bin.{sha256(WEIGHTS).hexdigest()}"
    target.parent.mkdir(parents=True)
    with PartialFile(target, WHOLE) as partial:
        partial.start("")
        partial.write(*WHOLE, bytes(len(WEIGHTS)))

    assert (store_of(tmp_path, model(HUB)).pull("voice") / "model.bin").read_bytes() == WEIGHTS
    assert hub.ranges_asked() == [f"bytes={len(WEIGHTS)}-", None]


def test_a_server_out_of_reach_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float], unused_tcp_port: int
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused_tcp_port}")

    with pytest.raises(ModelUnavailable, match="refused"):
        store_of(tmp_path, model(HUB)).pull("voice")
    assert waits == []


def test_an_address_that_is_none_is_a_failed_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "gopher://hub")

    with pytest.raises(ModelUnavailable, match="hub owner/voice: Not supported URL scheme gopher"):
        store_of(tmp_path, model(HUB)).pull("voice")


def test_the_proxy_of_the_environment_is_taken(
    tmp_path: Path, hub: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("http_proxy", hub.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert store_of(tmp_path, model(HUB)).pull("voice")
    assert hub.requests[0].headers["host"] == "hub.invalid"


def test_a_company_certificate_authority_is_trusted_when_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for variable in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(variable, raising=False)
    with serving(FileServer({HUB_WEIGHTS: WEIGHTS}), context) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        store = store_of(tmp_path, model(HUB))
        with pytest.raises(ModelUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            store.pull("voice")

        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        assert store.pull("voice")
        assert server.requests

    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    with pytest.raises(ModelUnavailable, match=r"certificates in .*none\.pem can't be read"):
        store_of(tmp_path / "other", model(HUB)).pull("voice")
