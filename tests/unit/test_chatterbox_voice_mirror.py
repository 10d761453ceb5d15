"""The mirror of voices: a folder that follows a place in S3."""

from collections.abc import Mapping
from pathlib import Path

from structlog.testing import capture_logs

from server.workers.engines.chatterbox.voice_files import VoicesUnreachable
from server.workers.engines.chatterbox.voice_mirror import VoiceMirror


class Place:
    """Voices by name; `away` is a file that can't be read, or "all"."""

    def __init__(self, **files: bytes) -> None:
        self.files = dict(files)
        self.away = ""
        self.reads: list[str] = []

    def versions(self) -> Mapping[str, str]:
        if self.away == "all":
            raise VoicesUnreachable("s3://bucket", "no route")
        return {name: str(hash(content)) for name, content in self.files.items()}

    def read(self, name: str) -> bytes:
        self.reads.append(name)
        if name == self.away:
            raise VoicesUnreachable(f"s3://bucket/{name}", "denied")
        return self.files[name]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_follows_what_is_new_changed_and_gone(tmp_path: Path) -> None:
    place = Place(anna=b"1", ben=b"2")
    mirror = VoiceMirror(place, tmp_path)
    (tmp_path / ".ben.partial").write_bytes(b"of a process that was ended")

    mirror.catch_up()
    assert contents(tmp_path) == {"anna": b"1", "ben": b"2"}

    place.files = {"anna": b"3", "carla": b"4"}
    mirror.catch_up()
    assert contents(tmp_path) == {"anna": b"3", "carla": b"4"}

    mirror.catch_up()
    assert place.reads == ["anna", "ben", "anna", "carla"], "what is there is not fetched again"


def test_what_can_not_be_read_leaves_what_is_there_and_is_tried_again(tmp_path: Path) -> None:
    place = Place(anna=b"1")
    mirror = VoiceMirror(place, tmp_path)
    mirror.catch_up()

    with capture_logs() as lines:
        place.files, place.away = {"anna": b"2", "ben": b"3"}, "anna"
        mirror.catch_up()
        assert contents(tmp_path) == {"anna": b"1", "ben": b"3"}
        place.away = "all"
        mirror.catch_up()
        assert contents(tmp_path) == {"anna": b"1", "ben": b"3"}
    assert [line["event"] for line in lines] == ["voices_unreachable"] * 2

    place.away = ""
    mirror.catch_up()
    assert contents(tmp_path) == {"anna": b"2", "ben": b"3"}


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    VoiceMirror(Place(**{"..": b"x", "../out": b"x", "": b"x", "/abs": b"x", "in": b"y"}), folder).catch_up()
    assert contents(folder) == {"in": b"y"}
    assert list(tmp_path.iterdir()) == [folder]
