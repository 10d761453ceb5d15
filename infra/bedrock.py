"""Inference profiles of Bedrock: names of a model whose requests AWS sends to one of several regions."""

import re

# The regions in which a profile can be asked, as they begin. Bedrock's guide lists them for each model.
_ASKED_IN = {
    "us": ("us-east-", "us-west-", "ca-"),
    "us-gov": ("us-gov-",),
    "eu": ("eu-", "il-"),
    "apac": ("ap-", "me-"),
    "au": ("ap-southeast-",),
    "ca": ("ca-",),
    "jp": ("ap-northeast-",),
    "global": ("",),
}
_PROFILE = re.compile(rf"(?P<geography>{'|'.join(_ASKED_IN)})\.(?P<model>.+)")


def profiled_model(name: str) -> str | None:
    """The model of an inference profile: amazon.nova-lite-v1:0 of us.amazon.nova-lite-v1:0. None of what is none."""
    profile = _PROFILE.fullmatch(name)
    return profile["model"] if profile else None


def can_be_asked(name: str, region: str) -> bool:
    """Whether there may be such a model or profile in the region; which there really are, only the account knows."""
    profile = _PROFILE.fullmatch(name)
    return profile is None or region.startswith(_ASKED_IN[profile["geography"]])
