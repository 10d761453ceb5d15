"""A fleet in one region: a page of wiring. What a part is made of is in the file of its name.

Four stacks, so that a rollout, which locks the last of them for hours, locks no alarm, no key and no way in. Each reads
of those before it, never of one after it.
"""

import aws_cdk as cdk

from infra.alarms import Alarms
from infra.config import Environment
from infra.dashboards import Dashboards
from infra.events import Events
from infra.fleet import Fleet
from infra.keys import Keys
from infra.load_balancer import LoadBalancer
from infra.logs import Logs
from infra.metrics import BalancerMetrics
from infra.models import ModelStore
from infra.network import Network
from infra.node_role import NodeRole
from infra.scaling import Scaling


def fleet_in_stacks(app: cdk.App, config: Environment) -> None:
    """The stacks of one environment in one region: data, network, observability, fleet."""
    data = _stack(app, config, "data", "models, keys, logs")
    logs = Logs(data, "Logs", config)
    models = ModelStore(data, "Models", config, logs=logs)
    keys = Keys(data, "Keys", config)
    _output(data, "KeysSecret", keys.name, "Where API keys are put.")

    below = _stack(app, config, "network", "where nodes stand, and how callers come in")
    network = Network(below, "Network", config)
    balancer = LoadBalancer(below, "LoadBalancer", config, network=network, logs=logs)
    _output(below, "Address", balancer.address, "Where callers come in: wss://ADDRESS/v1/realtime")

    flows = BalancerMetrics(balancer.balancer.load_balancer_full_name, balancer.targets.target_group_full_name)

    watch = _stack(app, config, "observability", "alarms, dashboards, events")
    bedrock_models = sorted(config.node.bedrock_models(config.region)[config.region])
    events = Events(watch, "Events", config, log=logs.events)
    alarms = Alarms(
        watch,
        "Alarms",
        config.alarms,
        group_name=config.fleet_name,
        balancer=flows,
        topic=events.topic,
        launch_failures=events.launch_failures,
        bedrock_models=bedrock_models,
        nodes_log=logs.nodes,
    )
    Dashboards(
        watch,
        "Dashboards",
        group_name=config.fleet_name,
        balancer=flows,
        alarms=alarms,
        hourly_price=config.fleet.hourly_price,
        language_models=config.node.llm.split(","),
        bedrock_models=bedrock_models,
    )

    nodes = _stack(app, config, "fleet", "the nodes")
    # Not for its alarms' names alone: who is told of a failed launch has to be there before the first one.
    nodes.add_stack_dependency(watch)
    role = NodeRole(nodes, "NodeRole", config, models=models, keys=keys, logs=logs)
    fleet = Fleet(
        nodes,
        "Fleet",
        config,
        network=network,
        balancer=balancer,
        role=role,
        models=models,
        keys=keys,
        logs=logs,
        rollback_alarms=alarms.rollback,
    )
    Scaling(nodes, "Scaling", config.scaling, fleet=fleet)


def _stack(app: cdk.App, config: Environment, part: str, holds: str) -> cdk.Stack:
    """A stack of the fleet, called FLEET-PART in its region."""
    stack = cdk.Stack(
        app,
        f"{config.fleet_name}-{config.region}-{part}",
        stack_name=f"{config.fleet_name}-{part}",
        description=f"Voicefleet, a real-time conversational voice server: {config.name}, {holds}",
        env=cdk.Environment(account=config.account or None, region=config.region),
        termination_protection=config.production,
        # The version rule is a parameter that only bootstrapping knows; the CLI checks the version anyway.
        synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
    )
    if config.account:  # otherwise the CDK asks it which zones it has, and a template would depend on who makes it
        stack.node.set_context(f"availability-zones:account={config.account}:region={config.region}", config.zones)
    for name, value in {"environment": config.name, "service": "voicefleet", **config.tags}.items():
        cdk.Tags.of(stack).add(name, value)
    return stack


def _output(stack: cdk.Stack, name: str, value: str, description: str) -> None:
    cdk.CfnOutput(stack, name, value=value, description=description)
