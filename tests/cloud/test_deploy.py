"""`cdk deploy` of the fleet by the real CLI, and what boto3 then finds; at the end a second deploy that changes it."""

import json
from base64 import b64decode
from typing import Any

import pytest
from botocore.exceptions import ClientError

from server.fleet.lifecycle import LAUNCH_HOOK, TERMINATE_HOOK
from tests.support.cloud.account import REGION
from tests.support.cloud.deploy import ACCOUNT, Cloud
from tests.support.cloud.deployed import FIRST_IMAGE, PARTS, SECOND_IMAGE, Deployed


def by_name(items: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    return {item[key]: item for item in items}


def attributes(answer: dict[str, Any]) -> dict[str, str]:
    return {item["Key"]: item["Value"] for item in answer["Attributes"]}


@pytest.fixture
def template_data(fleet: Deployed) -> dict[str, Any]:
    """Of the version of the launch template that the group launches."""
    chosen = fleet.group()["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    found = fleet.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=chosen["LaunchTemplateId"], Versions=[chosen["Version"]]
    )
    data: dict[str, Any] = found["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data


@pytest.fixture
def balancer(fleet: Deployed) -> dict[str, Any]:
    """The only load balancer."""
    (found,) = fleet.client("elbv2").describe_load_balancers()["LoadBalancers"]
    return dict(found)


@pytest.fixture
def targets(fleet: Deployed) -> dict[str, Any]:
    """The only target group."""
    (found,) = fleet.client("elbv2").describe_target_groups()["TargetGroups"]
    return dict(found)


# --- after the first deploy


def test_the_stacks_are_complete_and_nothing_is_protected_yet(fleet: Deployed) -> None:
    for part in PARTS:
        assert fleet.stack(part)["StackStatus"] == "CREATE_COMPLETE"
        assert not fleet.stack(part)["EnableTerminationProtection"]
    assert fleet.outputs["Address"] == "voice.example.com"


def test_the_group_has_nodes_of_the_first_type_that_wait_for_their_launch_hook(fleet: Deployed) -> None:
    group = fleet.group()
    assert (group["MinSize"], group["DesiredCapacity"], group["MaxSize"]) == (2, 2, 8)
    assert group["HealthCheckType"] == "EC2"
    assert {instance["LifecycleState"] for instance in group["Instances"]} == {"Pending:Wait"}
    assert {instance["InstanceType"] for instance in group["Instances"]} == {"g5.xlarge"}
    policy = group["MixedInstancesPolicy"]
    assert policy["LaunchTemplate"]["Overrides"][0] == {"InstanceType": "g5.xlarge"}
    assert policy["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 100
    assert group["WarmPoolConfiguration"]["PoolState"] == "Stopped"
    assert {tag["Key"]: tag["Value"] for tag in group["Tags"]}["service"] == "voicefleet"


def test_nodes_stand_in_private_subnets_of_three_zones(fleet: Deployed) -> None:
    group = fleet.group()
    assert len(group["AvailabilityZones"]) == 3
    subnets = fleet.client("ec2").describe_subnets(SubnetIds=group["VPCZoneIdentifier"].split(","))["Subnets"]
    assert not any(subnet["MapPublicIpOnLaunch"] for subnet in subnets)
    tables = fleet.client("ec2").describe_route_tables()["RouteTables"]
    for subnet in subnets:
        (table,) = [
            table
            for table in tables
            if subnet["SubnetId"] in [association.get("SubnetId") for association in table["Associations"]]
        ]
        assert any("NatGatewayId" in route for route in table["Routes"])


def test_the_launch_template_has_the_image_by_its_id_and_tells_the_node_its_group(
    fleet: Deployed, template_data: dict[str, Any]
) -> None:
    assert template_data["ImageId"] == FIRST_IMAGE
    assert template_data["MetadataOptions"]["HttpTokens"] == "required"
    (disk,) = template_data["BlockDeviceMappings"]
    assert disk["Ebs"]["VolumeType"] == "gp3"
    assert disk["Ebs"]["Encrypted"] is True
    script = b64decode(template_data["UserData"]).decode()
    assert f"VOICE_FLEET_GROUP={fleet.name}\n" in script
    assert f"s3://{fleet.outputs['ModelBucket']}/models" in script


def test_hooks_hold_nodes_back_and_let_a_silent_one_go(fleet: Deployed) -> None:
    hooks = fleet.client("autoscaling").describe_lifecycle_hooks(AutoScalingGroupName=fleet.name)["LifecycleHooks"]
    found = by_name(hooks, "LifecycleHookName")
    assert found.keys() == {LAUNCH_HOOK, TERMINATE_HOOK}
    assert (found[LAUNCH_HOOK]["DefaultResult"], found[LAUNCH_HOOK]["HeartbeatTimeout"]) == ("ABANDON", 900)
    assert (found[TERMINATE_HOOK]["DefaultResult"], found[TERMINATE_HOOK]["HeartbeatTimeout"]) == ("ABANDON", 1800)


def test_the_fleet_grows_with_its_utilization_and_shrinks_by_steps_and_at_known_times(fleet: Deployed) -> None:
    autoscaling = fleet.client("autoscaling")
    policies = by_name(autoscaling.describe_policies(AutoScalingGroupName=fleet.name)["ScalingPolicies"], "PolicyType")
    tracking = policies["TargetTrackingScaling"]["TargetTrackingConfiguration"]
    assert tracking["TargetValue"] == 0.5
    assert tracking["DisableScaleIn"] is True
    metric = tracking["CustomizedMetricSpecification"]
    assert (metric["Namespace"], metric["Statistic"], metric["Period"]) == ("Voicefleet", "Average", 10)
    assert metric["Dimensions"] == [{"Name": "AutoScalingGroupName", "Value": fleet.name}]
    shrink = policies["StepScaling"]
    assert [step["ScalingAdjustment"] for step in shrink["StepAdjustments"]] == [-1]
    alarms = fleet.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (quiet,) = [alarm for alarm in alarms if alarm["AlarmActions"] == [shrink["PolicyARN"]]]
    assert quiet["ComparisonOperator"] == "LessThanThreshold"
    (planned,) = autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    assert (planned["Recurrence"], planned["MinSize"]) == ("0 7 * * *", 4)


def test_the_load_balancer_is_internal_logs_its_access_and_speaks_tls_and_tcp(
    fleet: Deployed, balancer: dict[str, Any], targets: dict[str, Any]
) -> None:
    elb = fleet.client("elbv2")
    assert (balancer["Type"], balancer["Scheme"]) == ("network", "internal")
    chosen = attributes(elb.describe_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"]))
    assert chosen["access_logs.s3.enabled"] == "true"
    fleet.client("s3").head_bucket(Bucket=chosen["access_logs.s3.bucket"])
    assert chosen["load_balancing.cross_zone.enabled"] == "true"
    assert chosen["deletion_protection.enabled"] == "false"
    listeners = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    ports = {(listener["Port"], listener["Protocol"]): listener for listener in listeners}
    assert ports.keys() == {(443, "TLS"), (9000, "TCP")}
    assert [found["CertificateArn"] for found in ports[443, "TLS"]["Certificates"]] == [fleet.certificate]
    for listener in listeners:
        assert [action["TargetGroupArn"] for action in listener["DefaultActions"]] == [targets["TargetGroupArn"]]
    plain = elb.describe_listener_attributes(ListenerArn=ports[9000, "TCP"]["ListenerArn"])
    assert attributes(plain)["tcp.idle_timeout.seconds"] == "6000"


def test_a_target_that_takes_no_calls_keeps_those_that_it_has(fleet: Deployed, targets: dict[str, Any]) -> None:
    assert (targets["Port"], targets["Protocol"]) == (9000, "TCP")
    assert (targets["HealthCheckPort"], targets["HealthCheckPath"]) == ("9001", "/in-service")
    elb = fleet.client("elbv2")
    chosen = attributes(elb.describe_target_group_attributes(TargetGroupArn=targets["TargetGroupArn"]))
    assert chosen["target_health_state.unhealthy.connection_termination.enabled"] == "false"
    assert chosen["target_health_state.unhealthy.draining_interval_seconds"] == "360000"
    assert chosen["deregistration_delay.connection_termination.enabled"] == "false"
    assert chosen["deregistration_delay.timeout_seconds"] == "300"
    assert fleet.group()["TargetGroupARNs"] == [targets["TargetGroupArn"]]


def test_nodes_are_reached_by_the_load_balancer_only(
    fleet: Deployed, balancer: dict[str, Any], template_data: dict[str, Any]
) -> None:
    groups = by_name(fleet.client("ec2").describe_security_groups()["SecurityGroups"], "GroupId")
    (own,) = balancer["SecurityGroups"]
    (nodes,) = template_data["SecurityGroupIds"]
    for group, way, peer in ((nodes, "IpPermissions", own), (own, "IpPermissionsEgress", nodes)):
        rules = groups[group][way]
        assert {rule["FromPort"] for rule in rules} == {9000, 9001}
        assert {pair["GroupId"] for rule in rules for pair in rule["UserIdGroupPairs"]} == {peer}
        assert not any(rule["IpRanges"] for rule in rules)
    callers = {
        (rule["FromPort"], block["CidrIp"]) for rule in groups[own]["IpPermissions"] for block in rule["IpRanges"]
    }
    private = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    assert callers == {(port, block) for port in (443, 9000) for block in private}


def test_nodes_reach_the_ports_that_they_use_and_no_other(fleet: Deployed, template_data: dict[str, Any]) -> None:
    (group,) = fleet.client("ec2").describe_security_groups(GroupIds=template_data["SecurityGroupIds"])[
        "SecurityGroups"
    ]
    out = {(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in group["IpPermissionsEgress"]}
    assert out == {("tcp", 80, 80), ("tcp", 443, 443)}


def test_the_network_reaches_aws_by_itself_and_logs_its_flows(fleet: Deployed, balancer: dict[str, Any]) -> None:
    ec2 = fleet.client("ec2")
    vpc = balancer["VpcId"]
    for attribute, key in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
        assert ec2.describe_vpc_attribute(VpcId=vpc, Attribute=attribute)[key]["Value"] is True
    endpoints = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["VpcEndpoints"]
    services = {(endpoint["VpcEndpointType"], endpoint["ServiceName"].split(".")[-1]) for endpoint in endpoints}
    assert ("Gateway", "s3") in services
    for service in ("autoscaling", "bedrock-runtime", "logs", "monitoring", "secretsmanager", "ssm", "ssmmessages"):
        assert ("Interface", service) in services
    (flow,) = ec2.describe_flow_logs()["FlowLogs"]
    assert (flow["ResourceId"], flow["TrafficType"]) == (vpc, "ALL")
    groups = by_name(fleet.client("logs").describe_log_groups()["logGroups"], "logGroupName")
    assert groups[flow["LogGroupName"]]["retentionInDays"] == 30


def test_buckets_are_closed_encrypted_and_take_only_tls(fleet: Deployed) -> None:
    s3 = fleet.client("s3")
    names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if bucket["Name"].startswith(fleet.name)]
    assert len(names) == 2
    for name in names:
        assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
        assert s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
        policy = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])
        denied = [statement for statement in policy["Statement"] if statement["Effect"] == "Deny"]
        assert [statement["Condition"] for statement in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]
    models = fleet.outputs["ModelBucket"]
    assert s3.get_bucket_versioning(Bucket=models)["Status"] == "Enabled"
    assert s3.get_bucket_logging(Bucket=models)["LoggingEnabled"]["TargetBucket"] in names


def test_the_secret_of_tokens_is_made_and_api_keys_are_left_to_the_operator(fleet: Deployed) -> None:
    value = json.loads(
        fleet.client("secretsmanager").get_secret_value(SecretId=fleet.outputs["KeysSecret"])["SecretString"]
    )
    assert value["api_keys"] == ""
    assert len(value["token_secret"]) == 64


def test_a_node_may_act_on_its_own_group_only(fleet: Deployed, template_data: dict[str, Any]) -> None:
    iam = fleet.client("iam")
    profile = template_data["IamInstanceProfile"]["Arn"].rpartition("/")[2]
    (role,) = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    assert iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"] == []
    (name,) = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
    statements = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]["Statement"]
    (own,) = [statement for statement in statements if "autoscaling:CompleteLifecycleAction" in statement["Action"]]
    groups = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName"
    assert own["Resource"] == f"{groups}/{fleet.name}"


def test_people_are_told_of_alarms_and_of_failed_rollouts(fleet: Deployed) -> None:
    sns = fleet.client("sns")
    (topic,) = [found["TopicArn"] for found in sns.list_topics()["Topics"]]
    (subscribed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscribed["Protocol"], subscribed["Endpoint"]) == ("email", "oncall@example.com")
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert {"Bool": {"aws:SecureTransport": "false"}} in [s.get("Condition") for s in policy["Statement"]]
    composites = fleet.client("cloudwatch").describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert composites
    for alarm in composites:
        assert (alarm["AlarmActions"], alarm["ActionsEnabled"]) == ([topic], True)
    events = fleet.client("events")
    rules = [rule["Name"] for rule in events.list_rules()["Rules"]]
    told = [target["Arn"] for rule in rules for target in events.list_targets_by_rule(Rule=rule)["Targets"]]
    assert topic in told
    logged = [arn for arn in told if ":log-group:" in arn]
    assert len(logged) == len(rules)
    (policy,) = fleet.client("logs").describe_resource_policies()["resourcePolicies"]
    assert "events.amazonaws.com" in policy["policyDocument"]


def test_every_dashboard_is_there_and_knows_the_load_balancer_as_it_was_made(
    fleet: Deployed, targets: dict[str, Any]
) -> None:
    cloudwatch = fleet.client("cloudwatch")
    names = [entry["DashboardName"] for entry in cloudwatch.list_dashboards()["DashboardEntries"]]
    bodies = {name: cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"] for name in names}
    assert len(bodies) == 6
    assert all(json.loads(body)["widgets"] for body in bodies.values())
    assert [name for name, body in bodies.items() if "Fn::" in body or "${Token" in body] == []
    assert targets["TargetGroupArn"].rpartition(":")[2] in "".join(bodies.values())


def test_the_name_leads_to_the_load_balancer(fleet: Deployed, balancer: dict[str, Any]) -> None:
    records = fleet.client("route53").list_resource_record_sets(HostedZoneId=fleet.zone)["ResourceRecordSets"]
    alias = by_name(records, "Name")["voice.example.com."]
    assert alias["Type"] == "A"
    assert alias["AliasTarget"]["DNSName"].rstrip(".").endswith(balancer["DNSName"])


# --- what the stand-in for AWS must not do: accept in silence what it does not know


@pytest.mark.parametrize(
    ("resource", "complaint"),
    [
        ({"Type": "AWS::SQS::Queue"}, "AWS::SQS::Queue"),
        ({"Type": "Custom::Anything", "Properties": {"ServiceToken": "x"}}, "Custom::Anything"),
        ({"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Fn::Cidr": ["10.0.0.0/16", 1, 1]}}}, "Fn::Cidr"),
        ({"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16", "Colour": "red"}}, "Colour"),
        ({"Type": "AWS::S3::Bucket", "Properties": {"WebsiteConfiguration": {}}}, "WebsiteConfiguration"),
    ],
)
def test_what_the_stand_in_does_not_know_fails_the_deploy(
    cloud: Cloud, resource: dict[str, Any], complaint: str
) -> None:
    template = json.dumps({"Resources": {"One": resource}})
    with pytest.raises(ClientError, match=complaint) as refused:
        cloud.client("cloudformation").create_stack(
            StackName=f"unknown-{complaint.replace(':', '')}", TemplateBody=template
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


# --- the second deploy


@pytest.fixture(scope="module")
def before(fleet: Deployed) -> dict[str, Any]:
    """What was there before the second deploy, which then changes it."""
    secret = fleet.client("secretsmanager")
    found = {
        "group": fleet.group(),
        "secret": secret.get_secret_value(SecretId=fleet.outputs["KeysSecret"])["SecretString"],
        "resources": resources(fleet),
    }
    fleet.environment["production"] = True
    fleet.environment["fleet"] |= {"max_nodes": 12, "drain_seconds": 3000, "drain_heartbeat_seconds": 1200}
    fleet.environment["scaling"] = {
        "target_utilization": 0.6,
        "schedule": [{"name": "evening", "cron": "0 19 * * *", "min_nodes": 3}],
    }
    fleet.environment["alarms"] = {"utilization": 0.9}
    fleet.environment["network"] |= {"s3_prefix_list": "pl-63a5400a"}
    fleet.environment["notify"] = ["oncall@example.com", "second@example.com"]
    fleet.environment["load_balancer"] |= {"tls_clients": ["10.0.0.0/8", "100.64.0.0/10"]}
    fleet.put_image(SECOND_IMAGE)
    fleet.deploy("--method", "direct")
    return found


def resources(fleet: Deployed) -> dict[str, str]:
    found = [
        resource
        for part in PARTS
        for resource in fleet.client("cloudformation").describe_stack_resources(StackName=f"{fleet.name}-{part}")[
            "StackResources"
        ]
    ]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}


