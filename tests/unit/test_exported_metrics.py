"""What is dashboarded, alarmed on or scaled on exists: exported on the node, and carried with the dimensions named."""

import json
import re

import pytest

from infra.metrics import MODEL_CACHE, SCRAPE_SECONDS, Boot, Gpu, Host
from infra.preview.named import Named, named_metrics
from server.fleet.cloudwatch import GROUP_DIMENSION, NAMESPACE
from tests.support.carried_metrics import (
    AGENT,
    SCRAPES,
    Series,
    agent_declarations,
    boot_series,
    filtered,
    gpu_series,
    host_series,
    scrape_configs,
    served_series,
    uncarried,
)
from tests.support.fleet_template import fleet_template

GROUP = (GROUP_DIMENSION, "voicefleet-prod")


@pytest.fixture
async def exported() -> list[Series]:
    return [*await served_series(), *gpu_series(), *host_series(), *boot_series()]


def test_alarms_dashboards_and_scaling_policies_name_metrics() -> None:
    by = {named.by for named in named_metrics(fleet_template())}
    boards = {f"dashboard {board}" for board in ("fleet", "latency", "gpu", "nodes", "cost", "bedrock")}
    assert by > boards
    assert any(name.startswith("ScalingTrack") for name in by)
    assert len([name for name in by if name.startswith("Alarms")]) > 25


async def test_every_metric_named_is_exported_and_carried(exported: list[Series]) -> None:
    assert uncarried(named_metrics(fleet_template()), exported, filtered(fleet_template())) == []


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions"),
    [
        (NAMESPACE, "voice_invented_total", (GROUP,)),
        (NAMESPACE, "voice_sessions_active", (GROUP, ("reason", "full"))),  # it has no such label
        (NAMESPACE, "voice_handshakes_refused_total", (GROUP,)),  # carried by reason only
        (NAMESPACE, "voice_handshakes_refused_total", (GROUP, ("reason", "tired"))),  # no series at the start
        (NAMESPACE, "voice_session_seconds", (GROUP,)),  # a histogram that nobody publishes
        (NAMESPACE, "voice_to_voice_seconds", (GROUP, ("InstanceId", "*"))),  # published for the group only
        (NAMESPACE, "voice_turn_stage_seconds", (GROUP, ("stage", "thinking"))),  # no such stage
        (NAMESPACE, "node_filesystem_avail_bytes", (GROUP, ("mountpoint", "/home"))),  # not scraped
        (NAMESPACE, "voice_boot_stage_seconds", (GROUP, ("InstanceId", "*"), ("stage", "coffee"))),  # no such stage
        (NAMESPACE, "voice_boot_ready_seconds", (GROUP,)),  # carried by node only
        (NAMESPACE, "DCGM_FI_DEV_XID_ERRORS", (GROUP,)),  # not in the counters file
        ("AWS/Bedrock", "InvocationLatency", (GROUP,)),  # not by these dimensions
        ("AWS/Invented", "GroupMinSize", (GROUP,)),
    ],
)
async def test_what_no_way_carries_is_found(
    exported: list[Series], namespace: str, name: str, dimensions: tuple[tuple[str, str], ...]
) -> None:
    assert uncarried([Named("a test", namespace, name, dimensions)], exported)


async def test_what_the_agent_declares_is_kept_by_its_scrape_and_the_other_way_round(exported: list[Series]) -> None:
    selectors = {selector for declared in agent_declarations() for selector in declared["metric_selectors"]}
    declared = {selector.removeprefix("^").removesuffix("$") for selector in selectors}
    rules = [job["metric_relabel_configs"][0]["regex"] for job in scrape_configs().values()]
    scraped = {series.name for series in exported if any(re.fullmatch(rule, series.name) for rule in rules)}
    assert scraped == declared


def test_the_agent_carries_nothing_that_nobody_looks_at() -> None:
    named = {(one.name, frozenset(dict(one.dimensions))) for one in named_metrics(fleet_template())}
    carried = {
        (selector.removeprefix("^").removesuffix("$"), frozenset(keys))
        for declared in agent_declarations()
        for selector in declared["metric_selectors"]
        for keys in declared["dimensions"]
    }
    assert carried - named == set()


def test_the_names_in_the_code_are_those_of_the_exporters_files_and_the_boot_scripts() -> None:
    assert {series.name for series in gpu_series()} == set(Gpu)
    assert {series.name for series in host_series()} == set(Host)
    assert {series.name for series in boot_series()} == set(Boot)


def test_every_stage_of_a_boot_is_looked_at() -> None:
    timed = {series.labels["stage"] for series in boot_series() if series.name == Boot.STAGE}
    shown = {dict(one.dimensions)["stage"] for one in named_metrics(fleet_template()) if one.name == Boot.STAGE}
    assert timed == shown


def test_the_agent_scrapes_the_three_ports_with_the_labels_that_are_dimensions() -> None:
    agent = json.loads(AGENT.read_text(encoding="utf-8"))["logs"]["metrics_collected"]["prometheus"]
    assert agent["emf_processor"]["metric_namespace"] == NAMESPACE
    assert SCRAPES.read_text(encoding="utf-8").count(f"scrape_interval: {SCRAPE_SECONDS}s") == 1
    ports = {}
    for name, job in scrape_configs().items():
        (static,) = job["static_configs"]
        assert static["labels"] == {GROUP_DIMENSION: "${AUTO_SCALING_GROUP}", "InstanceId": "${INSTANCE_ID}"}
        ports[name] = static["targets"]
    assert ports == {"voicefleet": ["127.0.0.1:9001"], "node": ["127.0.0.1:9100"], "dcgm": ["127.0.0.1:9400"]}
    assert f"(/|{MODEL_CACHE})" in SCRAPES.read_text(encoding="utf-8")
