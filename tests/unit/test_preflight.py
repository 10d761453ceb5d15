"""What is known to be wrong before a model is fetched: refused by the setting's name, with what it takes."""

import ast
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import ctranslate2
import pytest

from server.cli.preflight import check_ports, preflight
from server.node.node import CannotListen
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.workers.preflight import CHATTERBOX_PACKAGES, check_stt, check_tts
from tests.support.speech import model_folder

ROOT = Path(__file__).parents[2]
NO_CUDA = pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a CUDA device")
ELSEWHERE = {"stt_address": "unix:/stt", "tts_address": "unix:/tts"}
TAKES = "takes 'tiny.en' or 'base' or 'small', or the path of a folder with a Whisper model for CTranslate2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a Whisper model of one's own."""
    shutil.copytree(model_folder("tiny.en"), tmp_path / "own")
    return tmp_path / "own"


def refusal(**settings: object) -> str:
    with pytest.raises(SettingsError) as refused:
        preflight(Settings.model_validate({"llm": "openai:model@http://127.0.0.1:9", **settings}))
    return str(refused.value)


# --- speech recognition


@pytest.mark.parametrize("name", ["large-v9", "hibari-heart", "silero-vad"])
def test_a_name_that_is_no_whisper_model_is_refused_with_those_that_are(name: str) -> None:
    assert refusal(stt_model=name) == f"VOICE_STT_MODEL: got {name!r}; {TAKES}"


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert refusal(stt_model=nowhere) == f"VOICE_STT_MODEL: got {nowhere!r}; {TAKES}"


def test_a_folder_without_a_model_is_refused_with_what_it_lacks(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert refusal(stt_model=str(folder)) == f"VOICE_STT_MODEL: got '{folder}', which lacks tokenizer.json; {TAKES}"
    (folder / "model.bin").unlink()
    assert "which lacks model.bin and tokenizer.json; takes" in refusal(stt_model=str(folder))


def test_a_folder_with_another_model_is_refused(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"\6\0\0\0\x10\0TransformerSpec\0" + bytes(100))
    assert "whose model.bin is no Whisper model for CTranslate2; takes" in refusal(stt_model=str(folder))


def test_a_folder_with_a_whisper_model_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    check_stt(Settings(stt_model=str(folder), stt_language="de"))
    check_stt(Settings(stt_model="~/own"))


def test_a_language_that_an_english_model_lacks_is_refused_with_the_models_that_know_it() -> None:
    assert refusal(stt_language="de") == (
        "VOICE_STT_LANGUAGE: got 'de', which VOICE_STT_MODEL 'tiny.en' does not know; takes 'en' with it, and any "
        "language of Whisper's with 'base' or 'small'"
    )


@pytest.mark.parametrize(("model", "language"), [("tiny.en", "en"), ("tiny.en", ""), ("base", "de"), ("small", "")])
def test_a_language_that_the_model_knows_is_taken(model: str, language: str) -> None:
    check_stt(Settings(stt_model=model, stt_language=language))


@NO_CUDA
def test_cuda_for_recognition_is_refused_where_there_is_none() -> None:
    says = "VOICE_STT_DEVICE: got 'cuda', and CUDA finds no device here; takes 'auto' or 'cpu'"
    assert refusal(stt_device="cuda") == says


def test_recognition_that_runs_elsewhere_is_not_looked_at() -> None:
    elsewhere = Settings.model_validate(ELSEWHERE | {"stt_language": "de", "stt_device": "cuda", "tts": "chatterbox"})
    preflight(elsewhere.model_copy(update={"llm": "bedrock:model"}))


def test_an_engine_that_is_not_installed_is_found_out_before_anything_is_fetched(tmp_path: Path) -> None:
    missing = "sys.meta_path[:] = [Missing]; return None"
    done = started_without("faster_whisper", missing, tmp_path, VOICE_STT_ENGINE="faster-whisper")
    assert done.returncode == 2
    assert done.stderr == (
        "error: VOICE_STT_ENGINE: got 'faster-whisper'; faster-whisper needs the Python package 'faster_whisper', "
        "which is not installed; `make whisper` installs it (docs/models.md)\n"
    )
    assert not (tmp_path / "models").exists()


# --- the voice


@NO_CUDA
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_the_gpu_voice_is_refused_without_a_gpu(device: str) -> None:
    assert refusal(tts="chatterbox", tts_device=device) == (
        f"VOICE_TTS_DEVICE: got {device!r}, and CUDA finds no device here; on a cpu, which 'cpu' asks for, the model "
        "takes 6 s for a second of speech: the voice for it is VOICE_TTS=hibari"
    )


def test_the_gpu_voice_may_be_asked_to_run_on_a_cpu() -> None:
    check_tts(Settings(tts="chatterbox", tts_device="cpu"))


def test_a_folder_of_voices_that_is_none_is_refused(tmp_path: Path) -> None:
    gpu_voice = {"tts": "chatterbox", "tts_device": "cpu"}
    says = "VOICE_TTS_VOICES: got '/nowhere'; takes a folder that exists, or s3://BUCKET/PREFIX"
    assert refusal(**gpu_voice, tts_voices="/nowhere") == says
    for place in (str(tmp_path), "s3://bucket/voices"):
        check_tts(Settings.model_validate({**gpu_voice, "tts_voices": place}))


def test_every_package_is_looked_for_that_the_gpu_voice_imports() -> None:
    imported = set()
    for source in (ROOT / "server" / "workers" / "engines" / "chatterbox").glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}
    of_every_installation = {"server", "botocore", "numpy", "structlog", "urllib3"}
    assert imported - sys.stdlib_module_names - of_every_installation == set(CHATTERBOX_PACKAGES)


