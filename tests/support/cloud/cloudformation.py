"""CloudFormation as moto lacks it: resource types made through the API, updates that reach them, and no silence.

moto passes over a type, an attribute or an update that it does not know. Here each of these fails the deploy, as does
an operation that refuses what the template says. What a failed deploy leads to is in `stack_life`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import ServiceException

from tests.support.cloud.api import Parameters
from tests.support.cloud.resource import Resource

_SETTLING_ROUNDS = 5
_CONDITIONS = ("Fn::And", "Fn::Equals", "Fn::Not", "Fn::Or")  # moto evaluates these elsewhere

# moto's own types of which it makes all that the fleet's template says; the others drop properties in silence.
_GOOD_ENOUGH = (
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::EIP",
    "AWS::EC2::FlowLog",
    "AWS::EC2::InternetGateway",
    "AWS::EC2::NatGateway",
    "AWS::EC2::Route",
    "AWS::EC2::Subnet",
    "AWS::EC2::VPCEndpoint",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::ECR::Repository",
    "AWS::IAM::InstanceProfile",
    "AWS::Logs::ResourcePolicy",
    "AWS::Route53::RecordSet",
    "AWS::SSM::Parameter",
)


def install(resources: Iterable[type[Resource]]) -> None:
    """Teach moto's CloudFormation these types, in place of its own where it has them, and to fail aloud at others."""
    own = parsing.get_model_map()
    types = {name: own[name] for name in _GOOD_ENOUGH} | {resource.type: resource for resource in resources}

    def resource_class(resource_type: str) -> Any:
        if resource_type not in types:
            raise ValidationError(message=f"the test's cloud has no {resource_type}; see tests/support/cloud")
        return types[resource_type]

    parsing.resource_class_from_type = resource_class
    parsing.parse_resource = _untouched(parsing.parse_resource)
    parsing.clean_json = _all_resolved(parsing.clean_json)
    parsing.parse_and_create_resource = _named(parsing.parse_and_create_resource)
    parsing.parse_and_update_resource = _named(_never_lost(parsing.parse_and_update_resource))
    parsing.ResourceMap.update = _settled(parsing.ResourceMap.update)  # type: ignore[method-assign]
    CloudFormationResponse._validate_different_update = _unless_looked_up(  # type: ignore[method-assign]
        CloudFormationResponse._validate_different_update
    )
    CloudFormationBackend.delete_change_set = _of_none_too(CloudFormationBackend.delete_change_set)  # type: ignore[method-assign]
    CloudFormationBackend.execute_change_set = _with_outputs(CloudFormationBackend.execute_change_set)  # type: ignore[method-assign]
    CloudFormationBackend._resolve_update_parameters = _previous_parameters  # type: ignore[method-assign, assignment]


def _all_resolved(clean: Callable[..., Any]) -> Callable[..., Any]:
    """moto leaves an intrinsic function that it can't evaluate where it is, as if it were a value."""

    def clean_json(resource_json: Any, resources_map: Any) -> Any:
        value = clean(resource_json, resources_map)
        if isinstance(value, dict) and (
            left := [key for key in value if key.startswith("Fn::") and key not in _CONDITIONS]
        ):
            raise ValidationError(message=f"the test's cloud can't evaluate {left[0]}: {value[left[0]]}")
        return value

    return clean_json


def _untouched(parse: Callable[..., Any]) -> Callable[..., Any]:
    """moto adds empty properties to the template at hand, and then finds that an update takes them away."""

    def parse_resource(resource_json: Parameters, resources_map: Any) -> Any:
        return parse(dict(resource_json), resources_map)

    return parse_resource


def _named(parse: Callable[..., Any]) -> Callable[..., Any]:
    """An error names the resource, and is one that the client does not try again."""

    def parse_resource(logical_id: str, resource_json: Parameters, *positional: Any, **named: Any) -> Any:
        try:
            return parse(logical_id, resource_json, *positional, **named)
        except ServiceException:
            raise
        except Exception as error:
            raise ValidationError(message=f"{logical_id} ({resource_json['Type']}): {error!r}") from error

    return parse_resource


