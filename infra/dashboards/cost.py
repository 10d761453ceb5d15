"""What a call costs in nodes."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw

from infra.dashboards.board import Board, Rows
from server.observability import metrics

_WINDOW = 5  # minutes


def rows(board: Board, hourly_price: float) -> Rows:
    """The rows of the page; `hourly_price` is in US dollars, of the first instance type."""
    fleet = board.fleet
    nodes = fleet.aws("AWS/AutoScaling", "GroupTotalInstances", "Average", minutes=_WINDOW, label="nodes")
    in_service = fleet.in_service(_WINDOW)
    call_minutes = fleet.of(metrics.sessions_active, "Sum", minutes=_WINDOW)  # scraped once a minute from each node
    load = fleet.of(metrics.sessions_utilization, "Average", minutes=_WINDOW)
    minute_price = f"{hourly_price} / 60"

    def reckoned(expression: str, label: str, **used: cw.IMetric) -> cw.MathExpression:
        return cw.MathExpression(
            expression=expression, label=label, using_metrics=used, period=Duration.minutes(_WINDOW)
        )

    return [
        [
            board.text(
                "What do 1,000 minutes of calls cost?",
                f"Every instance of the group, joining and leaving ones too, times {hourly_price} US\\$ an hour (the "
                "configured on-demand price of the first instance type), over the minutes of live calls. Not in it: "
                "other types' prices, spot, storage, traffic, Bedrock.",
                "scale-by-hand",
            )
        ],
        [
            board.graph(
                "US$ per 1,000 call-minutes",
                reckoned(
                    f"IF(calls > 0, 1000 * nodes * {_WINDOW} * {minute_price} / calls)",
                    "US$ per 1,000 call-minutes",
                    nodes=nodes,
                    calls=call_minutes,
                ),
                unit="US$",
                width=12,
            ),
            board.graph(
                "US$ an hour",
                reckoned(f"nodes * {hourly_price}", "all nodes", nodes=nodes),
                reckoned(f"ready * {hourly_price} * (1 - load)", "free places", ready=in_service, load=load),
                right=[nodes],
                unit="US$ an hour",
                right_unit="nodes",
                width=12,
            ),
        ],
        [
            board.graph("Minutes of calls", call_minutes.with_(label="in five minutes"), unit="call-minutes", width=12),
            board.graph(
                "Calls of a node",
                fleet.of(metrics.sessions_active, "Average", minutes=_WINDOW, label="average"),
                fleet.of(metrics.sessions_capacity, "Average", minutes=_WINDOW, label="places"),
                unit="calls",
                width=12,
            ),
        ],
    ]