def started_without(package: str, fault: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`voicefleet serve` on a machine where that package can't be imported, with nothing in its model store."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {package!r}:\n"
        f"            {fault}\n"
        "sys.meta_path.insert(0, Missing)\n"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith("VOICE_")}
    return subprocess.run(
        [sys.executable, "-m", "server.main", "serve", "--port", "0", "--http-port", "0"],
        env=plain | {"PYTHONPATH": str(folder), "VOICE_MODEL_DIR": str(folder / "models")} | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_gpu_voice_that_is_not_installed_is_found_out_before_anything_is_fetched(tmp_path: Path) -> None:
    missing = "sys.meta_path[:] = [Missing]; return None"
    done = started_without("librosa", missing, tmp_path, VOICE_TTS="chatterbox", VOICE_TTS_DEVICE="cpu")
    assert done.returncode == 2
    assert done.stderr == (
        "error: VOICE_TTS: got 'chatterbox'; chatterbox needs the Python package 'librosa', which is not installed; "
        "`make gpu` installs all that it needs (docs/voice.md)\n"
    )
    assert not (tmp_path / "models").exists()


# --- the local language model, files, ports


def test_a_library_that_the_local_language_model_lacks_is_found_out_before_anything_is_fetched(tmp_path: Path) -> None:
    reason = "libgomp.so.1: cannot open shared object file: No such file or directory"
    done = started_without("xllamacpp", f"raise ImportError({reason!r})", tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: VOICE_LLM: got 'local', whose library can't be loaded ({reason}); on Debian and Ubuntu, "
        "`apt-get install libgomp1` installs what it needs\n"
    )
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tls_cert": "cert.pem", "tls_key": "key.pem"}, "VOICE_TLS_CERT, VOICE_TLS_KEY: got 'cert.pem' and"),
        ({"tts_ca_file": "ca.pem"}, "VOICE_TTS_CA_FILE: got 'ca.pem', which can't be used"),
        ({"run_dir": "/nowhere"}, "VOICE_RUN_DIR: got '/nowhere'; takes a folder that exists"),
    ],
)
def test_files_and_folders_are_looked_at(settings: dict[str, str], says: str) -> None:
    assert refusal(**ELSEWHERE, **settings).startswith(says)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_port_that_is_taken_is_refused_by_its_settings_name(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        for name in ("port", "http_port"):
            with pytest.raises(CannotListen, match=f"^VOICE_{name.upper()}: got {port}, which can't be listened on"):
                check_ports(Settings.model_validate({"host": host, "port": 0, "http_port": 0} | {name: port}))


def test_a_port_from_which_a_caller_left_a_moment_ago_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            pass
    check_ports(Settings(port=port, http_port=0))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused_by_the_hosts_name(host: str) -> None:
    with pytest.raises(CannotListen, match=f"^VOICE_HOST: got '{host}', which is no address of this machine"):
        check_ports(Settings(host=host, api_keys=frozenset({"key"})))


# --- what only a worker that loads its model knows


@pytest.mark.parametrize(
    ("file", "content"),
    [("model.bin", b"\6\0\0\0\x0c\0WhisperSpec\0" + bytes(50)), ("tokenizer.json", b"{}")],
    ids=["model", "tokenizer"],
)
def test_a_damaged_model_of_ones_own_is_refused_without_a_traceback(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    ended = subprocess.run(
        [sys.executable, "-m", "server.workers.stt_worker", "--address", f"unix:{folder}/stt.sock"],
        env=os.environ | {"VOICE_STT_MODEL": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"VOICE_STT_MODEL: got '{folder}', which can't be loaded (")
    assert "Traceback" not in ended.stderr
