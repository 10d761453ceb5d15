"""The files of voices, in a folder or in S3."""

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from server.workers.engines.chatterbox.voice_files import VoicesUnreachable, voice_files
from server.workers.engines.chatterbox.voices import UnusableVoice, VoiceLibrary
from tests.support.file_server import FileServer, serving
from tests.support.voices import random_conditionals, same_voice

PLACE = "s3://bucket/our/voices"


def listing(files: dict[str, bytes]) -> bytes:
    """What S3 answers to ListObjectsV2."""
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><ETag>&quot;{len(body)}&quot;</ETag><Size>{len(body)}</Size></Contents>"
        for key, body in files.items()
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>bucket</Name><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    ).encode()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    objects = {"our/voices/anna.wav": b"anna's clip", "our/voices/ben.flac": b"ben"}
    files = {"/bucket": listing(objects)} | {f"/bucket/{key}": body for key, body in objects.items()}
    with serving(FileServer(files)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield server


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("place", [PLACE, f"{PLACE}/"])
def test_objects_under_the_prefix_are_found_and_read(place: str) -> None:
    files = voice_files(place)

    assert dict(files.versions()) == {"anna.wav": '"11"', "ben.flac": '"3"'}
    assert files.read("anna.wav") == b"anna's clip"


@pytest.mark.usefixtures("s3")
def test_an_object_that_is_gone_is_named() -> None:
    with pytest.raises(VoicesUnreachable, match=r"s3://bucket/our/voices/carla\.wav can't be read: .*404"):
        voice_files(PLACE).read("carla.wav")


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "Could not connect"), ("AWS_PROFILE", "nobody", "profile .*nobody")],
)
@pytest.mark.usefixtures("s3")
def test_an_s3_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(VoicesUnreachable, match=f"s3://bucket/our/voices can't be read: .*{reason}"):
        voice_files(PLACE).versions()


def test_an_object_that_could_not_be_read_is_tried_again(tmp_path: Path, s3: FileServer) -> None:
    random_conditionals().save(tmp_path / "anna.pt")
    s3.files["/bucket"] = listing({"our/voices/anna.pt": b"anna"})
    voices = VoiceLibrary(voice_files(PLACE), tmp_path, encoder=lambda: pytest.fail("no clip"), fingerprint="")
    voices.refresh()
    with pytest.raises(UnusableVoice, match="can't be read"):
        voices.get("anna")
    s3.files["/bucket/our/voices/anna.pt"] = (tmp_path / "anna.pt").read_bytes()
    voices.refresh()

    assert same_voice(voices.get("anna"), random_conditionals())


def test_only_what_changed_is_read_again(tmp_path: Path, s3: FileServer) -> None:
    random_conditionals().save(tmp_path / "anna.pt")
    content = (tmp_path / "anna.pt").read_bytes()
    s3.files = {"/bucket": listing({"our/voices/anna.pt": content}), "/bucket/our/voices/anna.pt": content}
    voices = VoiceLibrary(voice_files(PLACE), tmp_path, encoder=lambda: pytest.fail("no clip"), fingerprint="")
    voices.refresh()
    asked = len(s3.requests)
    voices.refresh()

    assert [request.path for request in s3.requests[asked:]] == ["/bucket"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VoicesUnreachable, match=r"nowhere can't be read: No such file.*takes a folder or s3://"):
        voice_files(str(tmp_path / "nowhere")).versions()


def test_a_file_too_large_for_a_voice_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "anna.wav").open("wb") as file:
        file.truncate(65 * 1024 * 1024)

    with pytest.raises(VoicesUnreachable, match="it has 68157440 bytes, more than 67108864"):
        voice_files(str(tmp_path)).read("anna.wav")
