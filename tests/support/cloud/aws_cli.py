"""The part of the `aws` program that the documents use: `python -m tests.support.cloud.aws_cli SERVICE OPERATION ...`.

It is made of botocore's models, as the real one is: an unknown option, a value of the wrong type or a wrong `--query`
is an error. Operations that AWS on loopback lacks (`NOT_HERE`) are checked, and get an answer of the right shape.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import jmespath  # type: ignore[import-untyped]  # botocore brings it, without types
from botocore import xform_name
from botocore.model import OperationModel, Shape
from botocore.validate import validate_parameters

NOT_HERE = frozenset(
    {
        ("autoscaling", "describe-instance-refreshes"),
        ("bedrock-runtime", "converse"),
        ("cloudformation", "cancel-update-stack"),
        ("cloudformation", "continue-update-rollback"),
        ("service-quotas", "request-service-quota-increase"),
    }
)
_GLOBAL = {"query", "output", "region", "max-items"}


def main(service: str, command: str, *words: str) -> None:
    """Do it, and print the answer."""
    match service, command:
        case "logs", "tail":
            _tail(*words)
        case "s3", "sync":
            _sync(words)
        case "acm", "wait":
            _wait(*words)
        case _:
            _operation(service, command, words)


def _operation(service: str, command: str, words: Sequence[str]) -> None:
    given = dict(_options(words))
    client = boto3.client(service, region_name=given.get("region", [None])[0])
    names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    if command not in names:
        sys.exit(f"aws: {service} has no {command}")
    model = client.meta.service_model.operation_model(names[command])
    parameters = dict(_parameters(model, given))
    if model.input_shape:
        validate_parameters(parameters, model.input_shape)
    if (service, command) in NOT_HERE:
        answer = _like(model.output_shape) if model.output_shape else {}
    else:
        answer = getattr(client, xform_name(model.name))(**parameters)
        answer.pop("ResponseMetadata", None)
    if query := given.get("query"):
        answer = jmespath.search(query[0], answer)
    _show(answer, given.get("output", ["json"])[0])


def _options(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option with its values."""
    name, values = "", list[str]()
    for word in [*words, "--"]:
        if not word.startswith("--"):
            values.append(word)
            continue
        if name or values:
            yield name, values
        name, values = word[2:], []


def _parameters(model: OperationModel, given: Mapping[str, list[str]]) -> Iterator[tuple[str, Any]]:
    members = {xform_name(name, "-"): name for name in model.input_shape.members} if model.input_shape else {}
    for option, values in given.items():
        if option in _GLOBAL:
            continue
        name = members.get(option.removeprefix("no-"))
        if name is None:
            sys.exit(f"aws: Unknown options: --{option}")
        shape = model.input_shape.members[name]
        if shape.type_name == "boolean":
            yield name, not option.startswith("no-")
        else:
            yield name, _value(shape, [_loaded(value) for value in values])


def _value(shape: Shape, values: list[str]) -> Any:
    match shape.type_name:
        case "list" if values[0].startswith("["):
            return json.loads(values[0])
        case "list":
            return [_value(shape.member, [value]) for value in values]
        case "structure" if values[0].startswith("{"):
            return json.loads(values[0])
        case "structure":  # Name=tag:x,Values=a
            pairs = (pair.split("=", 1) for pair in values[0].split(","))
            return {key: [value] if shape.members[key].type_name == "list" else value for key, value in pairs}
        case "integer" | "long":
            return int(values[0])
        case "double" | "float":
            return float(values[0])
    (value,) = values
    return value


def _loaded(value: str) -> str:
    return Path(value.removeprefix("file://")).read_text(encoding="utf-8") if value.startswith("file://") else value


def _like(shape: Shape, depth: int = 4) -> Any:
    """Something of that shape."""
    match shape.type_name:
        case "structure" if depth:
            return {name: _like(member, depth - 1) for name, member in shape.members.items()}
        case "list" if depth:
            return [_like(shape.member, depth - 1)]
        case "integer" | "long" | "double" | "float":
            return 1
        case "string":
            return shape.name
    return None


def _show(answer: Any, output: str) -> None:
    match output:
        case "text":
            rows = answer if isinstance(answer, list) else [answer]
            print("\n".join("\t".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows))
        case "json" | "table":
            print(json.dumps(answer, indent=4, default=str))
        case _:
            sys.exit(f"aws: no such output: {output}")


def _tail(group: str, *words: str) -> None:
    """Whether there is such a log group; nothing has been written to it."""
    given = dict(_options(words))
    if unknown := given.keys() - {"since", "follow", "filter-pattern", "format"}:
        sys.exit(f"aws: Unknown options: {', '.join(unknown)}")
    client = boto3.client("logs")
    if not client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        sys.exit(f"aws: ResourceNotFoundException: {group}")


def _sync(words: Sequence[str]) -> None:
    exclude, _, folder, bucket = words
    assert exclude == "--exclude"
    assert folder.startswith("/"), "the shell has made a path of ~"
    boto3.client("s3").head_bucket(Bucket=bucket.removeprefix("s3://").partition("/")[0])


def _wait(name: str, *words: str) -> None:
    """Whether there is such a thing to wait for, and what it is to happen to. Here nothing has to be waited for."""
    client = boto3.client("acm")
    assert xform_name(name.replace("-", "_")) in client.waiter_names
    (arn,) = dict(_options(words))["certificate-arn"]
    client.describe_certificate(CertificateArn=arn)


if __name__ == "__main__":
    main(*sys.argv[1:])
