"""Lifecycle hooks for moto's Auto Scaling, which only lists them: instances wait for them as in EC2 Auto Scaling.

`install()` patches moto in this process. An instance waits for one hook of a transition; a group with several of the
same kind, warm pools, and a hook's own timeout are not modelled.
"""

import functools
from collections.abc import Callable
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import (
    AutoScalingBackend,
    FakeAutoScalingGroup,
    InstanceState,
    LifecycleHook,
    TerminateInstanceActivity,
)
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

_LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
_TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
_WAITING = {"Pending:Wait": _LAUNCHING, "Terminating:Wait": _TERMINATING}
_PROTECTABLE = ("InService", "EnteringStandby", "Standby")


def install() -> None:
    """Patch moto; a second time does nothing."""
    if hasattr(AutoScalingResponse, "complete_lifecycle_action"):
        return
    AutoScalingResponse.complete_lifecycle_action = _complete_lifecycle_action  # type: ignore[attr-defined]
    AutoScalingResponse.record_lifecycle_action_heartbeat = _record_heartbeat  # type: ignore[attr-defined]
    FakeAutoScalingGroup.active_instances = _active_instances  # type: ignore[method-assign, assignment]
    for owner, name, replacement in (
        (AutoScalingResponse, "create_auto_scaling_group", _create_group),
        (FakeAutoScalingGroup, "replace_autoscaling_group_instances", _launch),
        (FakeAutoScalingGroup, "set_desired_capacity", _set_desired_capacity),
        (AutoScalingBackend, "terminate_instance", _terminate_instance),
        (AutoScalingBackend, "set_instance_protection", _set_instance_protection),
    ):
        _wrap(owner, name, replacement)


def heartbeats(backend: AutoScalingBackend, instance_id: str, hook: str) -> int:
    """How many heartbeats came for the instance's hook."""
    counts: dict[tuple[str, str], int] = getattr(backend, "heartbeats", {})
    return counts.get((instance_id, hook), 0)


