"""The program `voicefleet`: its commands, each in a module of its own under `server/cli/`."""

from typing import Any

import typer
from typer.core import TyperGroup

from server.cli.stopping import silent_interrupt

with silent_interrupt():  # it takes a second or two
    from server.cli import models, worker
    from server.cli.bench import bench
    from server.cli.bench_simulate import simulate as bench_simulate
    from server.cli.bench_tts import tts as bench_tts
    from server.cli.bench_turns import turns as bench_turns
    from server.cli.call import call
    from server.cli.demo import demo
    from server.cli.serve import serve
    from server.cli.token import token


class WithDefault(TyperGroup):
    """A group whose first command is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Names it, unless help on the group is asked for."""
        if not args or args[0] not in (*self.commands, "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


cli = typer.Typer(
    name="voicefleet",
    help="A real-time conversational voice server. Start with `voicefleet demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with local variables could hold what a caller said
)
for command in (serve, demo, call, token):
    cli.command()(command)
benches = typer.Typer(
    cls=WithDefault,
    help="Measure a node, its turn-taking, or its voice alone; reckon what a GPU would do. Without a command's name: "
    "`calls`, as in `voicefleet bench --calls 8`.",
)
benches.command("calls")(bench)
benches.command("turns")(bench_turns)
benches.command("tts")(bench_tts)
benches.command("simulate")(bench_simulate)
cli.add_typer(benches, name="bench")
cli.add_typer(worker.app, name="worker")
cli.add_typer(models.app, name="models")

if __name__ == "__main__":
    cli()
