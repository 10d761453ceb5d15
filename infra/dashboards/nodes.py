"""Each node by itself."""

from infra.dashboards.board import Board, Rows
from infra.metrics import MODEL_CACHE, Boot, Gpu, Host
from server.observability import metrics

# Of voice_boot_stage_seconds, in their order; the workers load side by side.
_BOOT_STAGES = {
    "system": "the system itself",
    "cache": "disks of the model cache",
    "models": "fetching models",
    "stt": "STT worker",
    "tts": "TTS worker",
    "gateway": "gateway",
}


def rows(board: Board) -> Rows:
    """The rows of the page."""
    fleet = board.fleet
    system, *later_stages = (
        board.graph(f"Start: {title}", fleet.each_node(Boot.STAGE, "Maximum", stage=stage), unit="seconds", width=width)
        for (stage, title), width in zip(_BOOT_STAGES.items(), (8, 5, 5, 5, 5, 4), strict=True)
    )
    return [
        [
            board.text(
                "Which node is it?",
                "A line for each node, by its instance id: the one that stands apart is the one to look at. Nodes that "
                "are gone stay in view as long as the time shown. The last two rows say why one started slowly.",
                "drain-a-node",
                "disk-low",
                "model-cache-on-root",
                "memory-low",
                "service-restarts",
                "clauses-late",
                "node-unhealthy",
            )
        ],
        [
            board.graph("Live calls", fleet.each_node(metrics.sessions_active, "Average"), unit="calls"),
            board.graph("Places", fleet.each_node(metrics.sessions_capacity, "Average"), unit="calls"),
            board.graph("Draining", fleet.each_node(metrics.draining, "Maximum"), unit="1: takes no new calls"),
        ],
        [
            board.graph(
                "Streams that the voice can speak", fleet.each_node(metrics.tts_worker_streams, "Sum"), unit="streams"
            ),
            board.graph(
                "How much agents talk", fleet.each_node(metrics.agent_talk_ratio, "Average"), unit="share of a call"
            ),
            board.graph("Clauses that came late", fleet.each_node(metrics.late_clauses, "Sum"), unit="a minute"),
        ],
        [
            board.graph("GPU temperature", fleet.each_node(Gpu.TEMPERATURE, "Maximum"), alarms=["gpu-hot"], unit="°C"),
            board.graph(
                "GPU memory free", fleet.each_node(Gpu.MEMORY_FREE, "Minimum"), alarms=["gpu-memory-low"], unit="MiB"
            ),
            board.graph(
                "XIDs in 5 minutes", fleet.each_node(Gpu.XID_ERRORS, "Maximum"), alarms=["gpu-xid"], unit="count"
            ),
        ],
        [
            board.graph(
                "Free on the root volume",
                fleet.each_node(Host.DISK_FREE, "Minimum", mountpoint="/"),
                alarms=["root-disk-low"],
                unit="bytes",
            ),
            board.graph(
                "Free in the model cache",
                fleet.each_node(Host.DISK_FREE, "Minimum", mountpoint=MODEL_CACHE),
                alarms=["model-cache-low"],
                unit="bytes",
            ),
            board.graph(
                "Memory available",
                fleet.each_node(Host.MEMORY_FREE, "Minimum"),
                alarms=["memory-low"],
                unit="bytes",
            ),
        ],
        [
            board.graph("Processes that want a core", fleet.each_node(Host.LOAD, "Average"), unit="load, 1 minute"),
            board.alarm_graph("Restarts of services", "service-restarts", unit="in 15 minutes"),
            board.graph(
                "Nodes that go unwatched",
                *(
                    board.alarms.metric(name)
                    for name in ("node-not-publishing", "agent-missing", "node-exporter-missing")
                ),
                alarms=["agent-missing"],
                unit="nodes",
            ),
        ],
        [
            board.graph("Start: until the first call", fleet.each_node(Boot.READY, "Maximum"), unit="seconds"),
            board.graph(
                "Model cache on the root volume",
                fleet.each_node(Boot.CACHE_ON_ROOT, "Maximum"),
                alarms=["model-cache-on-root"],
                unit="1: for want of a disk",
            ),
            system,
        ],
        [*later_stages],
    ]
