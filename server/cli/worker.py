"""`voicefleet worker`: one of the two speech workers as a service of its own, over TCP, for gateways on other machines.

What it serves is the same as on a unix socket beside a node. On any but a loopback address it asks for TLS and a token.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated

import grpc
import typer
from rich.console import Console

from server.addresses import is_loopback, split_address
from server.cli.console import errors_shown, settings_for_node
from server.cli.models import pull_with_progress
from server.cli.preflight import check_listen
from server.cli.serve import Config
from server.models.catalogue import TTS_MODELS, is_folder
from server.models.store import ModelStore
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.websocket_handler import tls_context
from server.workers.preflight import check_stt, check_tts
from server.workers.serving import Access

app = typer.Typer(
    no_args_is_help=True,
    help="Run a speech worker as a service of its own. docs/speech-service.md says how gateways use it.",
)
Listen = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where to listen, such as 0.0.0.0:50051; port 0 takes a free one.")
]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate chain (PEM) [VOICE_TLS_CERT].")]
TlsKey = Annotated[Path | None, typer.Option(help="Private key (PEM) of the certificate [VOICE_TLS_KEY].")]
_Run = Callable[[Settings, str, Access], Coroutine[None, None, None]]


@app.command()
def tts(listen: Listen, tls_cert: TlsCert = None, tls_key: TlsKey = None, config: Config = None) -> None:
    """Serve speech synthesis until stopped. The model is fetched first if it is missing.

    Any but a loopback address needs TLS and a VOICE_WORKER_TOKEN, which gateways then show.
    """
    with errors_shown(serves=True):
        from server.workers.tts_worker import run  # noqa: PLC0415  # an engine's libraries, for this command alone

        settings = settings_for_node(config, tls_cert=tls_cert, tls_key=tls_key)
        _serve(settings, listen, TTS_MODELS[settings.tts], check_tts, run)


@app.command()
def stt(listen: Listen, tls_cert: TlsCert = None, tls_key: TlsKey = None, config: Config = None) -> None:
    """Serve speech recognition until stopped. The model is fetched first if it is missing.

    Any but a loopback address needs TLS and a VOICE_WORKER_TOKEN.
    """
    with errors_shown(serves=True):
        from server.workers.stt_worker import run  # noqa: PLC0415  # an engine's libraries, for this command alone

        settings = settings_for_node(config, tls_cert=tls_cert, tls_key=tls_key)
        _serve(settings, listen, settings.stt_model, check_stt, run)


def _serve(settings: Settings, listen: str, model: str, check: Callable[[Settings], None], run: _Run) -> None:
    _check_address(settings, listen)
    access = _access(settings)
    check(settings)
    if not is_folder(model):
        pull_with_progress(ModelStore.from_settings(settings), [model], Console(stderr=True))
    asyncio.run(run(settings, listen, access))


def _check_address(settings: Settings, listen: str) -> None:
    """Raises `SettingsError` for what is no address, and for one that others can reach and nothing guards.

    Raises `CannotListen` for one that can't be had.
    """
    host, port = split_address(listen)
    if not (host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise SettingsError(f"--listen: got {listen!r}; takes HOST:PORT, such as 127.0.0.1:50051 or [::]:50051")
    guarded = settings.worker_token is not None and settings.tls_cert is not None
    if not (guarded or is_loopback(host)):
        raise SettingsError(
            f"--listen: got {listen!r}, which others can reach; takes a loopback address such as 127.0.0.1:50051 "
            "unless there are VOICE_WORKER_TOKEN, VOICE_TLS_CERT and VOICE_TLS_KEY"
        )
    check_listen(host, int(port), f"--listen: got {listen!r}", f"--listen: got {listen!r}")


def _access(settings: Settings) -> Access:
    """Raises `SettingsError` for a certificate or key that can't be used."""
    token = settings.worker_token.get_secret_value() if settings.worker_token else None
    tls_context(settings)  # which says what is wrong with them; gRPC does not
    if settings.tls_cert is None or settings.tls_key is None:
        return Access(token)
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    return Access(token, grpc.ssl_server_credentials([pair]))
