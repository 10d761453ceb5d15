"""What has to stand in the template: what no stand-in for AWS shows, and what calls are lost without.

Synthesised three times for the whole module: the shipped `prod`; `prod` changed; and `dev` in two regions, in one of
them as a guest.
"""

import copy
import json
import os
import re
import stat
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import cx_api
from aws_cdk.assertions import Match, Template

from infra.app import make_app
from infra.cost import joined
from infra.fleet import ENVIRONMENT_FILE, MPS_FOLDER, VOICES_FOLDER
from infra.preview.named import named_metrics
from server.fleet.lifecycle import HEARTBEAT_SECONDS, LAUNCH_HOOK, TERMINATE_HOOK
from server.settings.secrets import secret_settings
from server.settings.settings import Settings
from tests.support.balanced_fleet import TARGETS
from tests.support.cloud.target_health import TargetGroup
from tests.support.fleet_template import REPOSITORY, fleet_template, fleet_templates

ACCOUNT = "123456789012"
VPC = "vpc-0123456789abcdef0"
GROUP = "AWS::AutoScaling::AutoScalingGroup"
LAUNCH_TEMPLATE = "AWS::EC2::LaunchTemplate"
STAND_INS = ["bedrock:amazon.nova-pro-v1:0@us-west-2", "openai:m@https://models.example/v1"]
BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"
TARGET_GROUP = "AWS::ElasticLoadBalancingV2::TargetGroup"


