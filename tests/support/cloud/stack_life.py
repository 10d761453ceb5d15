"""What CloudFormation does with a stack that fails, is deleted or reads another one's output; moto does none of it.

A creation that fails is undone, an update that fails leads back to the template before, and what is protected is not
deleted. The client hears of it as from AWS: the call succeeds, and the stack's status says how it ended.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Stack, cloudformation_backends

_KEPT = {"Retain", "RetainExceptOnCreate"}  # when a stack is deleted; after a failed creation the first alone


def install() -> None:
    """Patch moto."""
    parsing.clean_json = _with_outputs_of_others(parsing.clean_json)
    CloudFormationBackend.execute_change_set = _undone_if_it_fails(CloudFormationBackend.execute_change_set)  # type: ignore[method-assign]
    Stack.update = _gone_back_if_it_fails(Stack.update)  # type: ignore[method-assign]
    CloudFormationBackend.delete_stack = _if_nothing_protects_it(CloudFormationBackend.delete_stack)  # type: ignore[method-assign]


def _with_outputs_of_others(clean: Callable[..., Any]) -> Callable[..., Any]:
    """`Fn::GetStackOutput` is a reference that locks nothing."""

    def clean_json(resource_json: Any, resources_map: Any) -> Any:
        if not (isinstance(resource_json, dict) and "Fn::GetStackOutput" in resource_json):
            return clean(resource_json, resources_map)
        wanted = resource_json["Fn::GetStackOutput"]
        stacks = cloudformation_backends[resources_map._account_id][resources_map._region_name].stacks
        outputs = [stack.output_map for stack in stacks.values() if stack.name == wanted["StackName"]]
        if not outputs or wanted["OutputName"] not in list(outputs[0]):
            raise ValidationError(message=f"there is no output {wanted['OutputName']} of {wanted['StackName']}")
        output = outputs[0][wanted["OutputName"]]
        assert output is not None
        return output.value

    return clean_json


def _undone_if_it_fails(execute: Callable[..., None]) -> Callable[..., None]:
    """A first deploy that fails leaves a stack that can only be deleted, and what could not be deleted with it."""

    @functools.wraps(execute)
    def execute_change_set(backend: CloudFormationBackend, change_set_name: str, stack_name: str | None = None) -> None:
        try:
            execute(backend, change_set_name, stack_name)
        except Exception as error:  # whatever it was that an operation refused
            change_set = backend.describe_change_set(change_set_name)
            assert change_set is not None
            stack = change_set.stack
            stack._add_stack_event("CREATE_FAILED", resource_status_reason=str(error))
            _delete_resources(stack, {"Retain"}, "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")

    return execute_change_set


def _gone_back_if_it_fails(update: Callable[..., None]) -> Callable[..., None]:
    def update_or_go_back(stack: Stack, template: str, *positional: Any, **named: Any) -> None:
        before, parameters = stack.template, dict(stack.parameters)
        try:
            update(stack, template, *positional, **named)
        except Exception as error:  # whatever it was that an operation refused
            stack._add_stack_event("UPDATE_FAILED", resource_status_reason=str(error))
            update(stack, before if isinstance(before, str) else json.dumps(before), parameters=parameters)
            _end(stack, "UPDATE_ROLLBACK_COMPLETE")

    return update_or_go_back


def _if_nothing_protects_it(delete: Callable[..., None]) -> Callable[..., None]:
    def delete_stack(backend: CloudFormationBackend, name_or_stack_id: str) -> None:
        for stack in list(backend.stacks.values()):
            if name_or_stack_id in (stack.name, stack.stack_id):
                if stack.enable_termination_protection:
                    raise ValidationError(message=f"Stack [{stack.name}] cannot be deleted while it is protected")
                if _delete_resources(stack, _KEPT, "DELETE_COMPLETE", "DELETE_FAILED"):
                    backend.deleted_stacks[stack.stack_id] = backend.stacks.pop(stack.stack_id)
                    for key in [key for key, one in backend.change_sets.items() if one.stack is stack]:
                        del backend.change_sets[key]

    return delete_stack


def _delete_resources(stack: Stack, kept: set[str], done: str, failed: str) -> bool:
    """Delete what has no such policy; the last made goes first. Whether all went."""
    resources = stack.resource_map
    for name, made in reversed(list(resources._parsed_resources.items())):
        body = resources._resource_json_map.get(name)
        if body is None or body.get("DeletionPolicy") in kept:
            continue
        try:
            resources._delete_resource(made, body)
        except Exception as error:  # whatever refuses it: the stack says so
            stack._add_stack_event("DELETE_FAILED", resource_status_reason=f"{name}: {error}")
            _end(stack, failed)
            return False
        del resources._parsed_resources[name]
    _end(stack, done)
    return True


def _end(stack: Stack, status: str) -> None:
    stack.status = status
    stack._add_stack_event(status)
