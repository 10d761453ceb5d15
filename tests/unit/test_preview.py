"""Dashboards drawn before they are deployed: what a recording holds becomes what CloudWatch would show of it."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.transforms import BboxBase

from infra.metrics import exported_name
from infra.preview.drawing import draw, picture
from infra.preview.expressions import evaluate
from infra.preview.panels import curves, exporters
from infra.preview.recording import Scrape, read, record
from infra.preview.series import Recorded, Values
from infra.preview.template import NotUnderstood, Query, Widget, dashboards, resolved
from server.fleet.cloudwatch import GROUP_DIMENSION, NAMESPACE
from server.observability import metrics
from tests.support.fleet_template import REPOSITORY, fleet_template

RECORDING = REPOSITORY / "docs" / "dashboards" / "bench.jsonl.gz"
GROUP = {GROUP_DIMENSION: "voicefleet-prod"}


def page(active: int = 0, ended: int = 0, failed: int = 0, slow: int = 0, quick: int = 0) -> str:
    name = exported_name(metrics.voice_to_voice_seconds)
    return (
        f"# TYPE voice_sessions_active gauge\nvoice_sessions_active {active}\n"
        "# TYPE voice_turns_total counter\n"
        f'voice_turns_total{{status="completed"}} {ended}\nvoice_turns_total{{status="failed"}} {failed}\n'
        f'# TYPE {name} histogram\n{name}_bucket{{le="1.0"}} {quick}\n{name}_bucket{{le="2.0"}} {quick + slow}\n'
        f'{name}_bucket{{le="+Inf"}} {quick + slow}\n{name}_sum 0\n{name}_count {quick + slow}\n'
    )


def statistic(recorded: Recorded, name: str, statistic: str, period: int = 60, **labels: str) -> list[float]:
    values = recorded.statistic(Query(NAMESPACE, name, GROUP | labels, statistic, period))
    assert values is not None
    return [float(value) for value in values]


def test_a_counter_is_its_growth_since_the_scrape_before_over_all_its_series() -> None:
    recorded = Recorded(
        [Scrape(0, page(ended=5)), Scrape(60, page(ended=9, failed=1)), Scrape(120, page(ended=2)), Scrape(180, page())]
    )
    first, second, third = statistic(recorded, "voice_turns_total", "Sum")
    assert np.isnan(first), "the first scrape tells nothing of the time before"
    assert (second, third) == (5, 2), "a counter that fell has begun anew with its process"
    assert statistic(recorded, "voice_turns_total", "Sum", status="failed")[1] == 1


def test_a_gauge_is_taken_once_a_minute_as_the_agent_does() -> None:
    recorded = Recorded([Scrape(at, page(active=at)) for at in range(0, 121, 10)])
    assert statistic(recorded, "voice_sessions_active", "Average") == [0, 60]
    assert statistic(recorded, "voice_sessions_active", "SampleCount", 120) == [2]


def test_a_histogram_is_the_distribution_that_the_node_publishes() -> None:
    recorded = Recorded([Scrape(0, page(slow=100)), Scrape(10, page(slow=101, quick=9)), Scrape(60, page(slow=101))])
    name = exported_name(metrics.voice_to_voice_seconds)
    assert statistic(recorded, name, "SampleCount") == [10], "what was there before is not of this time"
    assert statistic(recorded, name, "p50") == [0.5], "the middle of the bucket, as published"
    assert statistic(recorded, name, "p95") == [1.5]


def test_what_nobody_recorded_has_no_values() -> None:
    recorded = Recorded([Scrape(0, page()), Scrape(60, page())])
    assert recorded.statistic(Query(NAMESPACE, "DCGM_FI_DEV_GPU_TEMP", GROUP)) is None
    assert recorded.statistic(Query("AWS/Bedrock", "Invocations", {"ModelId": "m"})) is None


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("FILL(gaps, 0) + 1", [1, 3]),
        ("IF(calls >= 5, 100 * calls / (calls + 5), 0)", [0, 50]),
        ("calls - FILL(gaps, 1)", [0, 3]),
    ],
)
def test_metric_math_gives_what_cloudwatch_says_it_gives(expression: str, value: list[float]) -> None:
    known: dict[str, Values] = {"gaps": np.array([np.nan, 2]), "calls": np.array([1.0, 5.0])}
    found = evaluate(expression, known.get)
    assert found is not None
    assert found.tolist() == value


def test_an_expression_over_a_metric_without_data_gives_nothing() -> None:
    assert evaluate("FILL(nothing, 0) + 1", lambda _: None) is None


@pytest.mark.parametrize("unknown", ["RATE(calls)", "calls ** 2", "__import__('os')", "calls.size"])
def test_metric_math_that_we_do_not_use_is_refused_and_never_run(unknown: str) -> None:
    with pytest.raises(NotUnderstood):
        evaluate(unknown, lambda _: np.array([1.0]))


def test_a_template_with_what_ours_do_not_have_is_refused() -> None:
    with pytest.raises(NotUnderstood, match="Fn::ImportValue"):
        resolved({"Fn::ImportValue": "other"}, {})


def test_every_graph_of_the_recording_is_drawn_or_says_who_would_have_to_report() -> None:
    recorded = Recorded(read(RECORDING))
    graphs = {
        widget.properties["title"]: widget
        for widgets in dashboards(fleet_template()).values()
        for widget in widgets
        if widget.kind == "metric"
    }
    drawn = {title for title, widget in graphs.items() if curves(widget, recorded)}
    assert {"Waterfall: median of each stage", "US$ per 1,000 call-minutes", "Live calls", "Gaps in answers"} <= drawn
    assert exporters(graphs["Temperature"]) == ["dcgm-exporter"]
    assert {who for title in graphs.keys() - drawn for who in exporters(graphs[title])} == {
        "AWS/Bedrock",
        "AWS/NetworkELB",
        "dcgm-exporter",
        "node_exporter",
        "the node",  # where one of the others is missing beside it
    }


def test_a_dashboard_becomes_a_picture(tmp_path: Path) -> None:
    widgets = dashboards(fleet_template())["latency"]
    draw("latency", widgets, Recorded(read(RECORDING)), tmp_path / "latency.png")
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def pictures() -> dict[str, Figure]:
    """Each dashboard of the recording, by its name, with everything at its place."""
    recorded = Recorded(read(RECORDING))
    found = {name: picture(widgets, recorded) for name, widgets in dashboards(fleet_template()).items()}
    for figure in found.values():
        figure.draw_without_rendering()
    return found


def test_a_graph_without_data_says_so_and_has_no_frame(pictures: dict[str, Figure]) -> None:
    (card,) = [axes for axes in pictures["gpu"].axes if axes.get_label() == "Temperature"]
    assert [text.get_text() for text in card.texts] == [
        "Temperature",
        "no data in this recording\nit comes from dcgm-exporter\nalarm gpu-hot at 85",
    ]
    over = [axes for axes in pictures["gpu"].axes if axes is not card and card.bbox.overlaps(axes.bbox)]
    assert over == []


def test_a_line_at_zero_is_seen_above_the_axis(pictures: dict[str, Figure]) -> None:
    graphs = [axes for figure in pictures.values() for axes in figure.axes if axes.lines and axes.get_legend()]
    assert {"Gaps in answers", "Draining"} <= {axes.get_title(loc="left") for axes in graphs}
    for axes in graphs:
        bottom, top = axes.get_ylim()
        assert 0.02 < -bottom / (top - bottom) < 0.05, axes.get_title(loc="left")


@pytest.mark.parametrize("name", ["bedrock", "cost", "fleet", "gpu", "latency", "nodes"])
def test_no_text_leaves_its_panel(pictures: dict[str, Figure], name: str) -> None:
    axes = pictures[name].axes
    cards = [one for one in axes if one.axison and not one.get_xticks().size]
    for one in axes:
        (card,) = [card for card in cards if inside(one.bbox, card.bbox)]
        drawn = one.get_tightbbox()
        assert drawn is not None
        assert inside(drawn, card.bbox.padded(1)), card.get_label() or one.texts[0]


def inside(box: BboxBase, other: BboxBase) -> bool:
    return other.x0 <= box.x0 <= box.x1 <= other.x1 and other.y0 <= box.y0 <= box.y1 <= other.y1


def test_the_pictures_of_the_documents_have_the_layout_that_is_deployed(pictures: dict[str, Figure]) -> None:
    for name, figure in pictures.items():
        height, width, _ = imread(RECORDING.with_name(f"{name}.png")).shape
        drawn = (int(figure.bbox.width), int(figure.bbox.height))
        assert (width, height) == drawn, f"{name}.png: draw it again (docs/dashboards.md)"


def test_widgets_stay_inside_the_grid_and_off_each_other() -> None:
    for widgets in dashboards(fleet_template()).values():
        cells = [cell for widget in widgets for cell in _cells(widget)]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24


def _cells(widget: Widget) -> list[tuple[int, int]]:
    columns, rows = range(widget.x, widget.x + widget.width), range(widget.y, widget.y + widget.height)
    return [(x, y) for x in columns for y in rows]


async def test_a_recording_holds_our_metrics_and_no_help(tmp_path: Path) -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(text="# HELP voice_turns_total Answers.\n" + page(ended=3) + "process_open_fds 7\n")

    app = web.Application()
    app.add_routes([web.get("/metrics", serve)])
    file = tmp_path / "node.jsonl.gz"
    async with TestServer(app) as server:
        assert await asyncio.to_thread(record, str(server.make_url("/metrics")), file, 0.5, 1.0) == 1
    (scrape,) = read(file)
    assert scrape.text == page(ended=3)
