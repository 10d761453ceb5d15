"""Tells whether dcgm-exporter serves every counter that its file asks for, on the GPU of the machine it runs on.

    python3 gpu_counters.py COUNTERS PAGE [--seconds 60]

PAGE is the address of its metrics; the first ones come some seconds after its start. Fails (exit status 1, a line for
each) on a counter that is not there after so many seconds. It needs no more than the image's own Python.
"""

import argparse
import re
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ONLY_AFTER_FAULTS = frozenset({"DCGM_EXP_XID_ERRORS_COUNT"})
"""Version 4.8 of the exporter leaves the count of XIDs out, and not at 0, as long as there was none
(dcgm-exporter#700). What the driver says of XIDs reaches CloudWatch by the kernel's log as well."""

_AGAIN_SECONDS = 1.0


def asked_for(counters: str) -> set[str]:
    """The counters' names in the text of a counters file."""
    lines = (line.strip() for line in counters.splitlines())
    return {line.split(",")[0].strip() for line in lines if line and not line.startswith("#")}


def served(page: str) -> set[str]:
    """The names of which a page of metrics has at least one sample."""
    return set(re.findall(r"^([A-Za-z_:][\w:]*)(?:\{.*\})? \S+$", page, re.MULTILINE))


def _page(address: str) -> str:
    try:
        with urlopen(address, timeout=5) as response:  # noqa: S310  # the caller's own
            return str(response.read().decode())
    except (URLError, OSError):
        return ""  # it has not come up yet


def main() -> int:
    """Wait until all are there, and say which are; gives the exit status."""
    parser = argparse.ArgumentParser(description="Whether dcgm-exporter serves every counter that it is asked for.")
    parser.add_argument("counters", type=Path)
    parser.add_argument("page")
    parser.add_argument("--seconds", type=float, default=60.0, help="to wait for them; default: %(default)g")
    arguments = parser.parse_args()
    wanted = asked_for(arguments.counters.read_text(encoding="utf-8"))
    deadline = time.monotonic() + arguments.seconds
    while missing := wanted - ONLY_AFTER_FAULTS - (found := served(_page(arguments.page))):
        if time.monotonic() > deadline:
            break
        time.sleep(_AGAIN_SECONDS)
    print(f"{len(wanted & found)} of {len(wanted)} counters of the GPU are served")
    for name in sorted(wanted & ONLY_AFTER_FAULTS - found):
        print(f"{name} is not, as there has been no fault")
    for name in sorted(missing):
        print(f"{name} is asked for in {arguments.counters}, and not served on this GPU", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
