"""A fleet that the real CLI has deployed to AWS on loopback, once for all tests of this layer."""

from collections.abc import Iterator

import pytest

from tests.support.cloud.deploy import Cloud, running_cloud
from tests.support.cloud.deployed import Deployed, fleet_of


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """An account that has been bootstrapped."""
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        running.bootstrap()
        yield running


@pytest.fixture(scope="session")
def fleet(cloud: Cloud) -> Deployed:
    """The fleet after its first deploy, with planned sizes and a warm pool."""
    deployed = fleet_of(cloud)
    deployed.environment["scaling"] = {"schedule": [{"name": "morning", "cron": "0 7 * * *", "min_nodes": 4}]}
    deployed.environment["fleet"] |= {"warm_nodes": 1}
    deployed.deploy()
    return deployed
