"""A real node on an instance of the fleet that `cdk deploy` has made, with AWS and the metadata service on loopback."""

from collections.abc import Iterator

import pytest

from infra.metrics import exported_name
from server.fleet.lifecycle import TERMINATE_HOOK
from server.observability import metrics
from tests.support.cloud.account import REGION
from tests.support.cloud.deployed import Deployed
from tests.support.fleet import Instance
from tests.support.imds import fake_imds
from tests.support.live_call import live_call, refusal
from tests.support.node import NodeProcess, running_node

SECONDS = 25.0  # two beats of the metric, and some more: the machine is shared


@pytest.fixture
def instance(fleet: Deployed) -> Iterator[Instance]:
    """A node's instance that the group has launched and that waits for its launch hook."""
    waiting = [one["InstanceId"] for one in fleet.group()["Instances"] if one["LifecycleState"] == "Pending:Wait"]
    with fake_imds(instance_id=waiting[0], region=REGION) as imds:
        yield Instance(fleet.cloud, fleet.name, waiting[0], imds)
    let_go_of_what_leaves(fleet)
    resize(fleet, 2, 2)


@pytest.fixture
def node(instance: Instance, quick: dict[str, str]) -> Iterator[NodeProcess]:
    """The node that starts on it."""
    with running_node(**quick, **instance.variables, VOICE_MAX_SESSIONS="4") as running:
        yield running


async def test_a_node_joins_is_measured_is_protected_and_drains_without_cutting_its_call(
    fleet: Deployed, instance: Instance, node: NodeProcess
) -> None:
    await node.until(lambda: instance.state == "InService", SECONDS)  # the hook has let it

    async with live_call(node.websocket) as call:
        assert await call.ask("ping") == "You said: ping"
        await node.until(lambda: instance.protected, SECONDS)
        # A call of four that the node takes, published every ten seconds; zeros may have come before it.
        await node.until(lambda: instance.measured(exported_name(metrics.sessions_utilization))["Sum"] >= 0.25, SECONDS)

        resize(fleet, 0, 1)  # takes the other instance, and not the protected one
        assert instance.state == "InService"

        instance.terminate()  # as a rollout does, which asks for no protection
        assert instance.state == "Terminating:Wait"
        await node.until(lambda: node.get("/ready")[0] == 503, SECONDS)
        assert (await refusal(node.websocket)).status_code == 503
        assert await call.ask("still there") == "You said: still there"
        assert instance.state == "Terminating:Wait"

    await node.until(lambda: instance.state == "gone", SECONDS)
    assert node.get("/health")[0] == 200, "what is drained has not crashed"


def resize(fleet: Deployed, floor: int, nodes: int) -> None:
    fleet.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=fleet.name, MinSize=floor, DesiredCapacity=nodes
    )


def let_go_of_what_leaves(fleet: Deployed) -> None:
    """An instance without a node is let go by the hook's timeout, which does not pass here."""
    for one in fleet.group()["Instances"]:
        if one["LifecycleState"] == "Terminating:Wait":
            fleet.client("autoscaling").complete_lifecycle_action(
                AutoScalingGroupName=fleet.name,
                LifecycleHookName=TERMINATE_HOOK,
                InstanceId=one["InstanceId"],
                LifecycleActionResult="CONTINUE",
            )
