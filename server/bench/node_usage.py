"""What a node spent between two moments, by its own count: CPU, memory, and how late it was.

The gateway tells all of it on `/metrics`; of workers, only of those that it started.
"""

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from server.errors import VoicefleetError

Buckets = Mapping[float, float]
"""A histogram's cumulative counts by their upper bounds."""

_TIMEOUT_SECONDS = 5.0
_LATENESS, _LOOP_LAG = "voice_frame_lateness_seconds", "voice_event_loop_lag_seconds"
_WORKERS = ("stt", "tts")
_CPU_SERIES = {
    "gateway": ("process_cpu_seconds_total", ""),
    "vad": ("voice_model_cpu_seconds_total", "vad"),
    "smart_turn": ("voice_model_cpu_seconds_total", "smart_turn"),
} | {worker: (f"voice_{worker}_worker_process_cpu_seconds_total", "") for worker in _WORKERS}


class MetricsUnavailable(VoicefleetError):
    """The node's metrics can't be read."""


@dataclass(frozen=True, slots=True)
class NodeSample:
    """A node's counters at one moment: CPU seconds by part, as in `NodeUsage`; resident bytes; histograms by name."""

    cpu: Mapping[str, float]
    gateway_bytes: float
    workers_bytes: float
    histograms: Mapping[str, Buckets]


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """What a node spent: CPU seconds per second of calls, memory at the end.

    `cpu` is by part: gateway (of which are vad and smart_turn), and the workers stt and tts; empty without a second of
    calls. What a worker spent that the gateway did not start is not known, and is 0 here.
    """

    cpu: Mapping[str, float]
    gateway_mib: float
    workers_mib: float
    frame_lateness_p50_ms: float | None
    frame_lateness_p99_ms: float | None
    loop_lag_p99_ms: float | None

    @property
    def workers_cpu(self) -> float:
        """Of both workers."""
        return sum(self.cpu.get(worker, 0.0) for worker in _WORKERS)


def sample(metrics_url: str) -> NodeSample:
    """The counters now. Blocks. Raises `MetricsUnavailable`."""
    try:
        with urllib.request.urlopen(metrics_url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 # the user's own
            text = response.read().decode()
    except (OSError, ValueError) as error:
        raise MetricsUnavailable(f"{metrics_url} can't be read: {error}") from None
    values: dict[tuple[str, str], float] = {}
    histograms: dict[str, dict[float, float]] = {_LATENESS: {}, _LOOP_LAG: {}}
    for family in text_string_to_metric_families(text):
        for entry in family.samples:
            if family.name in histograms and entry.name.endswith("_bucket"):
                histograms[family.name][float(entry.labels["le"])] = entry.value
            values[entry.name, entry.labels.get("model", "")] = entry.value

    def resident(prefix: str) -> float:
        return values.get((f"{prefix}process_resident_memory_bytes", ""), 0.0)

    return NodeSample(
        cpu={part: values.get(series, 0.0) for part, series in _CPU_SERIES.items()},
        gateway_bytes=resident(""),
        workers_bytes=sum(resident(f"voice_{worker}_worker_") for worker in _WORKERS),
        histograms=histograms,
    )


def usage(before: NodeSample, after: NodeSample, call_seconds: float) -> NodeUsage:
    """What was spent between two samples, over `call_seconds` of calls."""
    seen = {
        name: {bound: count - before.histograms[name].get(bound, 0.0) for bound, count in buckets.items()}
        for name, buckets in after.histograms.items()
    }

    def ms(name: str, q: float) -> float | None:
        seconds = quantile(seen[name], q)
        return None if seconds is None else round(seconds * 1000, 2)

    spent = {part: after.cpu[part] - before.cpu[part] for part in after.cpu} if call_seconds else {}
    return NodeUsage(
        cpu={part: round(seconds / call_seconds, 5) for part, seconds in spent.items()},
        gateway_mib=round(after.gateway_bytes / 2**20, 1),
        workers_mib=round(after.workers_bytes / 2**20, 1),
        frame_lateness_p50_ms=ms(_LATENESS, 0.5),
        frame_lateness_p99_ms=ms(_LATENESS, 0.99),
        loop_lag_p99_ms=ms(_LOOP_LAG, 0.99),
    )


def quantile(buckets: Buckets, q: float) -> float | None:
    """The value below which a share `q` lies, even inside a bucket, as Prometheus reckons it; None of nothing.

    Beyond the last finite bound it is that bound, the most that the histogram can tell.
    """
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    rank = q * buckets[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds[:-1]:
        if buckets[bound] >= rank:
            return lower + (bound - lower) * (rank - below) / (buckets[bound] - below)
        lower, below = bound, buckets[bound]
    return lower
