"""What a node spent between two moments, by its own count: CPU, memory, and how late it was.

The gateway tells it on `/metrics`. Its workers' part is read from `/proc`, so it is known only where the gateway
started them on this machine, and on Linux.
"""

import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from server.errors import VoicefleetError

Buckets = Mapping[float, float]
"""A histogram's cumulative counts by their upper bounds."""

_TIMEOUT_SECONDS = 5.0
_LATENESS, _LOOP_LAG = "voice_frame_lateness_seconds", "voice_event_loop_lag_seconds"


class MetricsUnavailable(VoicefleetError):
    """The node's metrics can't be read."""


@dataclass(frozen=True, slots=True)
class NodeSample:
    """A node's counters at one moment: CPU seconds, resident bytes, histograms by name."""

    gateway_cpu: float
    gateway_bytes: float
    workers_cpu: float
    workers_bytes: float
    histograms: Mapping[str, Buckets]


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """What a node spent: CPU seconds per second of calls (None without any), memory at the end.

    The workers' figures are 0 where the gateway started none.
    """

    gateway_cpu: float | None
    workers_cpu: float | None
    gateway_mib: float
    workers_mib: float
    frame_lateness_p50_ms: float | None
    frame_lateness_p99_ms: float | None
    loop_lag_p99_ms: float | None


def sample(metrics_url: str, pid: int | None = None) -> NodeSample:
    """The counters now; `pid` is the gateway's process, if it runs here. Blocks. Raises `MetricsUnavailable`."""
    try:
        with urllib.request.urlopen(metrics_url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 # the user's own
            text = response.read().decode()
    except (OSError, ValueError) as error:
        raise MetricsUnavailable(f"{metrics_url} can't be read: {error}") from None
    values: dict[str, float] = {}
    histograms: dict[str, dict[float, float]] = {_LATENESS: {}, _LOOP_LAG: {}}
    for family in text_string_to_metric_families(text):
        for entry in family.samples:
            if family.name in histograms and entry.name.endswith("_bucket"):
                histograms[family.name][float(entry.labels["le"])] = entry.value
            elif not entry.labels:
                values[entry.name] = entry.value
    workers = [_process(child) for child in _children(pid)] if pid else []
    return NodeSample(
        gateway_cpu=values.get("process_cpu_seconds_total", 0.0),
        gateway_bytes=values.get("process_resident_memory_bytes", 0.0),
        workers_cpu=sum(cpu for cpu, _ in workers),
        workers_bytes=sum(resident for _, resident in workers),
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

    def per_call(cpu: float) -> float | None:
        return round(cpu / call_seconds, 5) if call_seconds else None

    return NodeUsage(
        gateway_cpu=per_call(after.gateway_cpu - before.gateway_cpu),
        workers_cpu=per_call(after.workers_cpu - before.workers_cpu),
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


def _children(pid: int) -> list[Path]:
    """The `/proc` folders of the processes that `pid` started."""
    return [
        stat.parent for stat in Path("/proc").glob("[0-9]*/stat") if (fields := _stat(stat)) and int(fields[1]) == pid
    ]


def _stat(path: Path) -> list[str]:
    """Fields of `/proc/PID/stat` from the third (state) on; the second is a name in brackets with anything in it."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return []


def _process(folder: Path) -> tuple[float, float]:
    """CPU seconds and resident bytes of a process; nothing of one that has ended."""
    fields = _stat(folder / "stat")
    if not fields:
        return 0.0, 0.0
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return cpu, float(fields[21]) * os.sysconf("SC_PAGE_SIZE")
