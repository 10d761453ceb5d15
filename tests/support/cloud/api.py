"""The cloud's own API, called from inside the server: CloudFormation resources are made through it, as AWS makes them.

A parameter that an operation does not have is refused by botocore: nothing of a template is silently dropped.
"""

import os
from functools import cache
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.model import ListShape, MapShape, Shape, StructureShape

Parameters = dict[str, Any]


class Api:
    """The operations of one region."""

    def __init__(self, region: str) -> None:
        self._region = region

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Run an operation such as `PutLifecycleHook`; `parameters` as a template writes them (numbers as text)."""
        client = _client(service, self._region)
        shape = client.meta.service_model.operation_model(operation).input_shape
        method = _method_names(service, self._region)[operation]
        answer: dict[str, Any] = getattr(client, method)(**_typed(parameters, shape))
        return answer


@cache
def _client(service: str, region: str) -> BaseClient:
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=f"http://localhost:{os.environ['MOTO_PORT']}",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}),
    )


@cache
def _method_names(service: str, region: str) -> dict[str, str]:
    return {operation: method for method, operation in _client(service, region).meta.method_to_api_mapping.items()}


def _typed(value: Any, shape: Shape | None) -> Any:
    """`value` in the types of the operation: templates write `300`, `"300"` and `true`, `"true"` alike."""
    match shape, value:
        case StructureShape(), dict():
            return {name: _typed(member, shape.members.get(name)) for name, member in value.items()}
        case ListShape(), list():
            return [_typed(member, shape.member) for member in value]
        case MapShape(), dict():
            return {name: _typed(member, shape.value) for name, member in value.items()}
        case Shape(type_name="integer" | "long"), str():
            return int(value)
        case Shape(type_name="float" | "double"), str():
            return float(value)
        case Shape(type_name="boolean"), str():
            return value == "true"
        case Shape(type_name="string"), bool():
            return str(value).lower()
        case Shape(type_name="string"), int() | float():
            return str(value)
    return value
