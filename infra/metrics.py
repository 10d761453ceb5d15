"""How a metric becomes one of CloudWatch: an object declared in the server, a DCGM field, a name of node_exporter's.

Nothing here invents a name: a typing error is an error of Python, and a test compares what is used with what is
exported and carried (`tests/unit/test_exported_metrics.py`).
"""

from dataclasses import dataclass
from enum import StrEnum

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw
from prometheus_client.metrics import MetricWrapperBase

from server.fleet.cloudwatch import GROUP_DIMENSION, NAMESPACE

NODE_DIMENSION = "InstanceId"
MODEL_CACHE = "/mnt/nvme"  # where a node mounts its instance store
SCRAPE_SECONDS = 60  # of the CloudWatch agent (image/files/cloudwatch-agent/prometheus.yaml)


class Gpu(StrEnum):
    """Fields of `image/files/dcgm-exporter/counters.csv`, as dcgm-exporter exports them."""

    XID_ERRORS = "DCGM_EXP_XID_ERRORS_COUNT"  # in the last five minutes; DCGM_FI_DEV_XID_ERRORS keeps its last for ever
    ECC_DOUBLE_BIT = "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"
    ROW_REMAP_FAILURE = "DCGM_FI_DEV_ROW_REMAP_FAILURE"
    MEMORY_FREE = "DCGM_FI_DEV_FB_FREE"  # MiB: how much there is in all differs between the types of a fleet
    TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"  # degrees Celsius
    POWER_VIOLATION = "DCGM_FI_DEV_POWER_VIOLATION"  # nanoseconds
    THERMAL_VIOLATION = "DCGM_FI_DEV_THERMAL_VIOLATION"  # nanoseconds
    POWER = "DCGM_FI_DEV_POWER_USAGE"  # watts
    UTILIZATION = "DCGM_FI_DEV_GPU_UTIL"  # per cent
    CLOCK = "DCGM_FI_DEV_SM_CLOCK"  # MHz


class Host(StrEnum):
    """Names of `image/files/node_exporter/metrics.txt`."""

    DISK_FREE = "node_filesystem_avail_bytes"  # by `mountpoint`
    MEMORY_FREE = "node_memory_MemAvailable_bytes"
    LOAD = "node_load1"
    SERVICE_RESTARTS = "node_systemd_service_restart_total"


class Boot(StrEnum):
    """What the scripts of `image/boot` write into text files, which node_exporter serves beside its own."""

    READY = "voice_boot_ready_seconds"  # from the kernel's start to the first call that could be taken
    STAGE = "voice_boot_stage_seconds"  # by `stage`
    CACHE_ON_ROOT = "voice_model_cache_on_root"  # 1 for want of an instance-store disk


Source = MetricWrapperBase | Gpu | Host | Boot


def exported_name(source: Source) -> str:
    """The name under which it stands on its exporter's page and in CloudWatch."""
    if isinstance(source, StrEnum):
        return source.value
    (family,) = source.describe()
    return f"{family.name}_total" if family.type == "counter" else family.name


@dataclass(frozen=True, slots=True)
class FleetMetrics:
    """The metrics of the nodes of one Auto Scaling group, all nodes together."""

    group: str

    def of(
        self, source: Source, statistic: str, *, minutes: int = 1, label: str | None = None, **dimensions: str
    ) -> cw.Metric:
        """A statistic over all nodes, for each `minutes`. `dimensions` are further labels by which it is carried."""
        return self.aws(NAMESPACE, exported_name(source), statistic, minutes=minutes, label=label, **dimensions)

    def aws(
        self,
        namespace: str,
        name: str,
        statistic: str,
        *,
        minutes: int = 1,
        label: str | None = None,
        **dimensions: str,
    ) -> cw.Metric:
        """The same of a namespace that has the group as a dimension, such as AWS/AutoScaling."""
        return cw.Metric(
            namespace=namespace,
            metric_name=name,
            statistic=statistic,
            period=Duration.minutes(minutes),
            label=label,
            dimensions_map={GROUP_DIMENSION: self.group, **dimensions},
        )

    def each_node(self, source: Source, statistic: str, **dimensions: str) -> cw.SearchExpression:
        """A line for each node of the group that was there in the time shown."""
        keys = ",".join([NAMESPACE, GROUP_DIMENSION, NODE_DIMENSION, *dimensions])
        wanted = {"MetricName": exported_name(source), GROUP_DIMENSION: self.group, **dimensions}
        terms = " ".join(f'{key}="{value}"' for key, value in wanted.items())
        return cw.SearchExpression(
            expression=f"SEARCH('{{{keys}}} {terms}', '{statistic}', {SCRAPE_SECONDS})",
            label="${PROP('Dim." + NODE_DIMENSION + "')}",
            period=Duration.seconds(SCRAPE_SECONDS),
        )

    def nodes_with(self, source: Source, interval: float, *, minutes: int) -> cw.MathExpression:
        """How many nodes report it, where each reports a value every `interval` seconds."""
        samples = f"samples_of_{exported_name(source)}"  # unique, as it may be a part of another expression
        return cw.MathExpression(
            expression=f"{samples} * {interval / (60 * minutes):g}",
            using_metrics={samples: self.of(source, "SampleCount", minutes=minutes)},
            period=Duration.minutes(minutes),
        )

    def in_service(self, minutes: int = 1) -> cw.Metric:
        """Nodes that take calls, as the group knows them."""
        return self.aws("AWS/AutoScaling", "GroupInServiceInstances", "Average", minutes=minutes, label="in service")


@dataclass(frozen=True, slots=True)
class BalancerMetrics:
    """The metrics of a load balancer and its target group, each by its full name.

    The constructs' own metrics take these names from the ARN of a listener, and CloudFormation splits no output of
    another stack.
    """

    load_balancer: str
    target_group: str

    def flows(self, name: str, statistic: str, label: str) -> cw.Metric:
        """A statistic over the whole load balancer, for each minute."""
        return self._metric(name, statistic, label, {"LoadBalancer": self.load_balancer})

    def targets(self, name: str, statistic: str, label: str) -> cw.Metric:
        """One over its targets. Each zone counts for itself, and a small fleet may leave a zone empty."""
        both = {"LoadBalancer": self.load_balancer, "TargetGroup": self.target_group}
        return self._metric(name, statistic, label, both)

    def _metric(self, name: str, statistic: str, label: str, dimensions: dict[str, str]) -> cw.Metric:
        return cw.Metric(
            namespace="AWS/NetworkELB",
            metric_name=name,
            statistic=statistic,
            period=Duration.minutes(1),
            label=label,
            dimensions_map=dimensions,
        )


def bedrock(model: str, name: str, statistic: str, *, label: str | None = None) -> cw.Metric:
    """A metric of a Bedrock model or inference profile, over all its users in this account and region."""
    return cw.Metric(
        namespace="AWS/Bedrock",
        metric_name=name,
        statistic=statistic,
        period=Duration.minutes(1),
        label=label,
        dimensions_map={"ModelId": model},
    )


def slowed_percent(fleet: FleetMetrics, violation: Gpu) -> cw.MathExpression:
    """Share of the time, in per cent, for which the worst GPU was slowed down."""
    return cw.MathExpression(
        expression=f"slowed / {SCRAPE_SECONDS * 10**9} * 100",
        using_metrics={"slowed": fleet.of(violation, "Maximum")},
        period=Duration.minutes(1),
        label="% of the time, worst GPU",
    )
