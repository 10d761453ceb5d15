"""The locks of the project and of its examples: what they promise to every machine that installs from them."""

import re
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).parents[2]
EXAMPLES = {"livekit", "pipecat"}
ALONE = {"checkov", *EXAMPLES}  # in environments of their own
LOCKS = {path.stem: path for path in (*ROOT.glob("requirements/*.txt"), *ROOT.glob("examples/python/*.txt"))}
PIN = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))?(?P<hashes>(?: +--hash=sha256:[0-9a-f]{64})+)"
)
LEFT_OUT = {"av", "gradio", "pre-commit", "pykakasi", "spacy-pkuseg"}  # requirements/overrides.in says why


def lines(lock: str) -> list[str]:
    """What pip would read: continued lines joined, comments left out."""
    joined = LOCKS[lock].read_text(encoding="utf-8").replace("\\\n", "")
    return [line for line in joined.splitlines() if line and not line.lstrip().startswith("#")]


def pins(lock: str, python: str | None = None) -> dict[str, str]:
    """Version by name; with `python`, only what a Linux machine with that version of it installs."""
    machine = {"sys_platform": "linux", "platform_machine": "x86_64", "implementation_name": "cpython"}
    return {
        pin["name"]: pin["version"]
        for pin in map(PIN.fullmatch, lines(lock))
        if pin
        and (
            python is None
            or pin["marker"] is None
            or Marker(pin["marker"]).evaluate(
                {**machine, "python_version": python, "python_full_version": f"{python}.0"}
            )
        )
    }


def test_there_is_a_lock_for_every_kind_of_machine() -> None:
    assert set(LOCKS) == {"bootstrap", "base", "chatterbox", "faster-whisper", "gpu", "infra", "mic", "dev", *ALONE}
    assert all(len(lines(lock)) > 1 for lock in LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_pin_with_hashes_and_names_no_address(lock: str) -> None:
    assert [line for line in lines(lock) if not PIN.fullmatch(line)] == []


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_no_two_locks_pin_different_versions(python: str) -> None:
    versions = defaultdict(set)
    for lock in LOCKS.keys() - ALONE:
        for name, version in pins(lock, python).items():
            versions[name].add(version)

    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_only_a_gpu_node_gets_torch_and_cuda_from_a_lock() -> None:
    for lock in set(LOCKS) - {"gpu"}:
        assert [name for name in pins(lock) if name.startswith(("torch", "nvidia-", "cuda-", "triton"))] == []


def test_a_gpu_node_has_the_one_cuda_that_recognition_uses_too() -> None:
    gpu = pins("gpu")
    recognition = b"".join(
        Path(file.locate()).read_bytes()
        for file in distribution("ctranslate2").files or ()
        if file.name.startswith("libctranslate2")
    )

    assert set(re.findall(rb"libcublas\.so\.(\d+)", recognition)) == {b"12"}
    assert gpu["nvidia-cublas-cu12"].startswith("12.8.")
    assert [name for name in gpu if name.startswith("nvidia-") and not name.endswith("-cu12")] == []


def test_what_upstream_asks_for_but_nothing_needs_is_left_out() -> None:
    assert [(lock, name) for lock in LOCKS.keys() - EXAMPLES for name in LEFT_OUT & set(pins(lock))] == []


def test_nothing_that_is_installed_is_under_the_gpl() -> None:
    strict = re.compile(r"(?<!L)GPL|GNU (Affero )?General Public", re.IGNORECASE)
    assert [name for lock in LOCKS for name in pins(lock) if strict.search(licence(name))] == []


def licence(package: str) -> str:
    """What the package says of its licence; nothing for one that this machine has no use for."""
    try:
        metadata = distribution(package).metadata
    except PackageNotFoundError:
        return ""
    stated = metadata.get_all("License-Expression", []) + metadata.get_all("Classifier", [])
    return "\n".join(stated + [text.splitlines()[0] for text in metadata.get_all("License", []) if text])
