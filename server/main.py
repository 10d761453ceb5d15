"""The program `voicefleet`: its commands, each in a module of its own under `server/cli/`."""

import typer

from server.cli import models, worker
from server.cli.bench import bench
from server.cli.call import call
from server.cli.demo import demo
from server.cli.serve import serve
from server.cli.token import token

cli = typer.Typer(
    name="voicefleet",
    help="A real-time conversational voice server. Start with `voicefleet demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with local variables could hold what a caller said
)
for command in (serve, demo, call, bench, token):
    cli.command()(command)
cli.add_typer(worker.app, name="worker")
cli.add_typer(models.app, name="models")

if __name__ == "__main__":
    cli()
