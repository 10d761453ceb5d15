"""What a node's /metrics said, every few seconds: recorded beside a bench, read back to draw dashboards from it.

Gzipped JSON lines, each with the seconds since the first and the page's samples of our own metrics.
"""

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

_PREFIX = "voice_"
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Scrape:
    """The page at a moment: `at` is seconds since the first, `text` Prometheus's format without its help lines."""

    at: float
    text: str


def record(url: str, file: Path, seconds: float, every: float) -> int:
    """Scrape `url` every so many seconds into `file`; gives how often. Raises `OSError` if nobody answers."""
    started = time.monotonic()
    scrapes = int(seconds // every) + 1
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        for number in range(scrapes):
            time.sleep(max(0.0, started + number * every - time.monotonic()))
            scrape = Scrape(round(time.monotonic() - started, 2), _our_metrics(url))
            lines.write(json.dumps(asdict(scrape)) + "\n")
            lines.flush()  # a recording that is cut short is still one
    return scrapes


def read(file: Path) -> list[Scrape]:
    """A recording, in its order."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [Scrape(**json.loads(line)) for line in lines]


def _our_metrics(url: str) -> str:
    with urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310  # an operator's own node
        return "\n".join(_kept(response.read().decode())) + "\n"


def _kept(page: str) -> Iterator[str]:
    for line in page.splitlines():
        if line.startswith((_PREFIX, f"# TYPE {_PREFIX}")):
            yield line
