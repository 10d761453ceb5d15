"""The command lines of the speech workers that a node has to start itself, and the addresses of all of them."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from server.settings.settings import PREFIX, Settings

_FOR_WORKERS = ("model_", "stt_", "tts", "log_level")
_FOR_THE_GATEWAY = {"stt_address", "tts_address", "tts_ca_file"}


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How a worker is started, and the gRPC address it then serves."""

    name: str
    argv: tuple[str, ...]
    address: str
    environment: dict[str, str] = field(repr=False)


def speech_workers(settings: Settings, run_dir: Path) -> list[WorkerCommand]:
    """The workers, called stt and tts, for which `settings` gives no address; their sockets are in `run_dir`."""
    given = {"stt": bool(settings.stt_address), "tts": bool(settings.tts_address)}
    environment = worker_environment(settings)
    return [
        WorkerCommand(
            name,
            (sys.executable, "-m", f"server.workers.{name}_worker", "--address", f"unix:{run_dir / name}.sock"),
            f"unix:{run_dir / name}.sock",
            environment,
        )
        for name, is_given in given.items()
        if not is_given
    ]


def worker_environment(settings: Settings) -> dict[str, str]:
    """This process's environment, of the settings only those that concern workers: secrets stay in the gateway."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    passed = {
        PREFIX + name.upper(): str(value)
        for name in Settings.model_fields
        if name.startswith(_FOR_WORKERS)
        and name not in _FOR_THE_GATEWAY
        and (value := getattr(settings, name)) is not None
    }
    return inherited | passed
