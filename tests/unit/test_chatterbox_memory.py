"""What is worked out from the device's memory: rows beside graphs, and what a batch costs that does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from server.workers.engines.chatterbox import calibration
from server.workers.engines.chatterbox.core import Core
from server.workers.engines.chatterbox.flow import FlowHop, WindowedFlow
from server.workers.engines.chatterbox.graphs import Record, Work, graph_bytes
from server.workers.engines.chatterbox.loading import captures, rows_for
from server.workers.engines.chatterbox.t3 import T3Decoder
from server.workers.engines.chatterbox.t3_model import T3Model
from server.workers.engines.chatterbox.vocoder import Vocoder
from tests.support.chatterbox import small_checkpoint, voice

CUDA = torch.device("cuda")
A10G = 22_000_000_000
ROW = 2 * 24 * 1280 * 1024 * 2


@dataclass
class Memory:
    """A device's, of which some is taken."""

    taken: int = 1_000_000
    peak: int = 0

    def take_for_a_while(self, count: int) -> None:
        self.peak = max(self.peak, self.taken + count)

    def forget_peak(self, device: torch.device) -> None:
        self.peak = self.taken


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    for name, stand_in in {
        "memory_allocated": lambda device: memory.taken,
        "max_memory_allocated": lambda device: memory.peak,
        "reset_peak_memory_stats": memory.forget_peak,
        "mem_get_info": lambda device: (A10G, A10G),
        "synchronize": lambda device: None,
        "empty_cache": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return memory


@dataclass
class Part:
    """One with a graph for each size, whose inputs take a tenth of what its work does."""

    memory: Memory
    sizes: Sequence[int]
    done: list[int] = field(default_factory=list)

    def capture(self, record: Record) -> None:
        for size in self.sizes:
            self.memory.taken += size // 10
            record(self._work(size))

    def _work(self, size: int) -> Work:
        def work() -> Sequence[Tensor]:
            self.done.append(size)
            self.memory.take_for_a_while(size)
            return ()

        return work


def checkpoint() -> Any:
    """Of the full shape in half precision, as far as rows are concerned."""
    weight = torch.zeros(1, dtype=torch.bfloat16)
    t3 = SimpleNamespace(
        device=CUDA, dim=1024, tfmr=SimpleNamespace(h=range(24)), speech_head=SimpleNamespace(weight=weight)
    )
    return SimpleNamespace(t3=t3)


def test_graphs_take_what_the_largest_does_and_what_each_has_of_its_own(memory: Memory) -> None:
    parts = [Part(memory, [6000, 3000]), Part(memory, [2000])]
    assert graph_bytes([part.capture for part in parts], CUDA) == 6000 + 600 + 300 + 200
    assert [part.done for part in parts] == [[6000], [2000]], "the others would find nothing out"


def test_rows_get_half_of_what_graphs_leave(memory: Memory) -> None:
    assert rows_for(checkpoint(), []) == A10G // 2 // ROW == 87
    assert rows_for(checkpoint(), [Part(memory, [20 * ROW]).capture]) == (A10G - 22 * ROW) // 2 // ROW == 76
    assert rows_for(checkpoint(), [Part(memory, []).capture]) == 87, "a part without graphs takes nothing"
    assert rows_for(checkpoint(), [Part(memory, [A10G]).capture]) == 1


@pytest.mark.parametrize("switches", [(False, False, False), (True, False, False), (False, True, False), (True,) * 3])
def test_all_graphs_that_an_engine_will_have_count(switches: tuple[bool, bool, bool]) -> None:
    found = captures(small_checkpoint(), WindowedFlow, *switches)

    assert len(found) == 1 + sum(switches), "steps are captured in any case"


def test_what_a_decoders_graphs_take_is_found_out_by_the_largest_of_them(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    monkeypatch.setattr(T3Model, "step", lambda _, states, running, rows, reach: done.append(("step", rows)))
    monkeypatch.setattr(T3Model, "read", lambda _, states, whole, real: done.append(("read", len(whole) - 6)))

    graph_bytes(T3Decoder.captures(small_checkpoint().t3, rows=40, prefill=True), CUDA)

    assert done == [("step", 40), ("read", 128)]


@pytest.mark.parametrize("part", [WindowedFlow(small_checkpoint().flow), Vocoder(small_checkpoint().vocoder)])
def test_the_largest_graph_is_captured_first(part: WindowedFlow | Vocoder) -> None:
    part.capture(lambda work: work)
    assert part._graphs
    shapes: list[Any] = list(part._graphs._captured)
    assert shapes[0] == (max(rows for rows, _ in shapes), max(length for _, length in shapes))


class Tight(WindowedFlow):
    """A second for each hop, and memory for two."""

    now = 0.0

    def render(self, hops: Sequence[FlowHop]) -> list[Tensor]:
        if len(hops) > 2:
            raise torch.OutOfMemoryError
        self.now += len(hops)
        return super().render(hops)


def test_a_batch_that_memory_halves_costs_what_both_halves_do(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = Tight(small_checkpoint().flow)
    monkeypatch.setattr("time.perf_counter", lambda: flow.now)
    monkeypatch.setattr(calibration, "HOPS_MEASURED", (1, 4))
    monkeypatch.setattr(calibration, "CLAUSE_TOKENS", 20)
    core = Core(small_checkpoint(), flow, 4, 192, None)
    costs = calibration.calibrated(core, voice(1, seconds=1.0))
    assert [costs.render(hops) for hops in (1, 4)] == [1.0, 4.0]
