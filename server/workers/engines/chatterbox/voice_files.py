"""Where the files of voices come from: a folder, or a prefix in S3. Files are read whole and never written."""

import functools
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

from server.errors import VoicefleetError
from server.models.errors import SourceFailed

_LARGEST = 64 * 1024 * 1024  # bytes; 15 s of stereo at 192 kHz in float32 are 23 MB


class VoicesUnreachable(VoicefleetError):
    """The place where voices are kept can't be read now."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"voices in {place} can't be read: {reason}; takes a folder or s3://BUCKET/PREFIX")


class VoiceFiles(Protocol):
    """Files by name, none of them in a folder below."""

    def versions(self) -> Mapping[str, str]:
        """Each file's name and something that changes with its content. Raises `VoicesUnreachable`."""
        ...

    def read(self, name: str) -> bytes:
        """The file's content. Raises `VoicesUnreachable`."""
        ...


def voice_files(place: str) -> VoiceFiles:
    """The files in a folder or under `s3://BUCKET/PREFIX`."""
    return S3Voices(place) if place.startswith("s3://") else FolderVoices(Path(place).expanduser())


class FolderVoices:
    """Files in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def versions(self) -> Mapping[str, str]:
        """See `VoiceFiles.versions`."""
        try:
            stats = {path.name: path.stat() for path in self._folder.iterdir() if path.is_file()}
        except OSError as error:
            raise VoicesUnreachable(str(self._folder), str(error.strerror)) from error
        return {name: f"{stat.st_size}-{stat.st_mtime_ns}" for name, stat in stats.items()}

    def read(self, name: str) -> bytes:
        """See `VoiceFiles.read`."""
        path = self._folder / name
        try:
            _check_size(str(path), path.stat().st_size)
            return path.read_bytes()
        except OSError as error:
            raise VoicesUnreachable(str(path), str(error.strerror)) from error


class S3Voices:
    """Objects right under a prefix; the standard AWS variables say where S3 is."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._bucket = urlsplit(address).netloc
        self._prefix = "".join(f"{part}/" for part in PurePosixPath(urlsplit(address).path).parts if part != "/")

    def versions(self) -> Mapping[str, str]:
        """See `VoiceFiles.versions`."""
        found: dict[str, str] = {}
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"):
                objects = page.get("Contents", ())
                found |= {entry["Key"].removeprefix(self._prefix): entry["ETag"] for entry in objects}
        except self._errors as error:
            raise VoicesUnreachable(self._address, str(error)) from error
        return found

    def read(self, name: str) -> bytes:
        """See `VoiceFiles.read`."""
        try:
            reply = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            with reply["Body"] as body:
                _check_size(f"{self._address}/{name}", reply["ContentLength"])
                return bytes(body.read())
        except self._errors as error:
            raise VoicesUnreachable(f"{self._address}/{name}", str(error)) from error

    @functools.cached_property
    def _client(self) -> Any:
        from server.models.s3 import s3_client  # noqa: PLC0415 # boto3 takes half a second, which a folder needs not

        try:
            return s3_client()
        except SourceFailed as error:
            raise VoicesUnreachable(self._address, str(error)) from error

    @functools.cached_property
    def _errors(self) -> tuple[type[Exception], ...]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # noqa: PLC0415 # as above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        return BotoCoreError, ClientError, HTTPClientError, HTTPError


def _check_size(place: str, size: int) -> None:
    if size > _LARGEST:
        raise VoicesUnreachable(place, f"it has {size} bytes, more than {_LARGEST}")
