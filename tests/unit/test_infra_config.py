"""The options of an environment: every wrong value is refused by name, before anything is synthesised."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from infra.bedrock import can_be_asked
from infra.config import ConfigError, Environment, load_environments
from server.settings.secrets import secret_settings
from server.settings.settings import Settings

CDK_JSON = json.loads((Path(__file__).parents[2] / "cdk.json").read_text(encoding="utf-8"))
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"


def environments(**options: Any) -> dict[str, Any]:
    """An environment `test` with these options over those that it can't do without."""
    least: dict[str, Any] = {
        "regions": {"us-east-1": {}},
        "load_balancer": {"certificate_arn": CERTIFICATE},
        "fleet": {"ami_parameter": "/voicefleet/test/ami"},
    }
    test = copy.deepcopy(least)
    for part, values in options.items():
        test[part] = {**least[part], **values} if part in ("load_balancer", "fleet") else values
    return {"test": test}


def load(**options: Any) -> Environment:
    (environment,) = load_environments(environments(**options), "test")
    return environment


@pytest.mark.parametrize("name", CDK_JSON["context"]["environments"])
def test_the_environments_that_are_shipped_are_right(name: str) -> None:
    assert [e.name for e in load_environments(CDK_JSON["context"]["environments"], name)] == [name]


def test_little_has_to_be_said() -> None:
    environment = load()

    assert environment.fleet_name == "voicefleet-test"
    assert environment.fleet.spot_percent == 0
    assert not environment.load_balancer.internet_facing
    assert not environment.node.mps


def test_models_that_stand_in_are_used_where_they_are() -> None:
    node = load(
        node={"fallback_models": ["bedrock:us.amazon.nova-pro-v1:0@us-west-2", "openai:m@https://models.example/v1"]}
    ).node
    assert node.llm == (
        "bedrock:us.amazon.nova-lite-v1:0,bedrock:us.amazon.nova-pro-v1:0@us-west-2,openai:m@https://models.example/v1"
    )
    assert node.bedrock_models("us-east-1") == {
        "us-east-1": {"us.amazon.nova-lite-v1:0"},
        "us-west-2": {"us.amazon.nova-pro-v1:0"},
    }


@pytest.mark.parametrize(
    ("models", "wrong"),
    [
        (["nova"], "fallback_models: got"),
        (["bedrock:us.amazon.nova-lite-v1:0"], "each of them once"),
        (["openai:m@https://anna:tulip@models.example/v1"], "a user name or password"),
    ],
)
def test_a_model_that_can_not_stand_in_is_refused(models: list[str], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong) as refused:
        load(node={"fallback_models": models})
    assert "tulip" not in str(refused.value)


