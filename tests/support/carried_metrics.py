"""What a node exports and what carries it to CloudWatch, read from the very files and objects that do it."""

import json
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from infra.metrics import MODEL_CACHE, NODE_DIMENSION, exported_name
from infra.preview.named import Named
from server.access.admission import Admission
from server.fleet.cloudwatch import GROUP_DIMENSION, NAMESPACE, PUBLISHED_HISTOGRAMS
from server.llm_processor import LlmProcessor
from server.node.http import PartState, serve_http
from server.observability import metrics
from server.observability.waterfall import STAGES
from server.settings.settings import Settings
from tests.support.fleet_template import REPOSITORY

FILES = REPOSITORY / "image" / "files"
AGENT = FILES / "cloudwatch-agent" / "amazon-cloudwatch-agent.json"
SCRAPES = FILES / "cloudwatch-agent" / "prometheus.yaml"
COUNTERS = FILES / "dcgm-exporter" / "counters.csv"
HOST_METRICS = FILES / "node_exporter" / "metrics.txt"
BOOT = REPOSITORY / "image" / "boot"

# AWS's own, from its user guides: namespace, metric, dimensions.
AWS_METRICS: Mapping[str, tuple[set[frozenset[str]], set[str]]] = {
    "AWS/AutoScaling": (
        {frozenset({GROUP_DIMENSION})},
        {"GroupMinSize", "GroupMaxSize", "GroupDesiredCapacity", "GroupTotalInstances", "GroupInServiceInstances"}
        | {"GroupPendingInstances", "GroupStandbyInstances", "GroupTerminatingInstances"}
        | {"GroupTerminatingRetainedInstances"},
    ),
    "AWS/NetworkELB": (
        {frozenset({"LoadBalancer"}), frozenset({"LoadBalancer", "TargetGroup"})},
        {"ActiveFlowCount", "NewFlowCount", "ProcessedBytes", "UnhealthyRoutingFlowCount"}
        | {"TCP_Client_Reset_Count", "TCP_Target_Reset_Count", "TCP_ELB_Reset_Count"}
        | {"HealthyHostCount", "UnHealthyHostCount"},
    ),
    "AWS/Events": ({frozenset({"RuleName"})}, {"TriggeredRules"}),
    "AWS/Bedrock": (
        {frozenset({"ModelId"})},
        {"Invocations", "InvocationLatency", "InvocationClientErrors", "InvocationServerErrors"}
        | {"InvocationThrottles", "InputTokenCount", "OutputTokenCount"},
    ),
}

# What the node publishes itself, by the labels that it gives as dimensions.
_PUBLISHED: Mapping[str, set[str]] = {
    exported_name(metrics.sessions_utilization): set(),
    exported_name(metrics.drain_cut_calls): set(),
    **{exported_name(histogram): set(histogram._labelnames) for histogram in PUBLISHED_HISTOGRAMS},
}


@dataclass(frozen=True, slots=True)
class Series:
    """A time series of an exporter, and the job that scrapes it."""

    job: str
    name: str
    labels: Mapping[str, str]


_MODEL = "bedrock:us.amazon.nova-lite-v1:0"


class _Node:
    """A node with nothing running, as its HTTP side asks for it."""

    admission = Admission(1, 1)
    talk = None
    deregistered = False

    def parts(self) -> Mapping[str, PartState]:
        return {}