def instances(group: dict[str, Any]) -> set[str]:
    return {one["InstanceId"] for one in group["Instances"]}


Before = dict[str, Any]


def test_an_update_replaces_nothing_that_lives(fleet: Deployed, before: Before) -> None:
    now = resources(fleet)
    replaced = {name for name, there in before["resources"].items() if now.get(name, there) != there}
    assert replaced == set()
    assert instances(fleet.group()) == instances(before["group"])
    secret = fleet.client("secretsmanager").get_secret_value(SecretId=fleet.outputs["KeysSecret"])
    assert secret["SecretString"] == before["secret"]


def test_an_update_gives_the_group_the_new_image_in_a_new_version(
    fleet: Deployed, before: Before, template_data: dict[str, Any]
) -> None:
    assert template_data["ImageId"] == SECOND_IMAGE
    assert "VOICE_DRAIN_SECONDS=3000\n" in b64decode(template_data["UserData"]).decode()
    assert fleet.group()["MaxSize"] == 12


def test_an_update_reaches_hooks_policies_and_planned_sizes(fleet: Deployed, before: Before) -> None:
    autoscaling = fleet.client("autoscaling")
    hooks = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=fleet.name)["LifecycleHooks"]
    assert by_name(hooks, "LifecycleHookName")[TERMINATE_HOOK]["HeartbeatTimeout"] == 1200
    policies = autoscaling.describe_policies(AutoScalingGroupName=fleet.name)["ScalingPolicies"]
    assert len(policies) == 2
    tracking = by_name(policies, "PolicyType")["TargetTrackingScaling"]
    assert tracking["TargetTrackingConfiguration"]["TargetValue"] == 0.6
    (planned,) = autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    assert (planned["Recurrence"], planned["MinSize"]) == ("0 19 * * *", 3)


