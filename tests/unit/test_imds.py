"""The instance metadata service as a node reads it: version 2 only, and survived when it is away."""

import json
from collections.abc import Iterator

import pytest

from server.fleet.imds import Identity, ImdsUnavailable, Sighting, open_imds
from tests.support.imds import FakeImds, fake_imds

NOTHING = Sighting("InService", None, False)


@pytest.fixture
def imds(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeImds]:
    with fake_imds(instance_id="i-42", region="eu-central-1") as running:
        for name, value in running.variables.items():
            monkeypatch.setenv(name, value)
        yield running


async def test_a_token_is_fetched_once_and_shown_with_every_request(imds: FakeImds) -> None:
    async with open_imds() as client:
        assert await client.identity() == Identity("i-42", "eu-central-1")
        assert await client.look() == NOTHING
    assert (len(imds.tokens), imds.refused, imds.answered) == (1, 0, 5)


async def test_a_token_that_is_no_longer_taken_is_renewed(imds: FakeImds) -> None:
    async with open_imds() as client:
        await client.look()
        imds.forget_tokens()
        assert await client.look() == NOTHING
    assert imds.refused == 1


async def test_what_is_about_to_happen_is_seen(imds: FakeImds) -> None:
    async with open_imds() as client:
        imds.target_state = None
        assert await client.look() == Sighting("", None, False)
        imds.target_state = "Terminated\n"
        imds.announce_spot_interruption()
        imds.recommend_rebalance()
        seen = await client.look()
    assert (seen.target_state, seen.rebalance_recommended) == ("Terminated", True)
    assert seen.spot_action_at
    assert seen.spot_action_at.endswith("Z")


@pytest.mark.parametrize("notice", ["", "no JSON", "[]", '{"action": "stop"}'])
async def test_a_spot_notice_that_can_not_be_read_is_one_all_the_same(imds: FakeImds, notice: str) -> None:
    imds.spot_action = notice
    async with open_imds() as client:
        assert (await client.look()).spot_action_at == "soon"


async def test_an_outage_is_told_apart_from_nothing_to_tell(imds: FakeImds) -> None:
    async with open_imds() as client:
        await client.look()
        imds.down = True
        with pytest.raises(ImdsUnavailable, match="answered 503"):
            await client.look()
        imds.forget_tokens()
        imds.down = False
        assert await client.look() == NOTHING


async def test_a_service_that_gives_no_token_is_unavailable(imds: FakeImds) -> None:
    imds.down = True
    async with open_imds() as client:
        with pytest.raises(ImdsUnavailable, match=r"gave no token \(503\)"):
            await client.identity()


async def test_where_nobody_answers_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    async with open_imds() as client:
        with pytest.raises(ImdsUnavailable, match="gives no answer"):
            await client.identity()


async def test_an_instance_without_a_name_is_none(imds: FakeImds) -> None:
    imds.region = ""
    async with open_imds() as client:
        with pytest.raises(ImdsUnavailable, match="names no instance and region"):
            await client.identity()


async def test_it_can_be_switched_off_as_everywhere(imds: FakeImds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ImdsUnavailable, match="switched off by AWS_EC2_METADATA_DISABLED"):
        async with open_imds():
            pass
    assert imds.answered == 0


async def test_what_a_machine_asks_at_its_start_is_there(imds: FakeImds) -> None:
    """As cloud-init does: lists of folders, user data, and the credentials of the instance's role."""
    imds.user_data = "#!/bin/sh\n"
    assert imds.found("/2021-03-23/user-data") == "#!/bin/sh\n"
    assert imds.found("/latest/meta-data/placement/") == imds.found("/latest/meta-data/placement") == "region"
    assert imds.found("/latest/dynamic/instance-identity") == "document"
    assert set((imds.found("/latest/meta-data/") or "").split()) >= {"instance-id", "placement/", "iam/"}
    role = imds.found("/latest/meta-data/iam/security-credentials/")
    assert json.loads(imds.found(f"/latest/meta-data/iam/security-credentials/{role}") or "")["Code"] == "Success"
    assert imds.found("/latest/meta-data/nothing/") is None
