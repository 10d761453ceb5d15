"""Sends a node's requests to EC2 Auto Scaling, and says what became of them. It repeats none; `Lifecycle` does."""

from typing import Any

import structlog

from server.aws import make_client, what_failed
from server.fleet.group_requests import Answer, CompleteHook, GroupRequest, Heartbeat, Protect, ReportUnhealthy
from server.observability import metrics

log = structlog.get_logger(__name__)

# Both are plain ValidationErrors; there is no better way to tell them from others.
_NOT_OUTSTANDING = "No active Lifecycle Action found"


class InstanceInGroup:
    """This instance, as a member of the group. Its calls block for some seconds at most."""

    def __init__(self, group: str, instance_id: str, region: str) -> None:
        self._group = group
        self._instance_id = instance_id
        self._region = region
        self._client: Any = None
        self._failing: set[str] = set()

    def send(self, request: GroupRequest) -> Answer:
        """What became of the request; to be called from one thread at a time."""
        name = type(request).__name__
        try:
            self._client = self._client or make_client("autoscaling", self._region)
            self._call(request)
        except Exception as error:
            if _NOT_OUTSTANDING in str(error):
                log.info("hook_not_outstanding", request=name)
                return Answer.NOT_OUTSTANDING
            metrics.fleet_errors.labels(name).inc()
            if name not in self._failing:
                log.warning("autoscaling_failed", request=name, error=what_failed(error))
            self._failing.add(name)
            return Answer.FAILED
        self._failing.discard(name)
        if not isinstance(request, Heartbeat):
            log.info("autoscaling_asked", request=repr(request))
        return Answer.DONE

    def _call(self, request: GroupRequest) -> None:
        client, group, instance_id = self._client, self._group, self._instance_id
        match request:
            case CompleteHook(hook):
                client.complete_lifecycle_action(
                    AutoScalingGroupName=group,
                    LifecycleHookName=hook,
                    InstanceId=instance_id,
                    LifecycleActionResult="CONTINUE",
                )
            case Heartbeat(hook):
                client.record_lifecycle_action_heartbeat(
                    AutoScalingGroupName=group, LifecycleHookName=hook, InstanceId=instance_id
                )
            case Protect(on):
                client.set_instance_protection(
                    AutoScalingGroupName=group, InstanceIds=[instance_id], ProtectedFromScaleIn=on
                )
            case ReportUnhealthy():
                client.set_instance_health(
                    InstanceId=instance_id, HealthStatus="Unhealthy", ShouldRespectGracePeriod=True
                )
