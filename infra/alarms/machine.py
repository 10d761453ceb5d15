"""Alarms of the machines: GPUs as DCGM reports them, disks, memory, services, and whether anything reports at all."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw

from infra.alarms.config import AlarmConfig
from infra.alarms.rule import HALF_A_NODE, WINDOW, Rule, without
from infra.metrics import MODEL_CACHE, SCRAPE_SECONDS, Boot, FleetMetrics, Gpu, Host, slowed_percent
from server.fleet.cloudwatch import PERIOD_SECONDS as PUBLISH_SECONDS
from server.observability import metrics

_GIB = 2**30


def gpu_rules(config: AlarmConfig, fleet: FleetMetrics, kernel_xids: cw.IMetric) -> list[Rule]:
    """What the GPUs report through DCGM; and `kernel_xids`, lines of the kernel's log, which need no exporter."""
    return [
        Rule(
            "gpu-xid",
            "The driver reported an error: see which XID, then replace the node.",
            fleet.of(Gpu.XID_ERRORS, "Maximum"),
            1,
            composite="gpu-failing",
        ),
        Rule(
            "gpu-xid-in-log",
            "A node's kernel wrote of an error of the driver: see which XID, then replace the node.",
            kernel_xids,
            1,
            composite="gpu-failing",
            section="gpu-xid",
        ),
        Rule(
            "gpu-ecc-double-bit",
            "A GPU's memory failed beyond repair: replace the node.",
            fleet.of(Gpu.ECC_DOUBLE_BIT, "Maximum"),
            1,
            composite="gpu-failing",
            section="gpu-memory-fault",
        ),
        Rule(
            "gpu-row-remap-failure",
            "A GPU has no spare memory rows left: replace the node.",
            fleet.of(Gpu.ROW_REMAP_FAILURE, "Maximum"),
            1,
            composite="gpu-failing",
            section="gpu-memory-fault",
        ),
        Rule(
            "gpu-hot",
            "A GPU is too hot: replace the node.",
            fleet.of(Gpu.TEMPERATURE, "Maximum"),
            config.gpu_celsius,
            times=5,
            of=5,
            composite="gpu-failing",
        ),
        Rule(
            "gpu-thermal-throttling",
            "A GPU slows itself down for heat: replace the node.",
            slowed_percent(fleet, Gpu.THERMAL_VIOLATION),
            config.gpu_thermal_percent,
            times=5,
            of=5,
            composite="gpu-failing",
            section="gpu-hot",
        ),
        Rule(
            "gpu-power-throttling",
            "A GPU is held back by its power limit: expect slower voices, lower max_sessions if they underrun.",
            slowed_percent(fleet, Gpu.POWER_VIOLATION),
            config.gpu_power_percent,
            times=15,
            of=15,
        ),
        Rule(
            "gpu-memory-low",
            "A GPU is nearly out of memory: see what holds it before a worker dies of it.",
            fleet.of(Gpu.MEMORY_FREE, "Minimum"),
            config.gpu_memory_free_mib,
            times=5,
            of=5,
            below=True,
        ),
        Rule(
            "gpu-exporter-missing",
            "A node's GPU is not watched: see dcgm-exporter there.",
            without(
                "gpu",
                fleet.nodes_with(metrics.sessions_capacity, SCRAPE_SECONDS, minutes=WINDOW),
                fleet.nodes_with(Gpu.TEMPERATURE, SCRAPE_SECONDS, minutes=WINDOW),
            ),
            HALF_A_NODE,
            times=3,
            of=3,
            red_when_missing=True,
            section="exporter-missing",
        ),
    ]


def node_rules(config: AlarmConfig, fleet: FleetMetrics) -> list[Rule]:
    """What a node's operating system and services report."""
    published = fleet.nodes_with(metrics.sessions_utilization, PUBLISH_SECONDS, minutes=WINDOW)
    return [
        Rule(
            "root-disk-low",
            "A node's root volume fills up: see what grew, replace the node.",
            fleet.of(Host.DISK_FREE, "Minimum", mountpoint="/"),
            config.root_disk_free_gib * _GIB,
            times=5,
            of=5,
            below=True,
            section="disk-low",
        ),
        Rule(
            "model-cache-low",
            "A node's model cache fills up: a new model may not fit.",
            fleet.of(Host.DISK_FREE, "Minimum", mountpoint=MODEL_CACHE),
            config.model_cache_free_gib * _GIB,
            times=5,
            of=5,
            below=True,
            section="disk-low",
        ),
        Rule(
            "model-cache-on-root",
            "A node found no disk for its models: it starts slowly and fills its root volume; replace it.",
            fleet.of(Boot.CACHE_ON_ROOT, "Maximum"),
            1,
        ),
        Rule(
            "memory-low",
            "A node is short of memory: see which process grew before the kernel ends one.",
            fleet.of(Host.MEMORY_FREE, "Minimum"),
            config.memory_free_gib * _GIB,
            times=5,
            of=5,
            below=True,
        ),
        Rule(
            "service-restarts",
            "A service of a node starts again and again: see its journal.",
            cw.MathExpression(
                expression="FILL(workers, 0) + FILL(units, 0)",
                using_metrics={
                    "workers": fleet.of(metrics.worker_restarts, "Sum", minutes=15),
                    "units": fleet.of(Host.SERVICE_RESTARTS, "Sum", minutes=15),
                },
                period=Duration.minutes(15),
                label="restarts",
            ),
            config.service_restarts,
            stops_rollout=True,
        ),
        Rule(
            "node-unhealthy",
            "A node gave itself up and is being replaced: once is an accident; more often, see why.",
            fleet.of(metrics.reported_unhealthy, "Maximum", minutes=WINDOW),
            1,
        ),
        Rule(
            "node-exporter-missing",
            "A node's disks and memory are not watched: see node_exporter there.",
            without(
                "host",
                fleet.nodes_with(metrics.sessions_capacity, SCRAPE_SECONDS, minutes=WINDOW),
                fleet.nodes_with(Host.MEMORY_FREE, SCRAPE_SECONDS, minutes=WINDOW),
            ),
            HALF_A_NODE,
            times=3,
            of=3,
            red_when_missing=True,
            section="exporter-missing",
        ),
        Rule(
            "agent-missing",
            "A node that takes calls sends no other metrics: see the CloudWatch agent there.",
            without("agent", published, fleet.nodes_with(metrics.sessions_capacity, SCRAPE_SECONDS, minutes=WINDOW)),
            HALF_A_NODE,
            times=3,
            of=3,
            red_when_missing=True,
            section="exporter-missing",
        ),
        Rule(
            "fleet-errors",
            "CloudWatch or Auto Scaling refuses what nodes send: see the node's role, and throttling.",
            fleet.of(metrics.fleet_errors, "Sum", minutes=15),
            config.fleet_errors,
        ),
    ]
