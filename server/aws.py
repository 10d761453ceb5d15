"""The node's own clients of AWS: short time-outs and no retries of theirs, since whoever asks tries again in time.

Credentials, endpoint and certificates come from the standard AWS variables and files. Making a client reads many files
and every call blocks: both belong in a thread.
"""

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

AWS_ERRORS = (BotoCoreError, ClientError, ResponseParserError, OSError, ValueError)
"""What a client raises, an answer that is none (of a proxy, say) and an endpoint that is no address included."""

_CONFIG = Config(connect_timeout=2.0, read_timeout=3.0, retries={"total_max_attempts": 1})


def make_client(service: str, region: str | None) -> Any:
    """A client of `service`, such as "autoscaling"; without a `region` in the one that is set. Raises `AWS_ERRORS`."""
    return boto3.session.Session().client(service, region_name=region, config=_CONFIG)
