"""A real node in a fleet: it joins its group, is protected while it has calls, drains, and survives outages of AWS."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from server.fleet.autoscaling import InstanceInGroup
from server.fleet.cloudwatch import Publisher
from server.fleet.group_requests import Answer, CompleteHook, Heartbeat, Protect, ReportUnhealthy
from server.fleet.lifecycle import LAUNCH_HOOK, TERMINATE_HOOK
from server.observability import metrics
from server.observability.metrics import REGISTRY
from server.observability.waterfall import STAGES
from tests.support.bedrock_standin import BedrockStandin, ServiceError
from tests.support.clips import BUNDLED, read_wav
from tests.support.cloud.account import REGION, Account
from tests.support.fleet import Instance, launched, running_account
from tests.support.in_thread import in_thread
from tests.support.live_call import answer_text, live_call, refusal, serves
from tests.support.node import NodeProcess, running_node
from tests.support.speech import resample
from tests.support.starting import starting

SECONDS = 20.0  # for what takes a few: two cores are shared with everything else that runs
SIGNALLED_SECONDS = 10.0
NO_VOICE = {"VOICE_TTS_ADDRESS": "127.0.0.1:9", "VOICE_LLM": "openai:model@http://127.0.0.1:9"}


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that answers everything in the same way; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with running_account() as running:
        yield running


@pytest.fixture
def instance(account: Account) -> Iterator[Instance]:
    """An instance that waits for its launch hook."""
    with launched(account) as launching:
        yield launching


@pytest.fixture
def aws(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """This very process is led to the cloud."""
    for name, value in account.variables.items():
        monkeypatch.setenv(name, value)


@contextmanager
def member(instance: Instance, quick: dict[str, str], **variables: str) -> Iterator[NodeProcess]:
    """A node on the instance."""
    with running_node(**quick | instance.variables | variables) as node:
        yield node


async def test_a_node_joins_measures_itself_is_protected_during_a_call_and_drains_without_cutting_it(
    instance: Instance, quick: dict[str, str]
) -> None:
    assert instance.state == "Pending:Wait"
    with member(instance, quick) as node:
        await node.until(lambda: instance.state == "InService", SECONDS)
        assert node.get("/ready")[0] == 200
        assert not instance.protected
        async with live_call(node.websocket) as call:
            await node.until(lambda: instance.protected, SECONDS)
            await call.say(resample(read_wav(BUNDLED / "vm-next.wav"), 16_000, 24_000))
            await call.until("response.done")
            await node.until(lambda: instance.measured("voice_to_voice_seconds")["SampleCount"] == 1, SECONDS)
            for stage in STAGES:
                assert instance.measured("voice_turn_stage_seconds", stage=stage)["SampleCount"] == 1
            seconds = instance.measured("voice_to_voice_seconds")["Sum"]
            assert seconds == pytest.approx(node.metric("voice_to_voice_seconds_sum"), rel=0.4)
            used = instance.measured("voice_sessions_utilization_ratio")
            assert used["SampleCount"] >= 1
            assert used["Sum"] / used["SampleCount"] <= 1 / 16

            instance.terminate()
            await node.until(lambda: node.get("/ready")[0] == 503, SECONDS)
            assert node.get("/in-service")[0] == 200, "a balancer might cut the calls of one that fails while it leaves"
            assert (await refusal(node.websocket)).status_code == 503
            await node.until(lambda: instance.heartbeats(TERMINATE_HOOK), SECONDS)
            assert await call.ask("ping") == "You said: ping"
            assert instance.state == "Terminating:Wait"
        await node.until(lambda: instance.state == "gone", SECONDS)
        assert node.process.poll() is None
        assert node.get("/ready")[0] == 503
        assert node.metric("voice_drain_cut_calls_total") == 0
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(SIGNALLED_SECONDS) == 0
    assert [line for line in node.lines if line["level"] not in ("info", "debug")] == []


async def test_what_outlasts_the_drain_is_cut_and_has_been_published_by_the_time_the_instance_goes(
    instance: Instance, quick: dict[str, str]
) -> None:
    with member(instance, quick, VOICE_DRAIN_SECONDS="0.5") as node:
        await node.until(lambda: instance.state == "InService", SECONDS)
        async with live_call(node.websocket) as call:
            instance.terminate()
            assert await call.closed() == 1001
        await node.until(lambda: instance.state == "gone", SECONDS)
        assert instance.measured("voice_drain_cut_calls_total") == {"Sum": 1.0, "SampleCount": 1.0}
        assert node.metric("voice_drain_cut_calls_total") == 1
        assert node.get("/ready")[0] == 503


async def test_a_node_that_is_told_to_end_clears_its_protection(instance: Instance, quick: dict[str, str]) -> None:
    with member(instance, quick) as node:
        await node.until(lambda: instance.state == "InService", SECONDS)
        async with live_call(node.websocket) as call:
            await node.until(lambda: instance.protected, SECONDS)
            node.process.send_signal(signal.SIGTERM)
            await node.until(lambda: node.get("/ready")[0] == 503)
            assert await call.ask("ping") == "You said: ping"
            assert instance.protected
        assert node.process.wait(SIGNALLED_SECONDS) == 0
    assert instance.state == "InService"
    assert not instance.protected


async def test_a_second_sigterm_ends_it_at_once(instance: Instance, quick: dict[str, str]) -> None:
    with member(instance, quick) as node:
        async with live_call(node.websocket) as call:
            instance.terminate()
            await node.until(lambda: node.events("node_draining"), SECONDS)
            node.process.send_signal(signal.SIGTERM)
            assert await call.ask("ping") == "You said: ping"
            node.process.send_signal(signal.SIGTERM)
            assert await call.closed() == 1001
        assert node.process.wait(SIGNALLED_SECONDS) == 0


def test_a_node_that_is_told_to_end_while_it_starts_leaves_nothing_owed(instance: Instance) -> None:
    with starting("serve", "--port", "0", "--http-port", "0", **NO_VOICE | instance.variables) as node:
        node.until_said("tts_worker_left_out")
        instance.terminate()
        node.until(lambda: instance.state == "gone")
        assert node.ended_by(signal.SIGTERM, within=SIGNALLED_SECONDS) == 0


@pytest.mark.parametrize("target", ["InService", "Terminated"])
def test_a_node_that_is_told_to_end_while_it_starts_does_not_wait_for_aws(instance: Instance, target: str) -> None:
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with starting("serve", "--port", "0", "--http-port", "0", **NO_VOICE | instance.variables | nowhere) as node:
        node.until_said("tts_worker_left_out")
        instance.imds.target_state = target
        if target == "Terminated":
            node.until_said("autoscaling_failed")
        assert node.ended_by(signal.SIGTERM, within=SIGNALLED_SECONDS) == 0


async def test_a_process_that_is_started_again_in_service_goes_on_and_clears_what_was_left(
    instance: Instance, quick: dict[str, str]
) -> None:
    autoscaling = instance.account.client("autoscaling")
    autoscaling.complete_lifecycle_action(
        AutoScalingGroupName=instance.group,
        LifecycleHookName=LAUNCH_HOOK,
        InstanceId=instance.id,
        LifecycleActionResult="CONTINUE",
    )
    autoscaling.set_instance_protection(
        AutoScalingGroupName=instance.group, InstanceIds=[instance.id], ProtectedFromScaleIn=True
    )
    with member(instance, quick) as node:
        await node.until(lambda: not instance.protected, SECONDS)
        assert await node.logged("hook_not_outstanding")
        assert node.metric("voice_fleet_errors_total") == 0


async def test_a_spot_notice_drains_and_a_rebalance_recommendation_does_not(
    instance: Instance, quick: dict[str, str]
) -> None:
    with member(instance, quick) as node:
        instance.imds.recommend_rebalance()
        await node.until(lambda: node.metric("voice_interruption_notices_total", kind="rebalance") == 1, SECONDS)
        assert node.get("/ready")[0] == 200
        instance.imds.announce_spot_interruption()
        await node.until(lambda: node.get("/ready")[0] == 503, SECONDS)
        await node.logged("node_draining")
        assert node.events("node_draining")[0]["reason"] == "spot_interruption"
        (notice,) = [line for line in node.events("interruption_notice") if line["kind"] == "spot"]
        assert notice["ends_at"].endswith("Z")


async def test_outages_of_imds_are_survived_and_told_once(instance: Instance, quick: dict[str, str]) -> None:
    instance.imds.target_state = None
    with member(instance, quick) as node:
        await node.until(lambda: instance.state == "InService", SECONDS)
        instance.imds.down = True
        await node.until(lambda: node.events("imds_failed"), SECONDS)
        assert await serves(node.websocket)
        instance.imds.forget_tokens()
        instance.imds.down = False
        await node.until(lambda: node.events("imds_back"), SECONDS)
        assert len(node.events("imds_failed")) == 1
        instance.terminate()
        await node.until(lambda: instance.state == "gone", SECONDS)


async def test_a_model_that_is_refused_to_the_fleet_costs_answers_and_no_instance(
    instance: Instance, quick: dict[str, str]
) -> None:
    """The group would launch one instance after the other; and the right may be given at any time."""
    refused = ServiceError(403, "AccessDeniedException", "You don't have access to the model")
    with in_thread(BedrockStandin(answer=lambda _: refused)) as bedrock:
        variables = {"VOICE_LLM": "bedrock:us.amazon.nova-lite-v1:0", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url}
        with member(instance, quick, **variables) as node:
            await node.until(lambda: instance.state == "InService", SECONDS)
            await node.logged("llm_not_warm")
            assert "AccessDeniedException" in node.events("llm_not_warm")[0]["error"]
            assert json.loads(node.get("/health")[1])["parts"]["llm"]["serving"] is False
            assert node.metric("voice_llm_errors_total", failure="invalid_request") == 1
            async with live_call(node.websocket) as call:
                response = await call.turn("ping")
                assert answer_text(response), "a line is spoken in the answer's place"
                bedrock.answer = lambda _: "Hello again."
                assert await call.ask("ping") == "Hello again."
            await node.until(lambda: json.loads(node.get("/health")[1])["parts"]["llm"]["serving"])


def test_who_starts_a_node_by_hand_is_told_that_the_model_is_refused(account: Account, quick: dict[str, str]) -> None:
    with in_thread(BedrockStandin(answer=lambda _: ServiceError(403, "AccessDeniedException"))) as bedrock:
        variables = {"VOICE_LLM": "bedrock:us.amazon.nova-lite-v1:0", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url}
        ports = ("--port", "0", "--http-port", "0")
        with starting("serve", *ports, **account.variables, **quick | variables) as node:
            assert node.process.wait(SECONDS) != 0
    assert "lacks bedrock:InvokeModelWithResponseStream" in " ".join("".join(node.lines).split())


async def test_a_node_serves_while_aws_gives_no_answer(instance: Instance, quick: dict[str, str]) -> None:
    with member(instance, quick, AWS_ENDPOINT_URL="http://127.0.0.1:9") as node:
        assert await serves(node.websocket)
        await node.until(lambda: node.metric("voice_fleet_errors_total", request="CompleteHook") >= 2, SECONDS)
        await node.logged("autoscaling_failed")
        assert len(node.events("autoscaling_failed")) == 1
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(SIGNALLED_SECONDS) == 0


async def test_a_broken_node_is_unhealthy_to_its_group(instance: Instance, aws: None) -> None:
    member = InstanceInGroup(instance.group, instance.id, REGION)
    assert await asyncio.to_thread(member.send, ReportUnhealthy(("stt",))) is Answer.DONE
    assert instance.described()["HealthStatus"].upper() == "UNHEALTHY"  # as AWS writes it


async def test_protection_is_refused_to_an_instance_that_is_not_in_service(instance: Instance, aws: None) -> None:
    member = InstanceInGroup(instance.group, instance.id, REGION)
    assert await asyncio.to_thread(member.send, Protect(True)) is Answer.FAILED
    assert await asyncio.to_thread(member.send, Heartbeat(TERMINATE_HOOK)) is Answer.NOT_OUTSTANDING
    assert await asyncio.to_thread(member.send, CompleteHook(LAUNCH_HOOK)) is Answer.DONE
    assert await asyncio.to_thread(member.send, Protect(True)) is Answer.DONE
    assert instance.protected


async def test_a_hook_of_another_name_is_an_error(instance: Instance, aws: None) -> None:
    member = InstanceInGroup(instance.group, instance.id, REGION)
    assert await asyncio.to_thread(member.send, CompleteHook("misnamed")) is Answer.FAILED


@pytest.mark.parametrize("status", [200, 403, 500])
async def test_what_is_no_answer_of_aws_is_a_failure_and_no_crash(
    aws: None, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with answering(status, b"<html>a proxy's page") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        member = InstanceInGroup("voicefleet-test", "i-1", REGION)
        assert await asyncio.to_thread(member.send, Protect(True)) is Answer.FAILED
        await asyncio.to_thread(Publisher("voicefleet-test", REGION).publish, 0.5)


async def test_what_can_not_be_published_is_counted_and_dropped(
    instance: Instance, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def errors() -> float:
        return REGISTRY.get_sample_value("voice_fleet_errors_total", {"request": "PutMetricData"}) or 0.0

    publisher = Publisher(instance.group, REGION)
    before = errors()
    with monkeypatch.context() as outage:
        outage.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        metrics.voice_to_voice_seconds.observe(0.7)
        publisher.publish(0.5)
    assert errors() == before + 1
    publisher = Publisher(instance.group, REGION)  # the client keeps its address
    metrics.voice_to_voice_seconds.observe(0.7)
    publisher.publish(0.25)
    publisher.publish(None)
    assert instance.measured("voice_sessions_utilization_ratio") == {"Sum": 0.25, "SampleCount": 1.0}
    assert instance.measured("voice_to_voice_seconds")["SampleCount"] == 1.0


async def test_a_node_lets_in_who_has_a_key_of_the_secret(account: Account, quick: dict[str, str]) -> None:
    account.client("secretsmanager").create_secret(Name="keys", SecretString=json.dumps({"api_keys": "a-key"}))
    with running_node(**quick, **account.variables, VOICE_KEYS_SECRET="keys") as node:
        assert await serves(node.websocket, additional_headers={"Authorization": "Bearer a-key"})
        assert (await refusal(node.websocket)).status_code == 401
        assert (await refusal(node.websocket, headers={"Authorization": "Bearer another"})).status_code == 401


def test_outside_a_fleet_nothing_of_it_is_imported() -> None:
    program = "import sys, server.main, server.cli.serve; print('server.fleet.member' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told == "False\n"


@pytest.mark.parametrize("switch", ["true", "false"])
async def test_without_imds_a_node_starts_warns_and_ends_as_anywhere(quick: dict[str, str], switch: str) -> None:
    nowhere = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": switch}
    with running_node(**quick, **nowhere, VOICE_FLEET_GROUP="voicefleet-test") as node:
        await node.logged("fleet_life_cycle_off")
        (warning,) = node.events("fleet_life_cycle_off")
        assert warning["level"] == "warning"
        assert await serves(node.websocket)
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(SIGNALLED_SECONDS) == 0
