"""Keeps a folder like the place in S3 where voices are: for a worker that reaches no network, and so no credentials.

    python -m server.workers.engines.chatterbox.voice_mirror s3://BUCKET/PREFIX FOLDER

It looks at no voice: which files are any good is the worker's to say.
"""

import argparse
import asyncio
from pathlib import Path

import structlog

from server.observability import logs
from server.observability.systemd import serving_under_systemd
from server.workers.engines.chatterbox.voice_files import VoiceFiles, VoicesUnreachable, voice_files

AGAIN_SECONDS = 30.0
"""Between two looks: the worker looks into the folder each minute."""

log = structlog.get_logger(__name__)


class VoiceMirror:
    """`folder`, which exists, as the mirror of `source`."""

    def __init__(self, source: VoiceFiles, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._held: dict[str, str] = {}  # the version of each file that has been fetched

    def catch_up(self) -> None:
        """Fetch what is new, remove what is gone. A file is there whole or not at all. What can't be read is logged."""
        try:
            versions = {name: version for name, version in self._source.versions().items() if _is_file_name(name)}
        except VoicesUnreachable as error:
            log.warning("voices_unreachable", error=str(error))
            return
        for name, version in versions.items():
            if self._held.get(name) != version:
                self._fetch(name, version)
        for path in self._folder.iterdir():
            if path.name not in versions:
                path.unlink()
                self._held.pop(path.name, None)

    def _fetch(self, name: str, version: str) -> None:
        partial = self._folder / f".{name}.partial"  # of no kind that the worker takes for a voice
        try:
            partial.write_bytes(self._source.read(name))
        except VoicesUnreachable as error:
            log.warning("voices_unreachable", error=str(error))
            return
        partial.replace(self._folder / name)
        self._held[name] = version


def _is_file_name(name: str) -> bool:
    """Whether it leads to a file in the folder; S3 also takes "..", and lists a prefix itself as an empty name."""
    return name not in ("", "..") and Path(name).name == name


async def follow(mirror: VoiceMirror) -> None:
    """Keep it up to date for ever; systemd hears of it after the first look."""
    await asyncio.to_thread(mirror.catch_up)
    async with serving_under_systemd():
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            await asyncio.to_thread(mirror.catch_up)


def main() -> None:
    """Follow the place until the process is ended."""
    parser = argparse.ArgumentParser(description="Keep a folder like the place in S3 where voices are.")
    parser.add_argument("place")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    logs.configure("info")
    asyncio.run(follow(VoiceMirror(voice_files(arguments.place), arguments.folder)))


if __name__ == "__main__":
    main()
