"""How callers come in: one Network Load Balancer, one target group, and the rules of who reaches what.

It never cuts a call. A node that is broken or draining answers 503 on /in-service, gets no new calls and keeps its own.
One that is merely full stays healthy and refuses at the handshake: a target that is deregistered while it is unhealthy
may lose its connections, and a rollout deregisters full nodes.
"""

from aws_cdk import Duration
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as route53_targets
from constructs import Construct

from infra.config import Environment
from infra.logs import Logs
from infra.network import Network

TLS_PORT = 443
WEBSOCKET_PORT = 9000
HTTP_PORT = 9001
_LONGEST_IDLE = Duration.seconds(6000)  # of a TCP listener; the TLS one has 350 s, fixed. Nodes ping every 20 s.
# A node that Auto Scaling takes out waits for so long, idle or not, before its hook holds it while its calls go on. The
# connections of a target that has been deregistered go on too, as their termination is off.
_DEREGISTRATION = Duration.seconds(300)
_LONGEST_UNHEALTHY_SECONDS = 360_000  # for which AWS keeps the connections of an unhealthy target, at most


class LoadBalancer(Construct):
    """`balancer`, its `targets`, `nodes` (the security group of what it reaches) and the `address` for callers."""

    def __init__(
        self, scope: Construct, construct_id: str, config: Environment, *, network: Network, logs: Logs
    ) -> None:
        super().__init__(scope, construct_id)
        options = config.load_balancer
        own = ec2.SecurityGroup(
            self, "SecurityGroup", vpc=network.vpc, description="Voicefleet load balancer", allow_all_outbound=False
        )
        self.nodes = ec2.SecurityGroup(
            self, "NodeSecurityGroup", vpc=network.vpc, description="Voicefleet nodes", allow_all_outbound=False
        )
        for peer, way, purpose in network.ways_out:
            self.nodes.add_egress_rule(peer, way, purpose)
        for port in config.node.speech_ports:
            self.nodes.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), "speech workers on other machines")
        for port, clients in ((TLS_PORT, options.tls_clients), (WEBSOCKET_PORT, options.plain_clients)):
            for client in clients:
                own.add_ingress_rule(ec2.Peer.ipv4(str(client)), ec2.Port.tcp(port), f"callers on {port}")
        for port in (WEBSOCKET_PORT, HTTP_PORT):
            own.add_egress_rule(self.nodes, ec2.Port.tcp(port), f"nodes on {port}")
            self.nodes.add_ingress_rule(own, ec2.Port.tcp(port), f"load balancer on {port}")

        self.balancer = elb.NetworkLoadBalancer(
            self,
            "Balancer",
            vpc=network.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC, one_per_az=True)
            if options.internet_facing
            else network.for_nodes,
            internet_facing=options.internet_facing,
            cross_zone_enabled=True,
            deletion_protection=config.production,
            security_groups=[own],
        )
        self.balancer.log_access_logs(logs.access, "load-balancer")
        self.targets = self._target_group(network)
        self.balancer.add_listener(
            "Tls",
            port=TLS_PORT,
            protocol=elb.Protocol.TLS,
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            certificates=[acm.Certificate.from_certificate_arn(self, "Certificate", options.certificate_arn)],
            default_target_groups=[self.targets],
        )
        self.balancer.add_listener(
            "Tcp",
            port=WEBSOCKET_PORT,
            protocol=elb.Protocol.TCP,
            tcp_idle_timeout=_LONGEST_IDLE,
            default_target_groups=[self.targets],
        )
        self.address = options.domain_name or self.balancer.load_balancer_dns_name
        if options.domain_name:
            self._name(options.domain_name, options.hosted_zone_id)

    def _target_group(self, network: Network) -> elb.NetworkTargetGroup:
        group = elb.NetworkTargetGroup(
            self,
            "Targets",
            vpc=network.vpc,
            port=WEBSOCKET_PORT,
            protocol=elb.Protocol.TCP,
            target_type=elb.TargetType.INSTANCE,
            connection_termination=False,
            deregistration_delay=_DEREGISTRATION,
            preserve_client_ip=False,  # a caller inside the VPC may be a node's neighbour, or the node itself
            health_check=elb.HealthCheck(
                protocol=elb.Protocol.HTTP,
                port=str(HTTP_PORT),
                path="/in-service",
                interval=Duration.seconds(10),
                timeout=Duration.seconds(5),
                healthy_threshold_count=2,
                unhealthy_threshold_count=2,
            ),
        )
        # By default connections to a target are cut when it turns unhealthy, which for us means draining too.
        group.set_attribute("target_health_state.unhealthy.connection_termination.enabled", "false")
        seconds = str(_LONGEST_UNHEALTHY_SECONDS)
        group.set_attribute("target_health_state.unhealthy.draining_interval_seconds", seconds)
        return group

    def _name(self, domain_name: str, hosted_zone_id: str) -> None:
        zone = route53.HostedZone.from_hosted_zone_attributes(
            self, "Zone", hosted_zone_id=hosted_zone_id, zone_name=domain_name.partition(".")[2]
        )
        route53.ARecord(
            self,
            "Name",
            zone=zone,
            record_name=domain_name,
            target=route53.RecordTarget.from_alias(route53_targets.LoadBalancerTarget(self.balancer)),
        )
