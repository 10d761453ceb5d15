"""Whether a GPU serves every counter that we ask for: `image/checks/gpu_counters.py`, on pages of dcgm-exporter 4.8."""

import subprocess
import sys
from pathlib import Path

import pytest

IMAGE = Path(__file__).parents[2] / "image"
COUNTERS = IMAGE / "files" / "dcgm-exporter" / "counters.csv"
XIDS = "DCGM_EXP_XID_ERRORS_COUNT"
_LABELS = (
    'gpu="0",UUID="GPU-b9f9e81b-bee7-34bc-af17-132ef6592740",pci_bus_id="00000000:00:1E.0",device="nvidia0",'
    'modelName="NVIDIA A10G",Hostname="ip-10-0-0-1",DCGM_FI_DRIVER_VERSION="580.95.05"'
)


def page(*names: str) -> str:
    """What the exporter serves: each family with its help and type, and a sample for the one GPU."""
    return "".join(
        f"# HELP {name} Of the GPU.\n# TYPE {name} gauge\n{name}{{{_LABELS}}} {number}\n"
        for number, name in enumerate(names)
    )


@pytest.fixture
def names() -> list[str]:
    lines = COUNTERS.read_text(encoding="utf-8").splitlines()
    return [line.split(",")[0] for line in lines if line.startswith("DCGM")]


def check(folder: Path, text: str) -> tuple[int, str, str]:
    """Exit status, what it says and what it complains of. Run as on the image: without the project's packages."""
    file = folder / "metrics"
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-I", "-S", str(IMAGE / "checks/gpu_counters.py"), str(COUNTERS), file.as_uri()]
    result = subprocess.run([*command, "--seconds", "0"], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


def test_a_gpu_that_serves_them_all_passes(tmp_path: Path, names: list[str]) -> None:
    assert check(tmp_path, page(*names)) == (0, f"{len(names)} of {len(names)} counters of the GPU are served\n", "")


@pytest.mark.parametrize("gone", ["DCGM_FI_DEV_ROW_REMAP_FAILURE", "DCGM_FI_DEV_FB_FREE"])
def test_a_counter_that_a_gpu_does_not_serve_fails_the_build(tmp_path: Path, names: list[str], gone: str) -> None:
    status, _, complaints = check(tmp_path, page(*(name for name in names if name != gone)))
    assert status == 1
    assert complaints == f"{gone} is asked for in {COUNTERS}, and not served on this GPU\n"


def test_a_family_without_a_sample_is_not_served(tmp_path: Path, names: list[str]) -> None:
    status, _, complaints = check(tmp_path, page(*names[:-1]) + f"# TYPE {names[-1]} gauge\n")
    assert status == 1
    assert names[-1] in complaints


def test_no_xid_is_no_fault_and_is_told(tmp_path: Path, names: list[str]) -> None:
    status, said, complaints = check(tmp_path, page(*(name for name in names if name != XIDS)))
    assert (status, complaints) == (0, "")
    assert said.splitlines()[-1] == f"{XIDS} is not, as there has been no fault"


def test_an_exporter_that_does_not_come_up_fails_the_build(tmp_path: Path, names: list[str]) -> None:
    status, said, complaints = check(tmp_path, "")
    assert (status, said.splitlines()[0]) == (1, f"0 of {len(names)} counters of the GPU are served")
    assert len(complaints.splitlines()) == len(names) - 1
