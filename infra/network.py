"""Where the fleet stands: a VPC with private subnets for the nodes, and ways to AWS that avoid the internet."""

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.config import Environment, NetworkConfig
from infra.config.network import MOST_ZONES
from infra.logs import log_group

# What a node speaks to all day. Auto Scaling is among them: without it no node joins or drains.
ENDPOINTS = {
    "Bedrock": "bedrock-runtime",
    "CloudWatch": "monitoring",
    "CloudWatchLogs": "logs",
    "Ssm": "ssm",
    "SsmMessages": "ssmmessages",
    "SecretsManager": "secretsmanager",
    "AutoScaling": "autoscaling",
}


class Network(Construct):
    """`vpc`: one that is made, or the one that exists. In an existing one nothing is changed.

    `for_nodes` is the private subnets, one in each zone: a load balancer takes no more, and an existing VPC may have.
    `ways_out` is where a node may go, each a peer with a port and a word about it. Neither the VPC's own resolver nor
    the addresses of 169.254.0.0/16 (metadata, clock) need one: AWS holds no rule against them.
    """

    vpc: ec2.IVpc
    ways_out: tuple[tuple[ec2.IPeer, ec2.Port, str], ...]

    def __init__(self, scope: Construct, construct_id: str, environment: Environment) -> None:
        super().__init__(scope, construct_id)
        config = environment.network
        self.ways_out = (
            (ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS, and public sources of models"),
            (ec2.Peer.any_ipv4(), ec2.Port.tcp(80), "Ubuntu's security updates, which are signed"),
        )
        if config.vpc_id:
            self.vpc = ec2.Vpc.from_lookup(self, "Vpc", vpc_id=config.vpc_id)
        else:
            self.vpc = self._make(config, environment.zones)
        self.for_nodes = (
            ec2.SubnetSelection(one_per_az=True, subnet_group_name=config.subnet_group)
            if config.subnet_group
            else ec2.SubnetSelection(one_per_az=True, subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
        )

    def _make(self, config: NetworkConfig, zones: list[str]) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(str(config.cidr)),
            availability_zones=zones,
            reserved_azs=MOST_ZONES - len(zones),  # or one more zone would get addresses that others have
            nat_gateways=min(config.nat_gateways, len(zones)),
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        flow_logs = log_group(self, "FlowLogs", days=config.flow_log_days)
        vpc.add_flow_log("FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(flow_logs))
        if config.interface_endpoints:
            group = ec2.SecurityGroup(
                self, "Endpoints", vpc=vpc, description="Voicefleet ways to AWS", allow_all_outbound=False
            )
            group.add_ingress_rule(ec2.Peer.ipv4(str(config.cidr)), ec2.Port.tcp(443), "everything in the VPC")
            for name, word in ENDPOINTS.items():
                service = ec2.InterfaceVpcEndpointAwsService(word)
                vpc.add_interface_endpoint(name, service=service, security_groups=[group], open=False)
            if config.s3_prefix_list:
                self.ways_out = (
                    (ec2.Peer.ipv4(str(config.cidr)), ec2.Port.tcp(443), "AWS by the endpoints"),
                    (ec2.Peer.prefix_list(config.s3_prefix_list), ec2.Port.tcp(443), "models in S3"),
                )
        return vpc
