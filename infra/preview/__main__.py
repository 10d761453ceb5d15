"""`python -m infra.preview`: record a node's metrics, and draw the dashboards from them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from infra.preview import recording
from infra.preview.drawing import draw as draw_dashboard
from infra.preview.series import Recorded
from infra.preview.template import dashboards

app = typer.Typer(help="Draw the dashboards before they are deployed.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(dir_okay=False, help="The recording, gzipped JSON lines.")]


@app.command()
def record(
    url: Annotated[str, typer.Argument(help="A node's metrics, such as http://127.0.0.1:9001/metrics.")],
    file: File,
    seconds: Annotated[float, typer.Option(min=1, help="For how long.")] = 600.0,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks; a node publishes every 10.")] = 10.0,
) -> None:
    """Look at a node's metrics every few seconds, while `voicefleet bench` calls it."""
    typer.echo(f"{recording.record(url, file, seconds, every)} pages in {file}")


@app.command()
def draw(
    template: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="What `cdk synth` made: cdk.out/NAME.template.json.")
    ],
    file: File,
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where the pictures go.")],
) -> None:
    """Draw every dashboard of a template with what a recording holds, one PNG each."""
    recorded = Recorded(recording.read(file))
    folder.mkdir(parents=True, exist_ok=True)
    for name, widgets in dashboards(json.loads(template.read_text(encoding="utf-8"))).items():
        draw_dashboard(name, widgets, recorded, folder / f"{name}.png")
        typer.echo(folder / f"{name}.png")


if __name__ == "__main__":
    app()
