"""The node's own clients of AWS: short time-outs and no retries of theirs, since whoever asks tries again in time.

Credentials, endpoint and certificates come from the standard AWS variables and files. Making a client reads many files
and every call blocks: both belong in a thread.
"""

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_CONFIG = Config(connect_timeout=2.0, read_timeout=3.0, retries={"total_max_attempts": 1})


def make_client(service: str, region: str | None) -> Any:
    """A client of `service`, such as "autoscaling"; without a `region` in the one that is set.

    This and each of its calls may raise any `Exception`, and not only botocore's: a credential helper that prints no
    JSON, a proxy's page in place of an answer, or an endpoint that is no address end in whatever Python makes of them.
    """
    return boto3.session.Session().client(service, region_name=region, config=_CONFIG)


def what_failed(error: Exception) -> str:
    """The words of an error of botocore's or the system's; of any other, which may quote credentials, only its kind."""
    return str(error) if isinstance(error, BotoCoreError | ClientError | OSError) else type(error).__name__