@cache
def assembly() -> cx_api.CloudAssembly:
    """`dev` with spot, MPS and two more models in two regions: us-east-1 as a guest, facing the internet; eu-west-1
    shut in its VPC.
    """
    context = copy.deepcopy(json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"])
    dev = context["environments"]["dev"]
    dev["account"] = ACCOUNT
    dev["fleet"] |= {"spot_percent": 40}
    dev["node"] |= {"mps": True, "fallback_models": STAND_INS}
    dev["regions"] = {
        "us-east-1": {
            "network": {"vpc_id": VPC, "subnet_group": "Private"},
            "load_balancer": {"internet_facing": True},
        },
        "eu-west-1": {
            "load_balancer": {"certificate_arn": f"arn:aws:acm:eu-west-1:{ACCOUNT}:certificate/0000-0000"},
            "network": {"interface_endpoints": True, "s3_prefix_list": "pl-6da54004"},
            "node": {
                "bedrock_model": "eu.amazon.nova-lite-v1:0",
                "settings": {"VOICE_TTS_ADDRESS": "speech.internal:50051", "VOICE_TTS_VOICES": "s3://bucket/voices"},
            },
        },
    }
    lookup = f"vpc-provider:account={ACCOUNT}:filter.vpc-id={VPC}:region=us-east-1:returnAsymmetricSubnets=true"
    return make_app({**context, "env": "dev", lookup: found_vpc()}).synth()


def found_vpc() -> dict[str, Any]:
    """What the CLI finds out about a VPC with public and two kinds of private subnets in two zones."""
    kinds = {"Public": "10.9.0", "Database": "10.9.2", "Private": "10.9.1"}
    groups = [
        {
            "name": kind,
            "type": "Public" if kind == "Public" else "Private",
            "subnets": [
                {
                    "subnetId": f"subnet-{kind.lower()}-{zone}",
                    "availabilityZone": f"us-east-1{zone}",
                    "routeTableId": f"rtb-{kind.lower()}-{zone}",
                    "cidr": f"{prefix}.0/24",
                }
                for zone in "ab"
            ],
        }
        for kind, prefix in kinds.items()
    ]
    return {"vpcId": VPC, "vpcCidrBlock": "10.9.0.0/16", "availabilityZones": [], "subnetGroups": groups}


@pytest.fixture(scope="module")
def shipped() -> Template:
    """`prod` as `cdk.json` has it."""
    return Template.from_json(fleet_template())


@pytest.fixture(scope="module")
def guest() -> Template:
    """The one in a VPC that exists."""
    return in_region("us-east-1")


@pytest.fixture(scope="module")
def abroad() -> Template:
    """The one in another region."""
    return in_region("eu-west-1")


def in_region(region: str) -> Template:
    return Template.from_json(
        joined(stack.template for stack in assembly().stacks if stack.environment.region == region)
    )


@cache
def changed() -> dict[str, dict[str, Any]]:
    """`prod` once it is protected, with two zones, another language model, other alarms and no watch of a rollout."""
    context = copy.deepcopy(json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"])
    prod = context["environments"]["prod"]
    prod["production"] = True
    prod["network"] |= {"zones": ["a", "b"]}
    prod["node"] |= {"bedrock_model": "us.amazon.nova-pro-v1:0"}
    prod["alarms"] = {"utilization": 0.9}
    prod["fleet"] |= {"rollback_on_alarms": False, "root_initialization_mib": 0}
    stacks = make_app({**context, "env": "prod"}).synth().stacks
    assert all(stack.termination_protection for stack in stacks)
    return {stack.stack_name.rpartition("-")[2]: stack.template for stack in stacks}


def only(template: Template, kind: str) -> dict[str, Any]:
    (resource,) = template.find_resources(kind).values()
    return dict(resource)


# --- rollouts


def test_a_new_image_is_rolled_out_slowly_watched_by_alarms_and_rolled_back(shipped: Template) -> None:
    shipped.has_resource(
        GROUP,
        {
            "UpdatePolicy": {
                "AutoScalingInstanceRefresh": {
                    "Strategy": "Rolling",
                    "Preferences": Match.object_like(
                        {
                            "MinHealthyPercentage": 100,
                            "CheckpointPercentages": [10, 50, 100],
                            "CheckpointDelay": 600,
                            "BakeTime": 1800,
                            "ScaleInProtectedInstances": "Refresh",
                            "AlarmSpecification": {"Alarms": Match.any_value()},
                        }
                    ),
                }
            }
        },
    )
    refresh = only(shipped, GROUP)["UpdatePolicy"]["AutoScalingInstanceRefresh"]["Preferences"]
    alarms = shipped.find_resources("AWS::CloudWatch::Alarm").values()
    assert set(refresh["AlarmSpecification"]["Alarms"]) <= {alarm["Properties"].get("AlarmName") for alarm in alarms}
    assert refresh["InstanceWarmup"] == 300, "the load balancer takes minutes to take a target in"
    assert only(shipped, GROUP)["Properties"]["DefaultInstanceWarmup"] == 60


def test_a_deploy_that_repairs_what_alarms_are_red_for_does_not_watch_them() -> None:
    group = only(Template.from_json(changed()["fleet"]), GROUP)
    assert "AlarmSpecification" not in group["UpdatePolicy"]["AutoScalingInstanceRefresh"]["Preferences"]


def test_the_image_is_an_id_that_the_deploy_reads_or_nothing_could_be_rolled_back(shipped: Template) -> None:
    parameters = shipped.find_parameters("*", {"Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"})
    (name,) = parameters
    assert parameters[name]["Default"] == "/voicefleet/prod/ami"
    assert only(shipped, LAUNCH_TEMPLATE)["Properties"]["LaunchTemplateData"]["ImageId"] == {"Ref": name}
    assert "resolve:ssm" not in json.dumps(shipped.to_json())


def test_every_deploy_launches_the_latest_version_of_the_launch_template(shipped: Template) -> None:
    (name,) = shipped.find_resources(LAUNCH_TEMPLATE)
    specification = only(shipped, GROUP)["Properties"]["MixedInstancesPolicy"]["LaunchTemplate"]
    assert specification["LaunchTemplateSpecification"] == {
        "LaunchTemplateId": {"Ref": name},
        "Version": {"Fn::GetAtt": [name, "LatestVersionNumber"]},
    }


# --- a node


def test_a_node_has_tokens_for_its_metadata_and_an_encrypted_disk(shipped: Template, guest: Template) -> None:
    for template in (shipped, guest):
        template.has_resource_properties(
            LAUNCH_TEMPLATE,
            {
                "LaunchTemplateData": {
                    "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
                    "BlockDeviceMappings": [
                        {"Ebs": Match.object_like({"Encrypted": True, "VolumeType": "gp3"})},
                    ],
                    "UserData": Match.any_value(),
                }
            },
        )


def test_workers_are_told_of_mps_only_where_it_is_asked_for(shipped: Template, guest: Template) -> None:
    told = [str(only(template, LAUNCH_TEMPLATE)["Properties"]["LaunchTemplateData"]) for template in (shipped, guest)]
    assert [f"CUDA_MPS_PIPE_DIRECTORY={MPS_FOLDER}" in data for data in told] == [False, True]
    assert "CUDA_MPS" not in told[0]


def statements(template: Template) -> list[dict[str, Any]]:
    """What the node role allows by itself."""
    policies = template.find_resources("AWS::IAM::Policy")
    (policy,) = [found for name, found in policies.items() if name.startswith("NodeRole")]
    return list(policy["Properties"]["PolicyDocument"]["Statement"])


def allowed(template: Template, action: str) -> list[str]:
    """The resources for which the node role allows the action, as text."""
    found = [one for one in statements(template) if action in one["Action"]]
    assert found, action
    return [json.dumps(one["Resource"]) for one in found]


def test_a_node_may_touch_its_own_group_alone(shipped: Template) -> None:
    for action in ("CompleteLifecycleAction", "RecordLifecycleActionHeartbeat", "SetInstanceHealth"):
        (resource,) = allowed(shipped, f"autoscaling:{action}")
        assert ":autoScalingGroup:*:autoScalingGroupName/voicefleet-prod" in resource


def test_a_node_may_ask_the_configured_model_alone(shipped: Template) -> None:
    resources = allowed(shipped, "bedrock:InvokeModelWithResponseStream")
    assert len(resources) == 2
    assert ":bedrock:us-east-1:" in "".join(resources)
    for resource in resources:
        assert resource.endswith(('nova-lite-v1:0"]]}',)), resource


def test_a_node_may_ask_a_model_that_stands_in_where_that_is(guest: Template) -> None:
    resources = [text for text in allowed(guest, "bedrock:InvokeModelWithResponseStream") if "nova-pro" in text]
    (resource,) = resources
    assert ":bedrock:us-west-2::foundation-model/amazon.nova-pro-v1:0" in resource


def test_the_breaker_of_each_model_is_drawn_whoever_provides_it(guest: Template) -> None:
    named = named_metrics(guest.to_json())
    drawn = {dict(one.dimensions)["model"] for one in named if one.name == "voice_llm_breaker_state"}
    assert drawn == {"bedrock:us.amazon.nova-lite-v1:0", *STAND_INS}


def test_a_node_may_do_nothing_to_everything_but_publish_in_its_namespace_and_take_sessions(shipped: Template) -> None:
    wide = {str(one["Action"]): one.get("Condition") for one in statements(shipped) if one["Resource"] == "*"}
    publishing = {"StringEquals": {"cloudwatch:namespace": "Voicefleet"}}
    assert wide.pop("cloudwatch:PutMetricData") == publishing
    (sessions,) = wide
    assert set(re.findall(r"[\w:]+", sessions)) == {
        "ssm:UpdateInstanceInformation",
        *(f"ssmmessages:{verb}{kind}Channel" for verb in ("Create", "Open") for kind in ("Control", "Data")),
    }
    assert "*" not in "".join(str(one["Action"]) for one in statements(shipped))


def test_a_node_reads_no_parameter_of_the_account(shipped: Template) -> None:
    (role,) = [found for name, found in shipped.find_resources("AWS::IAM::Role").items() if name.startswith("NodeRole")]
    assert "ManagedPolicyArns" not in role["Properties"], "AWS's policies allow more than is named here"
    assert "GetParameter" not in json.dumps(statements(shipped))


def user_data(template: Template) -> str:
    """The script as a node gets it; what is known only at deployment stands as its name."""
    data = only(template, LAUNCH_TEMPLATE)["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    parts = data["Fn::Join"][1] if isinstance(data, dict) else [data]
    return "".join(part if isinstance(part, str) else str(next(iter(part.values()))) for part in parts)


def test_the_file_of_a_nodes_variables_is_for_root_and_the_nodes_group(shipped: Template, tmp_path: Path) -> None:
    file = tmp_path / Path(ENVIRONMENT_FILE).relative_to("/")
    script = user_data(shipped).replace(str(Path(ENVIRONMENT_FILE).parent), str(file.parent))
    script = script.replace("-g voicefleet ", f"-g {os.getgid()} ").replace("systemctl", "echo systemctl")
    assert "-g voicefleet " in user_data(shipped)
    for content in ("", "of another boot"):
        file.unlink(missing_ok=True)
        if content:
            file.write_text(content)
            file.chmod(0o644)
        done = subprocess.run(["bash", "-c", f"umask 000; {script}"], capture_output=True, text=True, check=True)
        assert "systemctl start --no-block voicefleet.target" in done.stdout
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        assert "VOICE_FLEET_GROUP=voicefleet-prod\n" in file.read_text()
        assert "another" not in file.read_text()


def test_voices_in_s3_are_for_their_own_unit_and_the_worker_reads_a_folder(abroad: Template) -> None:
    assert "VOICES_S3=s3://bucket/voices\n" in user_data(abroad)
    assert f"VOICE_TTS_VOICES={VOICES_FOLDER}\n" in user_data(abroad)


def test_nothing_secret_is_in_user_data(shipped: Template) -> None:
    names = set(re.findall(r"^VOICE_(\w+)=", user_data(shipped), re.MULTILINE))
    assert "KEYS_SECRET" in names
    assert names.isdisjoint(name.upper() for name in secret_settings(Settings))


# --- calls are not cut


def test_the_load_balancer_is_not_asked_whether_a_node_lives(shipped: Template, guest: Template) -> None:
    for template in (shipped, guest):
        template.has_resource_properties(GROUP, {"HealthCheckType": "EC2"})


def test_a_node_is_awaited_while_it_joins_and_while_it_drains(shipped: Template) -> None:
    hooks = only(shipped, GROUP)["Properties"]["LifecycleHookSpecificationList"]
    by_name = {hook["LifecycleHookName"]: hook for hook in hooks}
    assert by_name.keys() == {LAUNCH_HOOK, TERMINATE_HOOK}
    assert by_name[LAUNCH_HOOK]["DefaultResult"] == "ABANDON"
    assert by_name[TERMINATE_HOOK]["DefaultResult"] == "ABANDON"
    assert by_name[TERMINATE_HOOK]["HeartbeatTimeout"] == 1800, "longer than Auto Scaling is out of reach"
    kept = only(shipped, GROUP)["Properties"]["InstanceLifecyclePolicy"]
    assert kept == {"RetentionTriggers": {"TerminateHookAbandon": "retain"}}, "a silent node may have calls"
    for hook in hooks:
        assert hook["HeartbeatTimeout"] >= 3 * HEARTBEAT_SECONDS


def test_a_target_that_takes_no_calls_keeps_those_that_it_has_as_the_load_balancers_twin_has_it(
    shipped: Template,
) -> None:
    properties = only(shipped, TARGET_GROUP)["Properties"]
    chosen = {item["Key"]: item["Value"] for item in properties["TargetGroupAttributes"]}
    deployed = TargetGroup(
        check_interval=properties["HealthCheckIntervalSeconds"],
        healthy_threshold=properties["HealthyThresholdCount"],
        unhealthy_threshold=properties["UnhealthyThresholdCount"],
        unhealthy_termination=chosen["target_health_state.unhealthy.connection_termination.enabled"] == "true",
        unhealthy_draining_interval=int(chosen["target_health_state.unhealthy.draining_interval_seconds"]),
        deregistration_delay=int(chosen["deregistration_delay.timeout_seconds"]),
        deregistration_termination=chosen["deregistration_delay.connection_termination.enabled"] == "true",
    )
    assert deployed == TARGETS
    assert not any((deployed.unhealthy_termination, deployed.deregistration_termination))


def test_a_node_that_is_merely_full_is_healthy_to_the_load_balancer(shipped: Template) -> None:
    """Or a rollout would deregister it while it is unhealthy, and its connections might be closed."""
    assert only(shipped, TARGET_GROUP)["Properties"]["HealthCheckPath"] == "/in-service"


def test_target_tracking_only_adds_nodes_and_sees_ten_seconds(shipped: Template) -> None:
    shipped.has_resource_properties(
        "AWS::AutoScaling::ScalingPolicy",
        {
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingConfiguration": {
                "DisableScaleIn": True,
                "CustomizedMetricSpecification": Match.object_like(
                    {"MetricName": "voice_sessions_utilization_ratio", "Statistic": "Average", "Period": 10}
                ),
            },
        },
    )


def test_a_deploy_leaves_the_size_that_the_fleet_has_grown_to(shipped: Template) -> None:
    assert "DesiredCapacity" not in only(shipped, GROUP)["Properties"]


def test_spot_is_off_unless_it_is_asked_for_and_stays_above_the_floor(shipped: Template, guest: Template) -> None:
    shares = []
    for template in (shipped, guest):
        distribution = only(template, GROUP)["Properties"]["MixedInstancesPolicy"]["InstancesDistribution"]
        floor = int(only(template, GROUP)["Properties"]["MinSize"])
        assert distribution["OnDemandBaseCapacity"] == floor
        shares.append(distribution["OnDemandPercentageAboveBaseCapacity"])
    assert shares == [100, 60]


# --- what is reached from where


def test_callers_speak_tls_of_today(shipped: Template) -> None:
    shipped.has_resource_properties(
        "AWS::ElasticLoadBalancingV2::Listener",
        {"Port": 443, "Protocol": "TLS", "SslPolicy": Match.string_like_regexp("TLS13"), "Certificates": [{}]},
    )


def test_the_load_balancer_is_internal_unless_it_is_asked_to_face_the_internet(
    shipped: Template, guest: Template, abroad: Template
) -> None:
    schemes = [only(template, BALANCER)["Properties"]["Scheme"] for template in (shipped, guest, abroad)]
    assert schemes == ["internal", "internet-facing", "internal"]


def test_a_guest_makes_no_network_and_puts_nodes_in_private_subnets(guest: Template) -> None:
    for kind in ("VPC", "Subnet", "NatGateway", "InternetGateway", "VPCEndpoint", "FlowLog", "RouteTable"):
        guest.resource_count_is(f"AWS::EC2::{kind}", 0)
    guest.has_resource_properties(GROUP, {"VPCZoneIdentifier": ["subnet-private-a", "subnet-private-b"]})
    guest.has_resource_properties(BALANCER, {"Subnets": ["subnet-public-a", "subnet-public-b"]})
    guest.has_resource_properties(TARGET_GROUP, {"VpcId": VPC})


def test_nobody_reaches_a_node_but_the_load_balancer(shipped: Template, guest: Template) -> None:
    for template in (shipped, guest):
        groups = template.find_resources("AWS::EC2::SecurityGroup")
        (nodes,) = [name for name in groups if "NodeSecurityGroup" in name]
        assert "SecurityGroupIngress" not in groups[nodes]["Properties"]
        rules = [rule["Properties"] for rule in template.find_resources("AWS::EC2::SecurityGroupIngress").values()]
        into = [rule for rule in rules if rule["GroupId"]["Fn::GetAtt"][0] == nodes]
        assert {rule["FromPort"] for rule in into} == {9000, 9001}
        assert all("SourceSecurityGroupId" in rule for rule in into)


def ways_out(template: Template) -> set[tuple[str, int]]:
    """Where nodes may go: addresses or a list of addresses, each with its port."""
    groups = template.find_resources("AWS::EC2::SecurityGroup")
    (nodes,) = [name for name in groups if "NodeSecurityGroup" in name]
    rules = list(groups[nodes]["Properties"].get("SecurityGroupEgress", []))
    apart = [rule["Properties"] for rule in template.find_resources("AWS::EC2::SecurityGroupEgress").values()]
    rules += [rule for rule in apart if rule["GroupId"]["Fn::GetAtt"][0] == nodes]
    assert {rule["IpProtocol"] for rule in rules} == {"tcp"}
    assert all(rule["FromPort"] == rule["ToPort"] for rule in rules)
    return {(rule.get("CidrIp") or rule["DestinationPrefixListId"], rule["FromPort"]) for rule in rules}


def test_nodes_go_out_by_http_and_https_alone(shipped: Template, guest: Template) -> None:
    for template in (shipped, guest):
        assert ways_out(template) == {("0.0.0.0/0", 80), ("0.0.0.0/0", 443)}


def test_with_s3s_addresses_nodes_go_to_aws_alone_and_to_the_speech_workers_that_they_are_told_of(
    abroad: Template,
) -> None:
    assert ways_out(abroad) == {("10.42.0.0/16", 443), ("pl-6da54004", 443), ("0.0.0.0/0", 50051)}


# --- environments and regions


def test_one_app_makes_the_stacks_of_each_region_with_what_is_of_that_region(guest: Template, abroad: Template) -> None:
    stacks = assembly().stacks
    assert {(stack.stack_name, stack.environment.region) for stack in stacks} == {
        (f"voicefleet-dev-{part}", region) for part in fleet_templates() for region in ("us-east-1", "eu-west-1")
    }
    assert "eu-west-1" not in json.dumps(guest.to_json())
    abroad.resource_count_is("AWS::EC2::VPC", 1)
    text = json.dumps(abroad.to_json())
    assert "arn:aws:acm:eu-west-1" in text
    assert "us-east-1" not in text


def test_only_production_is_protected_from_being_deleted(guest: Template) -> None:
    production = Template.from_json(joined(changed().values()))
    deletion = {"Key": "deletion_protection.enabled", "Value": "true"}
    production.has_resource_properties(BALANCER, {"LoadBalancerAttributes": Match.array_with([deletion])})
    assert deletion not in only(guest, BALANCER)["Properties"]["LoadBalancerAttributes"]
    assert not any(stack.termination_protection for stack in assembly().stacks)
    production.has_resource("AWS::SecretsManager::Secret", {"DeletionPolicy": "RetainExceptOnCreate"})
    guest.has_resource("AWS::SecretsManager::Secret", {"DeletionPolicy": "Delete"})


def test_models_outlive_every_stack_and_stand_in_the_way_of_no_first_deploy(shipped: Template, guest: Template) -> None:
    for template in (shipped, guest, Template.from_json(joined(changed().values()))):
        buckets = template.find_resources("AWS::S3::Bucket").values()
        assert {bucket["DeletionPolicy"] for bucket in buckets} == {"RetainExceptOnCreate"}
        kept = [one["DeletionPolicy"] for one in template.to_json()["Resources"].values() if "DeletionPolicy" in one]
        assert "Retain" not in kept, "what is retained after a failed creation is in the way of the next"


def test_everything_that_takes_tags_says_whose_it_is(shipped: Template) -> None:
    for kind in (BALANCER, TARGET_GROUP, "AWS::S3::Bucket", "AWS::EC2::VPC", GROUP):
        for resource in shipped.find_resources(kind).values():
            tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
            assert tags.items() >= {"environment": "prod", "service": "voicefleet"}.items(), kind


def test_who_makes_a_template_and_with_which_credentials_changes_no_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDK_DEFAULT_ACCOUNT")
    context = json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]
    stacks = make_app({**context, "env": "prod"}).synth().stacks
    assert {stack.stack_name.rpartition("-")[2]: stack.template for stack in stacks}["network"] == fleet_templates()[
        "network"
    ]


def test_one_more_zone_changes_no_address_of_those_that_are_there(shipped: Template) -> None:
    three = shipped.find_resources("AWS::EC2::Subnet")
    two = Template.from_json(changed()["network"]).find_resources("AWS::EC2::Subnet")
    assert (len(two), len(three)) == (4, 6)
    for name, subnet in two.items():
        for key in ("CidrBlock", "AvailabilityZone"):
            assert subnet["Properties"][key] == three[name]["Properties"][key]


def test_a_guest_gives_the_load_balancer_and_the_nodes_one_subnet_in_each_zone(guest: Template) -> None:
    assert len(only(guest, BALANCER)["Properties"]["Subnets"]) == 2
    guest.has_resource_properties(GROUP, {"VPCZoneIdentifier": ["subnet-private-a", "subnet-private-b"]})


# --- stacks


def test_no_stack_locks_another_one() -> None:
    """An output that is exported can neither change nor go while another stack reads it."""
    for part, template in {**fleet_templates("dev"), **fleet_templates()}.items():
        assert "Fn::ImportValue" not in json.dumps(template)
        assert not any("Export" in output for output in template.get("Outputs", {}).values()), part


def test_stacks_read_only_of_those_before_them() -> None:
    before: set[str] = set()
    for part, template in fleet_templates().items():
        read = set(re.findall(r'"StackName": "voicefleet-prod-(\w+)", "Region"', json.dumps(template)))
        assert read <= before, part
        before.add(part)
    assert list(fleet_templates()) == ["data", "network", "observability", "fleet"]


def test_what_a_stack_refers_to_is_in_it() -> None:
    for part, template in fleet_templates().items():
        there = template["Resources"].keys() | template.get("Parameters", {}).keys()
        text = json.dumps(template)
        named = {*re.findall(r'"Ref": "(\w+)"', text), *re.findall(r'"Fn::GetAtt": \["(\w+)"', text)}
        assert named <= there, part


def test_a_change_of_alarms_or_of_what_nodes_are_told_touches_neither_keys_nor_models() -> None:
    before, after = fleet_templates()["data"], changed()["data"]
    differ = {
        name
        for name in before["Resources"]
        if {k: v for k, v in before["Resources"][name].items() if k not in ("DeletionPolicy", "UpdateReplacePolicy")}
        != {k: v for k, v in after["Resources"][name].items() if k not in ("DeletionPolicy", "UpdateReplacePolicy")}
    }
    assert differ == set()


def test_nodes_of_before_a_rollout_keep_the_right_to_ask_their_language_model() -> None:
    """What is replaced is taken away when the update has ended; what is changed, at its beginning."""
    for kind in ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::InstanceProfile"):
        before, after = (
            Template.from_json(template["fleet"]).find_resources(kind) for template in (fleet_templates(), changed())
        )
        assert before
        assert before.keys().isdisjoint(after)


def test_the_root_volume_is_filled_at_a_rate_unless_it_is_not_to_be_paid(shipped: Template) -> None:
    def rate(template: Template) -> object:
        (disk,) = only(template, LAUNCH_TEMPLATE)["Properties"]["LaunchTemplateData"]["BlockDeviceMappings"]
        return disk["Ebs"].get("VolumeInitializationRate")

    assert rate(shipped) == 300
    assert rate(Template.from_json(changed()["fleet"])) is None


# --- who is told of what


def test_the_way_back_of_a_rollout_is_told(shipped: Template) -> None:
    rules = shipped.find_resources("AWS::Events::Rule").values()
    told = {
        kind
        for rule in rules
        if "SNS" in str(rule) or len(rule["Properties"]["Targets"]) > 1
        for kind in rule["Properties"]["EventPattern"]["detail-type"]
    }
    for how in ("Failed", "Cancelled", "Rollback Started", "Rollback Failed"):
        assert f"EC2 Auto Scaling Instance Refresh {how}" in told


def test_an_xid_in_the_log_of_a_nodes_kernel_is_counted(shipped: Template) -> None:
    shipped.has_resource_properties(
        "AWS::Logs::MetricFilter",
        {"FilterPattern": '"NVRM: Xid"', "MetricTransformations": [Match.object_like({"MetricValue": "1"})]},
    )
