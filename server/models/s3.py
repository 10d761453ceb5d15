"""Files in S3, as a `download.Remote`. Apart from the others because boto3 takes half a second to import."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from server.models.download import CHUNK_BYTES, Broken, NotResumable, Stream
from server.models.errors import SourceFailed


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object in S3, or in any store that speaks its protocol (the standard AWS variables say which)."""

    client: Any
    bucket: str
    key: str

    @contextmanager
    def open(self, offset: int, etag: str) -> Iterator[Stream]:
        """See `Remote.open`."""
        resumed = {"Range": f"bytes={offset}-", "IfMatch": etag} if offset and etag else {}
        try:
            reply = self.client.get_object(Bucket=self.bucket, Key=self.key, **resumed)
        except ClientError as error:
            if resumed and error.response["ResponseMetadata"]["HTTPStatusCode"] in {412, 416}:
                raise NotResumable from error
            raise SourceFailed(str(error)) from error
        except BotoCoreError as error:  # it has made its own tries by now
            raise SourceFailed(str(error)) from error
        start = offset if resumed else 0
        with closing(reply["Body"]) as body:
            yield Stream(start, start + reply["ContentLength"], reply.get("ETag", ""), _chunks(body))


def s3_client() -> Any:
    """A client from the standard AWS variables and files. Raises `SourceFailed` when they are wrong."""
    try:
        return boto3.client("s3")
    except (BotoCoreError, ValueError) as error:
        raise SourceFailed(str(error)) from error


def _chunks(body: Any) -> Iterator[bytes]:
    try:
        yield from body.iter_chunks(CHUNK_BYTES)
    except (HTTPError, HTTPClientError, BotoCoreError) as error:
        raise Broken(str(error)) from error
