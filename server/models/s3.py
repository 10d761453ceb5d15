"""Files in S3, as a `download.Remote`. Apart from the others because boto3 takes half a second to import."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from server.models.download import CHUNK_BYTES, CONNECTIONS, Broken, NotResumable, Stream
from server.models.errors import SourceFailed
from server.models.remotes import abort, extent_of, http_range


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object in S3, or in any store that speaks its protocol (the standard AWS variables say which)."""

    client: Any
    bucket: str
    key: str

    @contextmanager
    def open(self, start: int, end: int | None, etag: str) -> Iterator[Stream]:
        """See `Remote.open`."""
        asks_range = bool(start) or end is not None
        wanted = {"Range": http_range(start, end)} if asks_range else {}
        if asks_range and etag:
            wanted["IfMatch"] = etag
        try:
            reply = self.client.get_object(Bucket=self.bucket, Key=self.key, **wanted)
        except ClientError as error:
            if asks_range and error.response["ResponseMetadata"]["HTTPStatusCode"] in {412, 416}:
                raise NotResumable from error
            raise SourceFailed(str(error)) from error
        except BotoCoreError as error:  # it has made its own tries by now
            raise SourceFailed(str(error)) from error
        whole = (0, reply["ContentLength"], reply["ContentLength"])
        offset, stop, total = extent_of(reply["ContentRange"]) if "ContentRange" in reply else whole
        with closing(reply["Body"]) as body:
            # Only what botocore reads from can be woken; it has no way of its own.
            yield Stream(offset, stop, total, reply.get("ETag", ""), _chunks(body), partial(abort, body._raw_stream))


def s3_client() -> Any:
    """A client from the standard AWS variables and files, for any thread. Raises `SourceFailed` when they are wrong."""
    try:
        # Threads may share a client, but not the session that makes it, as boto3.client would have them do.
        return boto3.Session().client("s3", config=Config(max_pool_connections=CONNECTIONS))
    except (BotoCoreError, ValueError) as error:
        raise SourceFailed(str(error)) from error


def _chunks(body: Any) -> Iterator[bytes]:
    try:
        yield from body.iter_chunks(CHUNK_BYTES)
    except (HTTPError, HTTPClientError, BotoCoreError) as error:
        raise Broken(str(error)) from error