def _wrap(owner: type, name: str, replacement: Callable[..., Any]) -> None:
    """Replace a method by one that gets the original before its own arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return replacement(functools.partial(original, self), self, *args, **kwargs)

    setattr(owner, name, method)


# --- hooks, and the instances that wait for them


def _hook_of(backend: AutoScalingBackend, group_name: str, transition: str) -> LifecycleHook | None:
    hooks = backend.describe_lifecycle_hooks(group_name)
    return next((hook for hook in hooks if hook.lifecycle_transition == transition), None)


def _active_instances(group: FakeAutoScalingGroup) -> list[InstanceState]:
    """Those that count towards the desired capacity, as pending ones do."""
    return [state for state in group.instance_states if state.lifecycle_state in ("InService", "Pending:Wait")]


def _create_group(original: Callable[[], ActionResult], response: AutoScalingResponse) -> ActionResult:
    _put_hooks(
        response.autoscaling_backend,
        response._get_param("AutoScalingGroupName"),
        response._get_param("LifecycleHookSpecificationList", []),
    )
    return original()


def _put_hooks(backend: AutoScalingBackend, group_name: str, specifications: list[dict[str, Any]]) -> None:
    """Before the group, whose first instances already wait for them."""
    for hook in specifications:
        backend.create_lifecycle_hook(
            hook["LifecycleHookName"],
            group_name,
            hook["LifecycleTransition"],
            hook.get("HeartbeatTimeout"),
            hook.get("DefaultResult", "ABANDON"),
        )


def _launch(original: Callable[..., None], group: FakeAutoScalingGroup, *args: Any, **kwargs: Any) -> None:
    before = list(group.instance_states)
    original(*args, **kwargs)
    if _hook_of(group.autoscaling_backend, group.name, _LAUNCHING):
        for state in group.instance_states:
            if state not in before:
                state.lifecycle_state = "Pending:Wait"


def _set_desired_capacity(original: Callable[..., None], group: FakeAutoScalingGroup, new_capacity: int | None) -> None:
    wanted = (group.min_size if new_capacity is None else new_capacity) or 0
    excess = len(group.active_instances()) - wanted
    if excess <= 0 or not _hook_of(group.autoscaling_backend, group.name, _TERMINATING):
        return original(new_capacity)
    group.desired_capacity = wanted
    for state in [state for state in group.active_instances() if not state.protected_from_scale_in][:excess]:
        state.lifecycle_state = "Terminating:Wait"
    return None


def _terminate_instance(
    original: Callable[..., TerminateInstanceActivity],
    backend: AutoScalingBackend,
    instance_id: str,
    should_decrement: bool,
) -> TerminateInstanceActivity:
    group, state = _find(backend, instance_id)
    if not _hook_of(backend, group.name, _TERMINATING):
        return original(instance_id, should_decrement)
    capacity = group.desired_capacity or 0
    state.lifecycle_state = "Terminating:Wait"
    group.set_desired_capacity(capacity - should_decrement)
    return TerminateInstanceActivity(state.instance, capacity)


def _find(backend: AutoScalingBackend, instance_id: str) -> tuple[FakeAutoScalingGroup, InstanceState]:
    for group in backend.autoscaling_groups.values():
        for state in group.instance_states:
            if state.instance.id == instance_id:
                return group, state
    raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")


# --- what instances ask


def _complete_lifecycle_action(response: AutoScalingResponse) -> ActionResult:
    backend = response.autoscaling_backend
    group, state = _waiting(response)
    if state.lifecycle_state == "Pending:Wait" and response._get_param("LifecycleActionResult") == "CONTINUE":
        state.lifecycle_state = "InService"
    else:
        group.instance_states.remove(state)
        backend.ec2_backend.terminate_instances([state.instance.id])
        group.set_desired_capacity(group.desired_capacity)  # in place of one that was abandoned
    return EmptyResult()


def _record_heartbeat(response: AutoScalingResponse) -> ActionResult:
    _, state = _waiting(response)
    backend: Any = response.autoscaling_backend
    if not hasattr(backend, "heartbeats"):
        backend.heartbeats = {}
    key = (state.instance.id, response._get_param("LifecycleHookName"))
    backend.heartbeats[key] = backend.heartbeats.get(key, 0) + 1
    return EmptyResult()


def _waiting(response: AutoScalingResponse) -> tuple[FakeAutoScalingGroup, InstanceState]:
    """The instance that waits for the hook, both named by the request's parameters."""
    backend = response.autoscaling_backend
    group_name, hook_name = response._get_param("AutoScalingGroupName"), response._get_param("LifecycleHookName")
    instance_id = response._get_param("InstanceId")
    hooks = backend.describe_lifecycle_hooks(group_name, [hook_name])
    if not hooks:
        raise ValidationError(f"Lifecycle hook '{hook_name}' not found for Auto Scaling group '{group_name}'")
    for state in backend.autoscaling_groups[group_name].instance_states:
        if state.instance.id == instance_id and _WAITING.get(state.lifecycle_state) == hooks[0].lifecycle_transition:
            return backend.autoscaling_groups[group_name], state
    raise ValidationError(f"No active Lifecycle Action found with instance ID {instance_id}")


def _set_instance_protection(
    original: Callable[..., None],
    backend: AutoScalingBackend,
    group_name: str,
    instance_ids: list[str],
    protected_from_scale_in: bool | None,
) -> None:
    if group_name not in backend.autoscaling_groups:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup {group_name} not found")
    states = {state.instance.id: state for state in backend.autoscaling_groups[group_name].instance_states}
    for instance_id in instance_ids:
        if instance_id not in states:
            raise ValidationError(f"The instance {instance_id} is not part of Auto Scaling group {group_name}.")
        if states[instance_id].lifecycle_state not in _PROTECTABLE:
            raise ValidationError(f"The instance {instance_id} is not in {' or '.join(_PROTECTABLE)}.")
    original(group_name, instance_ids, protected_from_scale_in)
