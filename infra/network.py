"""Where the fleet stands: a VPC with private subnets for the nodes, and ways to AWS that avoid the internet."""

from aws_cdk import Annotations
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.config import NetworkConfig
from infra.logs import log_group

_Service = ec2.InterfaceVpcEndpointAwsService

# What a node speaks to all day. Auto Scaling is among them: without it no node joins or drains.
_ENDPOINTS = {
    "Bedrock": _Service.BEDROCK_RUNTIME,
    "CloudWatch": _Service.CLOUDWATCH_MONITORING,
    "CloudWatchLogs": _Service.CLOUDWATCH_LOGS,
    "Ssm": _Service.SSM,
    "SsmMessages": _Service.SSM_MESSAGES,
    "SecretsManager": _Service.SECRETS_MANAGER,
    "AutoScaling": _Service.AUTOSCALING,
}


class Network(Construct):
    """`vpc`: one that is made, or the one that exists. In an existing one nothing is changed.

    `ways_out` is where a node may go, each a peer with a port and a word about it. Neither the VPC's own resolver nor
    the addresses of 169.254.0.0/16 (metadata, clock) need one: AWS holds no rule against them.
    """

    vpc: ec2.IVpc
    ways_out: tuple[tuple[ec2.IPeer, ec2.Port, str], ...]

    def __init__(self, scope: Construct, construct_id: str, config: NetworkConfig) -> None:
        super().__init__(scope, construct_id)
        self.ways_out = (
            (ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS, and public sources of models"),
            (ec2.Peer.any_ipv4(), ec2.Port.tcp(80), "Ubuntu's security updates, which are signed"),
        )
        if config.vpc_id:
            self.vpc = ec2.Vpc.from_lookup(self, "Vpc", vpc_id=config.vpc_id)
        else:
            self.vpc = self._make(config)

    def _make(self, config: NetworkConfig) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(str(config.cidr)),
            max_azs=config.zones,
            nat_gateways=min(config.nat_gateways, config.zones),
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        if (found := len(vpc.availability_zones)) < config.zones:
            message = f"network.zones: {config.zones} wanted, {found} used: the account has no more there."
            Annotations.of(self).add_warning_v2("voicefleet:zones", message)
        flow_logs = log_group(self, "FlowLogs", days=config.flow_log_days)
        vpc.add_flow_log("FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(flow_logs))
        if config.interface_endpoints:
            group = ec2.SecurityGroup(
                self, "Endpoints", vpc=vpc, description="Voicefleet ways to AWS", allow_all_outbound=False
            )
            group.add_ingress_rule(ec2.Peer.ipv4(str(config.cidr)), ec2.Port.tcp(443), "everything in the VPC")
            for name, service in _ENDPOINTS.items():
                vpc.add_interface_endpoint(name, service=service, security_groups=[group], open=False)
            if config.s3_prefix_list:
                self.ways_out = (
                    (ec2.Peer.ipv4(str(config.cidr)), ec2.Port.tcp(443), "AWS by the endpoints"),
                    (ec2.Peer.prefix_list(config.s3_prefix_list), ec2.Port.tcp(443), "models in S3"),
                )
        return vpc
