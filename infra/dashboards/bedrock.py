"""The language model, as Bedrock counts it and as the nodes see it."""

from collections.abc import Sequence
from typing import get_args

from aws_cdk import aws_cloudwatch as cw

from infra.dashboards.board import Board, Rows
from infra.metrics import bedrock
from server.addresses import without_secrets
from server.llm.interface import LlmFailure
from server.llm.race import REASONS
from server.observability import metrics
from server.spoken_lines import LineKind


def rows(board: Board, names: Sequence[str], models: Sequence[str]) -> Rows:
    """The rows of the page. `names` are the models as nodes name them, `models` those that Bedrock counts."""
    fleet = board.fleet
    page: Rows = [
        [
            board.text(
                "Is the language model the reason?",
                f"What the nodes see on top, then what Bedrock counts for {', '.join(models)}: of everyone in this "
                "account and region, retries included.",
                "llm-errors",
                "llm-failovers",
                "spoken-lines",
                "bedrock-throttles",
            )
        ],
        [
            board.graph(
                "First token, as nodes see it",
                *(
                    fleet.of(metrics.turn_stage_seconds, statistic, label=statistic, stage="llm_first_token")
                    for statistic in ("p50", "p95", "p99")
                ),
                unit="seconds",
            ),
            board.graph(
                "Failed requests of nodes",
                *(
                    fleet.of(metrics.llm_errors, "Sum", label=failure, failure=failure)
                    for failure in get_args(LlmFailure)
                ),
                alarms=["llm-throttled"],
                unit="a minute",
            ),
            board.graph(
                "Tokens of nodes",
                *(fleet.of(metrics.llm_tokens, "Sum", label=kind, kind=kind) for kind in ("input", "cached", "output")),
                unit="a minute",
            ),
        ],
    ]
    page.append(
        [
            board.graph(
                "Answers that another model gave or finished",
                *(fleet.of(metrics.llm_failovers, "Sum", label=reason, reason=reason) for reason in REASONS),
                unit="a minute",
                width=6,
            ),
            board.graph(
                "Asked beside a slow one",
                *(
                    fleet.of(metrics.llm_hedges, "Sum", label=outcome, outcome=outcome)
                    for outcome in ("won", "lost", "failed")
                ),
                unit="a minute",
                width=6,
            ),
            board.graph(
                "Circuit breaker of each model",
                *(
                    fleet.of(metrics.llm_breaker_state, "Maximum", label=name, model=without_secrets(name))
                    for name in names
                ),
                unit="0 closed, 2 open",
                width=6,
            ),
            board.graph(
                "Lines in place of answers",
                *(fleet.of(metrics.spoken_lines, "Sum", label=kind, kind=kind) for kind in get_args(LineKind)),
                unit="a minute",
                width=6,
            ),
        ]
    )
    page += [_counted_by_bedrock(board, model) for model in models]
    return page


def _counted_by_bedrock(board: Board, model: str) -> list[cw.IWidget]:
    return [
        board.graph(
            f"Requests: {model}",
            bedrock(model, "Invocations", "Sum", label="taken"),
            bedrock(model, "InvocationThrottles", "Sum", label="throttled"),
            bedrock(model, "InvocationClientErrors", "Sum", label="client errors"),
            bedrock(model, "InvocationServerErrors", "Sum", label="server errors"),
            alarms=["llm-throttled"],
            unit="a minute",
        ),
        board.graph(
            f"Whole answer: {model}",
            *(bedrock(model, "InvocationLatency", statistic, label=statistic) for statistic in ("p50", "p95")),
            unit="milliseconds",
        ),
        board.graph(
            f"Tokens: {model}",
            bedrock(model, "InputTokenCount", "Sum", label="input"),
            bedrock(model, "OutputTokenCount", "Sum", label="output"),
            unit="a minute",
        ),
    ]