def test_an_update_reaches_the_load_balancer_and_its_rules(
    fleet: Deployed, before: Before, balancer: dict[str, Any], targets: dict[str, Any]
) -> None:
    elb = fleet.client("elbv2")
    chosen = attributes(elb.describe_target_group_attributes(TargetGroupArn=targets["TargetGroupArn"]))
    assert chosen["deregistration_delay.timeout_seconds"] == "300"
    kept = attributes(elb.describe_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"]))
    assert kept["deletion_protection.enabled"] == "true"
    groups = fleet.client("ec2").describe_security_groups(GroupIds=balancer["SecurityGroups"])["SecurityGroups"]
    blocks = {
        block["CidrIp"] for rule in groups[0]["IpPermissions"] if rule["FromPort"] == 443 for block in rule["IpRanges"]
    }
    assert blocks == {"10.0.0.0/8", "100.64.0.0/10"}


def test_an_update_shuts_nodes_in(fleet: Deployed, before: Before, template_data: dict[str, Any]) -> None:
    (group,) = fleet.client("ec2").describe_security_groups(GroupIds=template_data["SecurityGroupIds"])[
        "SecurityGroups"
    ]
    rules = group["IpPermissionsEgress"]
    assert {rule["FromPort"] for rule in rules} == {443}
    assert [block["CidrIp"] for rule in rules for block in rule["IpRanges"]] == ["10.42.0.0/16"]
    assert [entry["PrefixListId"] for rule in rules for entry in rule["PrefixListIds"]] == ["pl-63a5400a"]


def test_an_update_reaches_alarms_and_whom_they_tell(fleet: Deployed, before: Before) -> None:
    alarms = by_name(fleet.client("cloudwatch").describe_alarms()["MetricAlarms"], "AlarmName")
    assert alarms[f"{fleet.name}-utilization-high"]["Threshold"] == 0.9
    subscribed = fleet.client("sns").list_subscriptions()["Subscriptions"]
    assert {found["Endpoint"] for found in subscribed} == {"oncall@example.com", "second@example.com"}
