"""The generated gRPC code is what `speech.proto` says."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PROTO = "server/workers/speech.proto"


@pytest.mark.parametrize("name", ["speech_pb2.py", "speech_pb2.pyi", "speech_pb2_grpc.py"])
def test_the_committed_code_is_what_the_definition_generates(name: str, tmp_path: Path) -> None:
    outputs = (f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python"))
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, _PROTO], cwd=_ROOT, check=True)
    generated = (tmp_path / "server/workers" / name).read_text(encoding="utf-8")
    assert (_ROOT / "server/workers" / name).read_text(encoding="utf-8") == generated, "run `make proto`"
