"""What an account lacks is told before a deploy: AWS on loopback, and stand-ins for what it does not have."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.config import Environment, load_environments
from infra.preflight import preflight, vcpus_needed
from tests.support.cloud.account import REGION
from tests.support.cloud.deploy import import_certificate
from tests.support.cloud.deployed import FIRST_IMAGE
from tests.support.documents import REPOSITORY


class Account:
    """An account as boto3 sees it: quotas and language models are stand-ins, everything else is moto's."""

    def __init__(self) -> None:
        self.quota = 1000.0
        self.refused = ""
        self.asked: list[tuple[str, str]] = []

    def client(self, service: str, region: str) -> Any:
        if service in ("service-quotas", "bedrock-runtime"):
            self.region = region
            return self
        return boto3.client(service, region_name=region, aws_access_key_id="testing", aws_secret_access_key="testing")

    def get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        assert (ServiceCode, QuotaCode) == ("ec2", "L-DB2E81BA")
        return {"Quota": {"Value": self.quota}}

    def converse(self, modelId: str, **_: Any) -> dict[str, Any]:
        self.asked.append((modelId, self.region))
        if modelId == self.refused:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no access"}}, "Converse")
        return {}


@pytest.fixture
def account() -> Iterator[Account]:
    """One that lacks nothing."""
    with mock_aws():
        ready = Account()
        ssm = ready.client("ssm", REGION)
        ssm.put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
        ssm.put_parameter(Name="/voicefleet/prod/ami", Value=FIRST_IMAGE, Type="String")
        yield ready


def environment(account: Account, **options: Any) -> Environment:
    """`prod` of `cdk.json`, with a certificate that is there unless `options` say otherwise."""
    prod = json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]["environments"]["prod"]
    issued = import_certificate(account.client("acm", REGION), "voice.example.com")
    (made,) = load_environments({"prod": prod | {"load_balancer": {"certificate_arn": issued}} | options}, "prod")
    return made


def wrong(account: Account, **options: Any) -> dict[str, str]:
    """What is told, by the first words of what was asked."""
    findings = preflight(environment(account, **options), account.client)
    return {finding.what: finding.wrong for finding in findings if finding.wrong}


def test_an_account_that_has_everything_is_told_nothing(account: Account) -> None:
    node = {"fallback_models": ["bedrock:amazon.nova-pro-v1:0@us-west-2"]}
    assert wrong(account, node=node) == {}
    assert account.asked == [("us.amazon.nova-lite-v1:0", "us-east-1"), ("amazon.nova-pro-v1:0", "us-west-2")]


def test_the_quota_is_for_a_rollout_of_the_largest_type_and_a_build(account: Account) -> None:
    assert vcpus_needed(environment(account).fleet) == 2 * 8 * 8 + 4
    account.quota = 36
    (told,) = wrong(account).values()
    assert told == "36 are granted; takes 132 for fleet.max_nodes, or fewer nodes"


def test_a_zone_without_gpus_or_endpoints_is_named(account: Account) -> None:
    told = wrong(account, network={"zones": ["a", "b", "z"]})
    assert {text.partition(" without ")[0] for text in told.values()} == {"us-east-1z"}
    assert len(told) == 2
    assert all("network.zones takes of us-east-1a" in text for text in told.values())


def test_a_language_model_that_the_account_may_not_ask_is_named_with_its_region(account: Account) -> None:
    account.refused = "us.amazon.nova-lite-v1:0"
    (told,) = wrong(account).values()
    assert told.startswith("us.amazon.nova-lite-v1:0 in us-east-1: ")
    assert "AccessDenied" in told


def test_what_a_deploy_reads_is_looked_for(account: Account) -> None:
    account.client("ssm", REGION).delete_parameters(Names=["/voicefleet/prod/ami", "/cdk-bootstrap/hnb659fds/version"])
    told = wrong(account)
    assert told.keys() == {"the account is bootstrapped for the CDK", "the image"}
    assert "cdk bootstrap" in told["the account is bootstrapped for the CDK"]


def test_a_certificate_that_aws_has_not_validated_yet_is_told(account: Account) -> None:
    requested = account.client("acm", REGION).request_certificate(DomainName="voice.example.com")["CertificateArn"]
    (told,) = wrong(account, load_balancer={"certificate_arn": requested}).values()
    assert told.startswith("is PENDING_VALIDATION; takes one that is ISSUED")


def test_a_first_deploy_is_not_to_be_protected(account: Account) -> None:
    told = wrong(account, production=True)
    assert list(told) == ["protection comes after the first deploy"]
