"""What can be known to be wrong with the settings of a node before its models are fetched, let alone loaded."""

import errno
import socket

from server.node.node import CannotListen
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.websocket_handler import tls_context
from server.workers.client import Credentials
from server.workers.preflight import check_stt, check_tts


def preflight(settings: Settings) -> None:
    """Raises `SettingsError` where a node with these settings could not run on this machine."""
    tls_context(settings)
    Credentials.from_settings(settings)
    if settings.run_dir is not None and not settings.run_dir.is_dir():
        raise SettingsError(f"VOICE_RUN_DIR: got {str(settings.run_dir)!r}; takes a folder that exists")
    if not settings.stt_address:
        check_stt(settings)
    if not settings.tts_address:
        check_tts(settings)
    if "local" in settings.llm:
        _check_local_llm()


def check_ports(settings: Settings) -> None:
    """Raises `CannotListen` where a port is taken, or the host is not this machine."""
    host = f"VOICE_HOST: got {settings.host!r}"
    check_listen(settings.host, settings.port, host, f"VOICE_PORT: got {settings.port}")
    check_listen(settings.host, settings.http_port, host, f"VOICE_HTTP_PORT: got {settings.http_port}")


def check_listen(host: str, port: int, host_is: str, port_is: str) -> None:
    """Raises `CannotListen` where `port` of `host` can't be had now; its message begins with that which is wrong.

    The port is given back at once. If another program takes it before the node does, the node says the same, only
    later; to hold it meanwhile, its socket would have to be handed through every layer down to two servers.
    """
    try:
        _bind(host, port)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise CannotListen(f"{host_is}, which is no address of this machine ({error.strerror})") from None
        raise CannotListen(
            f"{port_is}, which can't be listened on ({error.strerror}); takes a free port, 0 for any"
        ) from None


def _bind(host: str, port: int) -> None:
    """As asyncio's servers do it, at each address of the name; but no caller is let in."""
    for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)


def _check_local_llm() -> None:
    try:
        import xllamacpp  # noqa: F401, PLC0415  # which the node imports anyway
    except ImportError as error:  # its wheel takes OpenMP from the system, and a bare one has none
        raise SettingsError(
            f"VOICE_LLM: got 'local', whose library can't be loaded ({error}); on Debian and Ubuntu, "
            "`apt-get install libgomp1` installs what it needs"
        ) from None
