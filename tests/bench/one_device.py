"""Recognition and synthesis on one GPU, reckoned in virtual time: `python -m tests.bench.one_device`.

As many calls as asked for speak (`tests.bench.recognition_batches`) and are answered (`server.bench.simulation`). What
recognition takes of the device is missing for synthesis. Without NVIDIA's MPS two processes have the device in turns,
and a kernel occupies it however small it is; with MPS kernels run side by side, and only what they compute and move
counts.
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from server.bench.devices import DEVICES, Gpu
from server.bench.recognition_costs import WHISPER
from server.bench.simulation.costs import GPUS, PARTS, Form, Parts, reckoned
from server.bench.simulation.simulation import Figures, simulated
from server.bench.simulation.traffic import Traffic
from tests.bench import recognition_batches
from tests.bench.markdown import table

_CALLS = (64, 128)
_BATCHER = recognition_batches.Policy("as on a node", parallel=2)


@dataclass(frozen=True, slots=True)
class Sharing:
    """The voice's figures alone on a device, and with the share of it that recognition takes, MPS off and on."""

    alone: Figures
    off: Figures
    on: Figures
    share_off: float
    share_on: float


def shared(gpu: Gpu, form: Form, parts: Parts, model: str, calls: int, seconds: float = 60.0) -> Sharing:
    """So many calls whose agents talk for 45 % of the time."""
    costs, device = reckoned(gpu, form, parts), DEVICES[gpu]
    share_off, share_on = (
        recognition_batches.simulated(_BATCHER, WHISPER[model], one, calls, seconds).device
        for one in (device, replace(device, least_kernel=0.0))
    )
    alone, off, on = (simulated(costs.beside(share), Traffic(calls), seconds) for share in (0.0, share_off, share_on))
    return Sharing(alone, off, on, share_off, share_on)


def _rows(model: str, form: Form) -> Iterator[tuple[object, ...]]:
    for gpu, parts, calls in itertools.product(GPUS, PARTS, _CALLS):
        sharing = shared(gpu, form, parts, model, calls)
        cells = [
            f"{figures.first_audio_p95_ms:.0f}, {1000 * figures.ran_dry / figures.chunks:.1f}"
            for figures in (sharing.alone, sharing.off, sharing.on)
        ]
        yield gpu, parts, calls, f"{sharing.share_off:.0%}, {sharing.share_on:.0%}", *cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=WHISPER, default="tiny.en", help="that recognises")
    parser.add_argument("--flow", choices=("windowed", "chunked"), default="windowed", help="form of the voice's flow")
    options = parser.parse_args()
    columns = ("device", "parts", "calls", "recognition's share, MPS off, on", "voice alone", "MPS off", "MPS on")
    print("p95 of first audio in ms, and pieces of audio of 1,000 that came late:\n")
    print(table(columns, _rows(options.model, options.flow)))


if __name__ == "__main__":
    main()