def test_a_region_differs_in_what_it_says_and_in_nothing_else() -> None:
    other = CERTIFICATE.replace("us-east-1", "eu-west-1")
    given = environments(
        fleet={"min_nodes": 3},
        regions={
            "us-east-1": {},
            "eu-west-1": {
                "load_balancer": {"certificate_arn": other},
                "fleet": {"max_nodes": 5},
                "node": {"bedrock_model": "eu.amazon.nova-lite-v1:0"},
            },
        },
    )

    america, europe = load_environments(given, "test")

    assert (america.region, europe.region) == ("us-east-1", "eu-west-1")
    assert (america.fleet.min_nodes, europe.fleet.min_nodes) == (3, 3)
    assert (america.fleet.max_nodes, europe.fleet.max_nodes) == (8, 5)
    assert (america.load_balancer.certificate_arn, europe.load_balancer.certificate_arn) == (CERTIFICATE, other)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"fleets": {}}, "fleets: no such option"),
        ({"fleet": {"min_node": 2}}, "fleet.min_node: no such option"),
        ({"load_balancer": {"certificate_arn": "mine"}}, "load_balancer.certificate_arn: got 'mine'"),
        ({"load_balancer": {"domain_name": "voice.example.com"}}, "domain_name and hosted_zone_id go together"),
        ({"load_balancer": {"plain_clients": ["0.0.0.0/0"]}}, "takes private networks"),
        ({"network": {"vpc_id": "mine"}}, "network.vpc_id: got 'mine'"),
        ({"network": {"zones": ["a"]}}, r"network.zones: got \['a'\]; Tuple should have at least 2 items"),
        ({"network": {"zones": ["a", "b", "a"]}}, "network.zones: .* takes each zone once"),
        ({"network": {"zones": ["us-east-1a", "b"]}}, "network.zones.0: got 'us-east-1a'"),
        ({"network": {"subnet_group": "Nodes"}}, "subnet_group: takes a VPC that exists, vpc_id"),
        ({"network": {"s3_prefix_list": "pl-1"}}, "network.s3_prefix_list: got 'pl-1'"),
        (
            {"network": {"s3_prefix_list": "pl-63a5400a", "interface_endpoints": False}},
            "s3_prefix_list: takes a VPC that is made, with interface_endpoints",
        ),
        (
            {"network": {"s3_prefix_list": "pl-63a5400a", "vpc_id": "vpc-0123456789abcdef0"}},
            "s3_prefix_list: takes a VPC that is made, with interface_endpoints",
        ),
        ({"fleet": {"instance_types": ["p4d.24xlarge"]}}, "fleet.instance_types.0: got 'p4d.24xlarge'"),
        ({"fleet": {"instance_types": ["g5.12xlarge"]}}, "fleet.instance_types.0: got 'g5.12xlarge'"),  # four GPUs
        ({"fleet": {"min_nodes": 9}}, "min_nodes: got 9; takes at most max_nodes, 8"),
        (
            {"fleet": {"drain_seconds": 36_000, "drain_heartbeat_seconds": 300}},
            "drain_seconds: got 36000; takes at most 30000",
        ),
        ({"fleet": {"drain_seconds": 18_000}}, "rollout of max_nodes may take 44 h; .* at most 36 h"),
        ({"fleet": {"max_nodes": 19}}, "rollout of max_nodes may take 45 h"),
        ({"fleet": {"drain_heartbeat_seconds": 60}}, "fleet.drain_heartbeat_seconds: got 60"),
        ({"fleet": {"checkpoints": [50, 20]}}, "takes rising percentages of which the last is 100"),
        ({"fleet": {"checkpoints": []}}, "takes rising percentages of which the last is 100"),
        ({"scaling": {"scale_in_below": 0.5}}, "scale_in_below: got 0.5; takes less than target_utilization, 0.5"),
        ({"scaling": {"schedule": [{"name": "open", "cron": "at 8", "min_nodes": 4}]}}, "scaling.schedule.0.cron"),
        (
            {"scaling": {"schedule": [{"name": "open", "cron": "0 8 * * *", "min_nodes": 9}]}},
            "scaling.schedule, open: got min_nodes 9; takes at most 8, fleet.max_nodes",
        ),
        (
            {"scaling": {"schedule": [{"name": "open", "cron": "0 8 * * *", "min_nodes": 4, "max_nodes": 3}]}},
            "min_nodes: got 4; takes at most max_nodes, 3",
        ),
        ({"regions": {"eu-west-1": {}}}, "certificate_arn: got one of us-east-1; takes one of eu-west-1"),
        ({"account": "210987654321"}, "certificate_arn: got one of account 123456789012; .* goes to, 210987654321"),
        (
            {"node": {"bedrock_model": "eu.amazon.nova-lite-v1:0"}},
            r"test \(us-east-1\): node: Bedrock has eu.amazon.nova-lite-v1:0 in other regions, not in us-east-1",
        ),
        ({"node": {"mps": "server"}}, "node.mps: got 'server'"),
        ({"node": {"settings": {"CUDA_MPS_PIPE_DIRECTORY": "/tmp/mps"}}}, r"takes VOICE_\* variables"),
        ({"node": {"settings": {"VOICE_TSS": "x"}}}, r"takes VOICE_\* variables of docs/settings.md"),
        ({"node": {"settings": {"VOICE_MAX_SESSIONS": "9"}}}, "that the stacks do not set"),
        ({"node": {"settings": {"VOICE_TTS": "x"}}}, "VOICE_TTS: got 'x'; takes 'hibari' or 'chatterbox'"),
        ({"alarms": {"no_such": 1}}, "alarms.no_such: no such option"),
        ({"notify": ["nobody"]}, "notify.0: got 'nobody'"),
        ({"log_days": 31}, "log_days: got 31"),
        ({"account": "1"}, "account: got '1'"),
        ({"regions": {}}, "test.regions: got {}; takes a region or more"),
        ({"regions": {"us-east-1": None}}, "test.regions.us-east-1: got None; takes options by name, in braces"),
        ({"network": "vpc-1"}, r"network: got 'vpc-1'; takes options by name, in braces$"),
        ({"scaling": {"schedule": [5]}}, r"scaling.schedule.0: got 5; takes options by name, in braces$"),
        ({"notify": "me@example.com"}, "notify: got 'me@example.com'; takes a list, in brackets"),
        ({"node": {"settings": {"VOICE_STT_MODEL": "hibari-heart"}}}, "VOICE_STT_MODEL: got 'hibari-heart'; takes"),
        ({"regions": {"moon": {}}}, "region: got 'moon'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(**options)


def test_an_environment_that_names_no_account_goes_to_that_of_the_credentials() -> None:
    (environment,) = load_environments(environments(), "test", "123456789012")
    assert environment.account == "123456789012"
    with pytest.raises(ConfigError, match="takes one of the account that the fleet goes to, 210987654321"):
        load_environments(environments(), "test", "210987654321")


@pytest.mark.parametrize(
    ("name", "region", "there"),
    [
        ("us.amazon.nova-lite-v1:0", "us-west-2", True),
        ("us.amazon.nova-lite-v1:0", "us-gov-west-1", False),
        ("us.amazon.nova-lite-v1:0", "ap-southeast-2", False),
        ("global.anthropic.claude-haiku-4-5-v1:0", "ap-southeast-2", True),
        ("amazon.nova-lite-v1:0", "eu-north-1", True),
    ],
)
def test_an_inference_profile_is_asked_in_its_own_part_of_the_world(name: str, region: str, there: bool) -> None:
    assert can_be_asked(name, region) is there


def test_a_rollout_is_reckoned_with_every_drain_at_its_longest() -> None:
    fleet = load().fleet
    assert fleet.rollout_seconds == 8 * (900 + 300 + 7200) + 3 * 600 + 1800


@pytest.mark.parametrize(
    ("addresses", "ports"),
    [
        (None, []),
        ("unix:/run/tts.sock,127.0.0.1:50051", []),
        ("tts-1.internal:50051, tts-2.internal:50051, 10.0.0.7:50052", [50051, 50052]),
    ],
)
def test_the_ports_of_speech_workers_elsewhere_are_known(addresses: str | None, ports: list[int]) -> None:
    settings = {"VOICE_TTS_ADDRESS": addresses} if addresses else {}
    assert load(node={"settings": settings}).node.speech_ports == ports


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"fleet": {"instance_types": ["p4d.24xlarge"]}}, ["fleet.instance_types.0: got 'p4d.24xlarge'"]),
        ({"fleet": {"instance_types": ["g5.xlarge", "p4d.24xlarge"]}}, ["fleet.instance_types.1: got 'p4d.24xlarge'"]),
        ({"load_balancer": {"tls_clients": ["all"]}}, ["load_balancer.tls_clients.0: got 'all'"]),
        ({"notify": ["me", "you"]}, ["notify.0: got 'me'", "notify.1: got 'you'"]),
        ({"fleet": {"min_nodes": "two", "max_nodes": 0}}, ["fleet.min_nodes: got 'two'", "fleet.max_nodes: got 0"]),
    ],
)
def test_each_wrong_value_is_told_in_one_line(options: dict[str, Any], wrong: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        load(**options)
    told = [line.removeprefix("test (us-east-1): ").partition(";")[0] for line in str(refused.value).splitlines()]
    assert told == wrong


SECRETS = {
    "VOICE_API_KEYS": "hush",
    "VOICE_TOKEN_SECRET": "hush" * 16,
    "VOICE_OTHER_TOKEN_SECRET": "hush" * 16,
    "VOICE_WORKER_TOKEN": "hush" * 16,
    "VOICE_LLM_API_KEY": "hush",
    "VOICE_TWILIO_AUTH_TOKEN": "hush",
}


def test_every_secret_setting_of_a_node_is_tried_here() -> None:
    assert {f"VOICE_{name.upper()}" for name in secret_settings(Settings)} == SECRETS.keys()


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("region", [False, True])
def test_a_secret_among_the_settings_of_a_node_is_refused_by_name_and_with_the_place_where_it_belongs(
    name: str, region: bool
) -> None:
    node = {"settings": {"VOICE_STT_MODEL": "base", name: SECRETS[name]}}
    with pytest.raises(ConfigError) as refused:
        load(**({"regions": {"us-east-1": {"node": node}}} if region else {"node": node}))
    field = name.removeprefix("VOICE_").lower()
    assert f"node.settings: {name} as {field} belong into the secret of Secrets Manager" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_password_in_an_address_is_refused_as_a_secret_is() -> None:
    with pytest.raises(ConfigError, match="VOICE_ALLOWED_ORIGINS: a user name or password in an address") as refused:
        load(node={"settings": {"VOICE_ALLOWED_ORIGINS": "https://a.example,https://me:hush@b.example"}})
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "node",
    [
        {"settings": {"VOICE_API_KEY": "hush"}},
        {"settings": {"VOICE_API_KEYS": ["hush"]}},
        {"settings": "VOICE_API_KEYS=hush"},
        ["VOICE_API_KEYS=hush"],
    ],
)
def test_what_may_be_a_secret_gone_astray_is_in_no_message(node: Any) -> None:
    with pytest.raises(ConfigError, match="node") as refused:
        load(node=node)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["test"], r"environments: got \['test'\]; takes options by name, in braces"),
        ({"test": None}, "test: got None; takes options by name, in braces"),
    ],
)
def test_what_is_no_environment_is_refused(given: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_environments(given, "test")


def test_what_has_to_be_given_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"test \(us-east-1\): fleet: has to be given"):
        load_environments({"test": {"regions": {"us-east-1": {}}}}, "test")


def test_an_environment_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"env: got 'stage'; takes an environment of cdk\.json: test"):
        load_environments(environments(), "stage")
