"""Each node by itself."""

from infra.dashboards.board import Board, Rows
from infra.metrics import MODEL_CACHE, Gpu, Host
from server.node import metrics


def rows(board: Board) -> Rows:
    """The rows of the page."""
    fleet = board.fleet
    return [
        [
            board.text(
                "Which node is it?",
                "A line for each node, by its instance id: the one that stands apart is the one to look at. Nodes that "
                "are gone stay in view as long as the time shown.",
                "drain-a-node",
                "disk-low",
                "memory-low",
                "service-restarts",
                "node-unhealthy",
            )
        ],
        [
            board.graph("Live calls", fleet.each_node(metrics.sessions_active, "Average"), unit="calls"),
            board.graph("Places", fleet.each_node(metrics.sessions_capacity, "Average"), unit="calls"),
            board.graph("Draining", fleet.each_node(metrics.draining, "Maximum"), unit="1: takes no new calls"),
        ],
        [
            board.graph("GPU temperature", fleet.each_node(Gpu.TEMPERATURE, "Maximum"), alarms=["gpu-hot"], unit="°C"),
            board.graph(
                "GPU memory used", fleet.each_node(Gpu.MEMORY_USED, "Maximum"), alarms=["gpu-memory-used"], unit="MiB"
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
    ]
