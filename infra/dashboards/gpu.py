"""The GPUs, as DCGM sees them."""

from infra.dashboards.board import Board, Rows
from infra.metrics import Gpu


def rows(board: Board) -> Rows:
    """The rows of the page."""
    fleet, alarms = board.fleet, board.alarms
    return [
        [
            board.text(
                "Is a GPU failing, or in the way?",
                "Faults first: any is a reason to replace the node. Then what slows GPUs down, then how busy they are. "
                "Lines are the worst or the average of all nodes; the page of nodes shows each.",
                "gpu-failing",
                "gpu-xid",
                "gpu-memory-fault",
                "gpu-hot",
                "exporter-missing",
            )
        ],
        [
            board.status(
                "GPU alarms",
                [alarm for name, alarm in alarms.alarms.items() if name.startswith("gpu-")],
                width=8,
            ),
            board.graph(
                "Faults",
                fleet.of(Gpu.XID_ERRORS, "Maximum", label="XIDs in 5 minutes"),
                fleet.of(Gpu.ECC_DOUBLE_BIT, "Sum", label="ECC double-bit"),
                fleet.of(Gpu.ROW_REMAP_FAILURE, "Maximum", label="row remap failed"),
                alarms=["gpu-xid"],
                unit="count",
            ),
            board.alarm_graph("GPUs that nobody watches", "gpu-exporter-missing", unit="nodes"),
        ],
        [
            board.graph(
                "Temperature",
                fleet.of(Gpu.TEMPERATURE, "Maximum", label="hottest"),
                fleet.of(Gpu.TEMPERATURE, "Average", label="average"),
                alarms=["gpu-hot"],
                unit="°C",
            ),
            board.alarm_graph("Slowed down for heat", "gpu-thermal-throttling", unit="% of the time"),
            board.alarm_graph("Slowed down for power", "gpu-power-throttling", unit="% of the time"),
        ],
        [
            board.graph(
                "Memory free",
                fleet.of(Gpu.MEMORY_FREE, "Minimum", label="fullest"),
                fleet.of(Gpu.MEMORY_FREE, "Average", label="average"),
                alarms=["gpu-memory-low"],
                unit="MiB",
            ),
            board.graph(
                "Busy",
                fleet.of(Gpu.UTILIZATION, "Maximum", label="busiest"),
                fleet.of(Gpu.UTILIZATION, "Average", label="average"),
                unit="% of the time",
            ),
            board.graph(
                "Power and clock",
                fleet.of(Gpu.POWER, "Average", label="power"),
                right=[fleet.of(Gpu.CLOCK, "Average", label="clock")],
                unit="W",
                right_unit="MHz",
            ),
        ],
    ]
