"""What an image's root may hold: `image/checks/lean_root.py` finds each kind of fat, and none in a lean one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "image" / "checks" / "lean_root.py"
PACKAGES = "opt/voicefleet/lib/python3.12/site-packages"
ONE_CUDA = (
    f"{PACKAGES}/nvidia/cublas/lib/libcublas.so.12",
    f"{PACKAGES}/nvidia/cublas/lib/libcublasLt.so.12",
    f"{PACKAGES}/nvidia/cuda_runtime/lib/libcudart.so.12",
    f"{PACKAGES}/nvidia/cudnn/lib/libcudnn.so.9",
    f"{PACKAGES}/nvidia/cudnn/lib/libcudnn_ops.so.9",
)
MODEL = os.urandom(10**6) * 11


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What a good image has: one CUDA, and a driver, which is no CUDA."""
    for place in (*ONE_CUDA, "usr/lib/x86_64-linux-gnu/libcuda.so.1"):
        put(tmp_path / place, place.encode())
    return tmp_path


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def check(root: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Exit status, findings and report. Run as on the image: by itself, without the project's packages."""
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(root), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode, result.stderr.splitlines(), result.stdout


def test_one_set_of_cuda_libraries_is_lean(root: Path) -> None:
    status, findings, report = check(root)
    assert (status, findings) == (0, [])
    assert "GB used: lean" in report


@pytest.mark.parametrize(
    ("library", "planted"),
    [
        ("libcublas", "usr/lib/x86_64-linux-gnu/libcublas.so.12.8.4.1"),
        ("libcublas", "usr/libexec/datacenter-gpu-manager-4/plugins/cuda12/libcublasLt.so.12"),
        ("libcudart", "usr/lib/libcudart.so.13"),
        ("libcudart", f"{PACKAGES}/other.libs/libcudart-8774224f.so.12.8.90"),
        ("libcudnn", f"{PACKAGES}/ctranslate2.libs/libcudnn-74a4c495.so.9.1.0"),
    ],
)
def test_a_second_library_is_found(root: Path, library: str, planted: str) -> None:
    put(root / planted, b"another")
    status, findings, report = check(root)
    assert (status, len(findings)) == (1, 1)
    assert findings[0].startswith(f"a second CUDA: {library} is in ")
    assert str(Path(planted).parent) in findings[0]
    assert "not lean" in report


def test_a_link_to_a_library_is_no_second_one(root: Path) -> None:
    link = root / "usr/lib/libcublas.so.12"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(root / ONE_CUDA[0])
    assert check(root)[:2] == (0, [])


@pytest.mark.parametrize("toolkit", ["cuda", "cuda-12.8"])
def test_a_toolkit_is_found(root: Path, toolkit: str) -> None:
    (root / "usr/local" / toolkit).mkdir(parents=True)
    assert check(root)[:2] == (1, [f"a second CUDA: a toolkit, usr/local/{toolkit}"])


def test_a_link_named_as_a_toolkit_is_found(root: Path) -> None:
    (root / "usr/local").mkdir(parents=True)
    (root / "usr/local/cuda").symlink_to("/opt/elsewhere")
    assert check(root)[0] == 1


def test_a_model_in_two_places_is_found(root: Path) -> None:
    put(root / "root/.cache/model.safetensors", MODEL)
    put(root / "opt/models/t3.safetensors", MODEL)
    put(root / "opt/models/of-the-same-size.safetensors", MODEL[::-1])
    status, findings, _ = check(root)
    assert status == 1
    assert findings == ["a duplicate: opt/models/t3.safetensors and root/.cache/model.safetensors are the same 11 MB"]


def test_a_model_with_two_names_is_one(root: Path) -> None:
    put(root / "opt/models/blob", MODEL)
    (root / "opt/models/by-link").symlink_to("blob")
    (root / "opt/models/by-hard-link").hardlink_to(root / "opt/models/blob")
    assert check(root)[:2] == (0, [])


def test_small_files_may_be_alike(root: Path) -> None:
    put(root / "a/licence", b"the same")
    put(root / "b/licence", b"the same")
    assert check(root)[:2] == (0, [])


def test_a_root_beyond_the_limit_is_found(root: Path) -> None:
    put(root / "opt/models/large", MODEL)
    assert check(root, "--limit-gb", "0.02")[:2] == (0, [])
    assert check(root, "--limit-gb", "0.01")[:2] == (1, ["too large: 0.0 GB are used, 0.01 GB may be"])


def test_the_report_shows_where_the_space_is(root: Path) -> None:
    put(root / "opt/models/large", MODEL)
    lines = check(root)[2].splitlines()
    assert lines[0].split() == ["11", "MB", "/"]
    assert {tuple(line.split()) for line in lines} >= {("11", "MB", "/opt"), ("11", "MB", "/opt/models")}
