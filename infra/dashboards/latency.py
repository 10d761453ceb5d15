"""Where the time of an answer goes."""

from infra.dashboards.board import Board, Rows
from server.observability import metrics
from server.observability.waterfall import STAGES

_PERCENTILES = ("p50", "p90", "p95", "p99")


def rows(board: Board) -> Rows:
    """The rows of the page."""
    fleet = board.fleet
    return [
        [
            board.text(
                "Which stage makes answers slow?",
                "From the caller's last word to the first sound of the answer. On the left the medians of the stages, "
                "one upon another: the layer that grew is the one to look at. Medians do not add up exactly.",
                "answers-slow",
                "speech-errors",
                "llm-errors",
            )
        ],
        [
            board.graph(
                "Waterfall: median of each stage",
                *(fleet.of(metrics.turn_stage_seconds, "p50", label=stage, stage=stage) for stage in STAGES),
                unit="seconds",
                width=12,
                height=8,
                stacked=True,
            ),
            board.graph(
                "Voice to voice",
                *(fleet.of(metrics.voice_to_voice_seconds, statistic, label=statistic) for statistic in _PERCENTILES),
                alarms=["answers-slow"],
                unit="seconds",
                width=12,
                height=8,
            ),
        ],
        [
            board.graph(
                f"{statistic} of each stage",
                *(fleet.of(metrics.turn_stage_seconds, statistic, label=stage, stage=stage) for stage in STAGES),
                unit="seconds",
                width=12,
            )
            for statistic in ("p95", "p99")
        ],
        [
            board.graph(
                "Answers",
                fleet.of(metrics.turns, "Sum", label="ended"),
                fleet.of(metrics.interruptions, "Sum", label="cut off by the caller"),
                unit="a minute",
            ),
            board.alarm_graph("Gaps in answers", "audio-gaps", unit="% of answers"),
            board.graph(
                "How late clauses came for the caller's playout",
                *(fleet.of(metrics.clause_lateness_seconds, statistic, label=statistic) for statistic in _PERCENTILES),
                unit="seconds",
            ),
        ],
    ]
