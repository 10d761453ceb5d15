"""What every part of the configuration is made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

InstanceType = Annotated[str, Field(pattern=r"^(g5|g6|g6e)\.(2|4|8|16)?xlarge$")]  # those with one GPU: a node uses one
LogDays = Literal[7, 14, 30, 60, 90, 180, 365]  # of those that CloudWatch Logs offers


class Part(BaseModel):
    """Options by name; one that there is not is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def fault(words: str) -> PydanticCustomError:
    """What is wrong, in words that name the option: the value is not shown, as it may be a secret gone astray."""
    return PydanticCustomError("fault", "{fault}", {"fault": words})