async def served_series() -> list[Series]:
    """What /metrics serves before the first call; a family that has no series yet is there without labels.

    The node has the language model of the environment that is shipped, and another that stands in for it.
    """
    LlmProcessor.from_settings(Settings(llm=f"{_MODEL},{_MODEL}@us-west-2"), Path)
    async with serve_http(_Node(), "127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        page = await (await session.get(f"http://127.0.0.1:{port}/metrics")).text()
    found = []
    for family in text_string_to_metric_families(page):
        found += [Series("voicefleet", sample.name, sample.labels) for sample in family.samples]
        if not family.samples:
            found.append(Series("voicefleet", family.name, {}))
    return found


def gpu_series() -> list[Series]:
    """What dcgm-exporter serves with the shipped counters."""
    return [Series("dcgm", line.split(",")[0].strip(), {}) for line in _lines(COUNTERS)]


def host_series() -> list[Series]:
    """What we rely on of node_exporter, each with a label value that a node has."""
    examples = {"mountpoint": ("/", MODEL_CACHE), "name": ("voicefleet.service",)}
    found = []
    for line in _lines(HOST_METRICS):
        _, _, name, *labels = line.split()
        if not labels:
            found.append(Series("node", name, {}))
        found += [Series("node", name, {label: value}) for label in labels for value in examples[label]]
    return found


@cache
def boot_series() -> tuple[Series, ...]:
    """What the boot scripts write into text files for node_exporter, on a machine without disks where nothing runs."""
    with tempfile.TemporaryDirectory() as folder:
        programs, texts = Path(folder, "bin"), Path(folder, "var/lib/prometheus/node-exporter")
        programs.mkdir()
        texts.mkdir(parents=True)
        for name in ("systemctl", "lsblk", "udevadm"):
            (programs / name).write_text("#!/bin/sh\necho 0\n", encoding="utf-8")
            (programs / name).chmod(0o755)
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "ROOT": folder}
        for script in ("mount-model-cache", "boot-report"):
            subprocess.run([BOOT / script], env=environment, capture_output=True, check=True, timeout=60)
        return tuple(
            Series("node", sample.name, sample.labels)
            for text in sorted(texts.glob("*.prom"))  # as the collector takes them
            for family in text_string_to_metric_families(text.read_text(encoding="utf-8"))
            for sample in family.samples
        )


def filtered(template: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The metrics that a template's own filters make of log lines: namespace and name of each."""
    return {
        (made["MetricNamespace"], made["MetricName"])
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Logs::MetricFilter"
        for made in resource["Properties"]["MetricTransformations"]
    }


def uncarried(
    named: Iterable[Named], series: Iterable[Series], of_lines: Collection[tuple[str, str]] = ()
) -> list[str]:
    """What is named and reaches CloudWatch by no way, a line each. `of_lines` are those that log lines become."""
    known = list(series)
    return sorted(
        f"{one.by}: {one.name} {dict(one.dimensions)}"
        for one in named
        if (one.namespace, one.name) not in of_lines and not _reaches(one, known)
    )


def _reaches(one: Named, series: list[Series]) -> bool:
    dimensions = dict(one.dimensions)
    if one.namespace != NAMESPACE:
        keys, names = AWS_METRICS.get(one.namespace, (set(), set()))
        return frozenset(dimensions) in keys and one.name in names
    published = _PUBLISHED.get(one.name)
    if published is None:
        return any(_agent_sends(found, one.name, dimensions) for found in series if found.name == one.name)
    is_served = any(found.name in {one.name, f"{one.name}_bucket"} for found in series)
    labels = {key: value for key, value in one.dimensions if key != GROUP_DIMENSION}
    is_a_stage = all(value in STAGES for value in labels.values())
    return is_served and GROUP_DIMENSION in dimensions and labels.keys() == published and is_a_stage


def _agent_sends(series: Series, name: str, dimensions: Mapping[str, str]) -> bool:
    """Whether the agent's scrape keeps the series and a declaration of it has exactly these dimensions."""
    wanted = {key: value for key, value in dimensions.items() if key not in {GROUP_DIMENSION, NODE_DIMENSION}}
    return (
        series.labels.items() >= wanted.items()
        and _kept(series)
        and any(
            re.search(declared["label_matcher"], series.job)
            and any(re.search(selector, name) for selector in declared["metric_selectors"])
            and any(set(keys) == dimensions.keys() for keys in declared["dimensions"])
            for declared in agent_declarations()
        )
    )


@cache
def agent_declarations() -> list[dict[str, Any]]:
    """The metric declarations of the agent."""
    agent = json.loads(AGENT.read_text(encoding="utf-8"))
    declarations: list[dict[str, Any]] = agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"][
        "metric_declaration"
    ]
    return declarations


@cache
def scrape_configs() -> dict[str, dict[str, Any]]:
    """The agent's scrapes, by job."""
    return {job["job_name"]: job for job in yaml.safe_load(SCRAPES.read_text(encoding="utf-8"))["scrape_configs"]}


def _kept(series: Series) -> bool:
    """Whether every rule of the scrape keeps it, as Prometheus reads them: anchored, values joined by a semicolon."""
    labels = {**series.labels, "__name__": series.name}
    return all(
        re.fullmatch(rule["regex"], ";".join(labels.get(label, "") for label in rule["source_labels"]))
        for rule in scrape_configs()[series.job]["metric_relabel_configs"]
    )


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