def _never_lost(parse: Callable[..., Any]) -> Callable[..., Any]:
    """moto forgets a resource of a type that it can't update."""

    def parse_and_update_resource(logical_id: str, resource_json: Parameters, *positional: Any, **named: Any) -> Any:
        updated = parse(logical_id, resource_json, *positional, **named)
        if updated is None:
            raise ValidationError(message=f"the test's cloud can't update a {resource_json['Type']}")
        return updated

    return parse_and_update_resource


def _settled(update: Callable[..., None]) -> Callable[..., None]:
    """moto updates what reads otherwise in the template, not what refers to something that became another value."""

    def update_and_settle(resources: Any, template: Parameters, parameters: Parameters | None = None) -> None:
        update(resources, template, parameters)
        for _ in range(_SETTLING_ROUNDS):
            followed = [_follow(resources, name, body) for name, body in template["Resources"].items()]
            if not any(followed):
                return
        raise ValidationError(message="the stack's resources do not settle")

    return update_and_settle


def _follow(resources: Any, logical_id: str, body: Parameters) -> bool:
    """Update a resource of ours whose properties have other values than those applied; whether there were any."""
    resource = resources._parsed_resources.get(logical_id)
    if not isinstance(resource, Resource):
        return False
    if resource.properties == parsing.clean_json(body.get("Properties", {}), resources):
        return False
    place = {"account_id": resources._account_id, "region_name": resources._region_name}
    resources._parsed_resources[logical_id] = parsing.parse_and_update_resource(logical_id, body, resources, **place)
    return True


def _unless_looked_up(validate: Callable[..., None]) -> Callable[..., None]:
    """The same template has something to update where a parameter of Systems Manager has another value by now."""

    def validate_different_update(
        response: CloudFormationResponse, incoming_params: Any, stack_body: str, old_stack: Stack
    ) -> None:
        resources = old_stack.resource_map
        looked_up = {
            name: resources.parse_ssm_parameter(resources.input_parameters.get(name, slot.get("Default")), slot["Type"])
            for name, slot in resources._template.get("Parameters", {}).items()
            if slot["Type"].startswith("AWS::SSM::Parameter::")
        }
        if looked_up.items() <= resources.resolved_parameters.items():
            validate(response, incoming_params, stack_body, old_stack)

    return validate_different_update


def _of_none_too(delete: Callable[..., None]) -> Callable[..., None]:
    """The CLI deletes a change set of an earlier deploy, which may not be there; moto fails then."""

    def delete_change_set(backend: CloudFormationBackend, change_set_name: str) -> None:
        if any(change_set_name in (key, known.change_set_name) for key, known in backend.change_sets.items()):
            delete(backend, change_set_name)

    return delete_change_set


def _with_outputs(execute: Callable[..., None]) -> Callable[..., None]:
    """moto gives a stack that a change set has made no outputs until its first update."""

    def execute_change_set(backend: CloudFormationBackend, change_set_name: str, stack_name: str | None = None) -> None:
        execute(backend, change_set_name, stack_name)
        for key, known in backend.change_sets.items():
            if change_set_name in (key, known.change_set_name):
                known.stack._parse_template()
                known.stack.output_map = known.stack._create_output_map()

    return execute_change_set


def _previous_parameters(
    _backend: CloudFormationBackend, instance: Any, incoming_params: list[dict[str, Any]]
) -> dict[str, str]:
    """A parameter that keeps its previous value may have had its default, which moto does not remember."""
    given = {item["ParameterKey"]: item["ParameterValue"] for item in incoming_params if "ParameterValue" in item}
    kept = [item["ParameterKey"] for item in incoming_params if item.get("UsePreviousValue")]
    return given | {key: instance.parameters[key] for key in kept if key in instance.parameters}
