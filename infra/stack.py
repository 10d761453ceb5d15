"""A fleet in one region: a page of wiring. What a part is made of is in the file of its name."""

import os

import aws_cdk as cdk
from constructs import Construct

from infra.alarms import Alarms
from infra.config import Environment
from infra.dashboards import Dashboards
from infra.events import Events
from infra.fleet import Fleet
from infra.keys import Keys
from infra.load_balancer import LoadBalancer
from infra.logs import Logs
from infra.models import ModelStore
from infra.network import Network
from infra.node_role import NodeRole
from infra.scaling import Scaling


class VoicefleetStack(cdk.Stack):
    """Everything of one environment in one region."""

    def __init__(self, scope: Construct, construct_id: str, config: Environment) -> None:
        super().__init__(
            scope,
            construct_id,
            stack_name=config.fleet_name,
            description=f"Voicefleet, a real-time conversational voice server: {config.name}",
            env=cdk.Environment(account=config.account or os.environ.get("CDK_DEFAULT_ACCOUNT"), region=config.region),
            termination_protection=config.production,
            # The version rule is a parameter that only bootstrapping knows; the CLI checks the version anyway.
            synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
        )
        for name, value in {"environment": config.name, "service": "voicefleet", **config.tags}.items():
            cdk.Tags.of(self).add(name, value)

        network = Network(self, "Network", config.network)
        logs = Logs(self, "Logs", config)
        models = ModelStore(self, "Models", config, logs=logs)
        keys = Keys(self, "Keys", config)
        role = NodeRole(self, "NodeRole", config, models=models, keys=keys, logs=logs)
        balancer = LoadBalancer(self, "LoadBalancer", config, network=network, logs=logs)
        bedrock_models = sorted(config.node.bedrock_models(config.region)[config.region])
        events = Events(self, "Events", config, log=logs.events)
        alarms = Alarms(
            self,
            "Alarms",
            config.alarms,
            group_name=config.fleet_name,
            targets=balancer.targets,
            topic=events.topic,
            launch_failures=events.launch_failures,
            bedrock_models=bedrock_models,
        )
        fleet = Fleet(
            self,
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
        Scaling(self, "Scaling", config.scaling, fleet=fleet)
        Dashboards(
            self,
            "Dashboards",
            group_name=config.fleet_name,
            balancer=balancer.balancer,
            targets=balancer.targets,
            alarms=alarms,
            hourly_price=config.fleet.hourly_price,
            language_models=config.node.llm.split(","),
            bedrock_models=bedrock_models,
        )
        cdk.CfnOutput(
            self, "Address", value=balancer.address, description="Where callers come in: wss://ADDRESS/v1/realtime"
        )
        cdk.CfnOutput(self, "ModelBucket", value=models.bucket.bucket_name, description="Where models are put.")
        cdk.CfnOutput(self, "KeysSecret", value=keys.name, description="Where API keys are put.")
