"""`voicefleet worker tts` as real processes on TCP, with TLS, and the stand-ins for workers that tell their streams."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from server.settings.loading import load_settings
from server.tts_processor import TtsProcessor
from server.workers.client import Credentials
from tests.support.speech import model_folder

TOKEN = "a-token-of-more-than-thirty-two-bytes"
_STOP_SECONDS = 20.0


@dataclass(slots=True)
class Keys:
    """A certificate for 127.0.0.1 and the authority behind it, as PEM files in `folder`."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        certificate = self.authority.issue_cert("127.0.0.1")
        self.authority.cert_pem.write_to_path(self.ca)
        certificate.private_key_pem.write_to_path(self.key)
        certificate.cert_chain_pems[0].write_to_path(self.cert)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def cert(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    def processor(self, *addresses: str, token: str = TOKEN, ca: Path | None = None) -> TtsProcessor:
        """The gateway's side, with the settings that a node would have."""
        settings = load_settings(tts_address=addresses, worker_token=token, tts_ca_file=ca or self.ca)
        return TtsProcessor(*settings.tts_address, credentials=Credentials.from_settings(settings))


@dataclass(slots=True)
class Service:
    """A worker that serves at `address`."""

    process: "subprocess.Popen[str]"
    address: str


@contextmanager
def tts_service(keys: Keys, port: str = "0") -> Iterator[Service]:
    """A real voice on TCP with TLS and a token."""
    model_folder("hibari-heart")
    with _service("tts", port, "--tls-cert", str(keys.cert), "--tls-key", str(keys.key)) as service:
        yield service


@contextmanager
def stt_service() -> Iterator[Service]:
    """A real recogniser on TCP with a token."""
    model_folder("tiny.en")
    with _service("stt", "0") as service:
        yield service


@contextmanager
def _service(kind: str, port: str, *options: str) -> Iterator[Service]:
    process = subprocess.Popen(
        [sys.executable, "-m", "server.main", "worker", kind, "--listen", f"127.0.0.1:{port}", *options],
        env={**os.environ, "VOICE_WORKER_TOKEN": TOKEN, "VOICE_LOG_LEVEL": "info"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        serving = next((line for line in process.stderr if '"worker_serving"' in line), "")
        assert serving, "the worker ended before it served"
        yield Service(process, json.loads(serving)["address"])
    finally:
        process.kill()
        process.wait(_STOP_SECONDS)
        process.stderr.close()


@contextmanager
def stand_in(socket: Path, streams: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Stand-ins for both workers that say how many streams they can speak."""
    command = [sys.executable, "-m", "tests.support.speech_workers", "--socket", str(socket), "--streams", str(streams)]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait(_STOP_SECONDS)
