"""CUDA graphs of a pure function: captured for each shape of its inputs before the first caller comes, then replayed.

A replay costs the host one launch where the function costs thousands. What is captured has fixed addresses, so inputs
are copied in and outputs out. All graphs share memory: only one runs at a time, and nothing of it is needed afterwards.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from server.errors import VoicefleetError

Work = Callable[[], Sequence[Tensor]]

Record = Callable[[Work], Work]
"""Makes of work that fills the same memory each time what repeats it."""


class ShapeNotCaptured(VoicefleetError):
    """Work of a shape that should have been captured, and was not: to do it all the same would be slow and unseen."""

    def __init__(self, shape: Hashable, captured: Sequence[Hashable]) -> None:
        super().__init__(f"no graph was captured for {shape}; there are {', '.join(map(str, captured))}")


class Graphs:
    """The graphs of `function`, which does the same for any contents of inputs of one shape."""

    def __init__(self, function: Callable[..., Sequence[Tensor]], record: Record) -> None:
        self._function = function
        self._record = record
        self._captured: dict[Hashable, tuple[Sequence[Tensor], Work]] = {}

    @torch.inference_mode()
    def capture(self, shape: Hashable, inputs: Sequence[Tensor]) -> None:
        """Capture what is done for inputs like these. The largest come first: the others find room in their memory."""
        held = [each.clone() for each in inputs]
        self._captured[shape] = held, self._record(lambda: self._function(*held))

    @torch.inference_mode()
    def replay(self, shape: Hashable, inputs: Sequence[Tensor]) -> list[Tensor]:
        """What the function makes of these inputs. Raises `ShapeNotCaptured`."""
        if shape not in self._captured:
            raise ShapeNotCaptured(shape, list(self._captured))
        held, again = self._captured[shape]
        for into, each in zip(held, inputs, strict=True):
            into.copy_(each)
        return [output.clone() for output in again()]


Capture = Callable[[Record], None]
"""Has the work of each shape of a part recorded, the largest first."""


@torch.inference_mode()
def graph_bytes(captures: Sequence[Capture], device: torch.device) -> int:
    """What the graphs of these parts will take of the memory of `device`, on CUDA; the parts are of no use afterwards.

    All share the memory of the largest, which is found out by doing its work once; each has inputs of its own.
    """
    before = torch.cuda.memory_allocated(device)
    works: list[list[Work]] = [[] for _ in captures]
    for capture, own in zip(captures, works, strict=True):

        def kept(work: Work, own: list[Work] = own) -> Work:
            own.append(work)
            return work

        capture(kept)
    inputs = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    for largest in (own[0] for own in works if own):
        largest()
    torch.cuda.synchronize(device)
    return max(torch.cuda.max_memory_allocated(device), inputs) - before


class CudaRecorder:
    """Records on CUDA, all in one pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        """`work` as a graph."""
        work()  # what is compiled, planned or allocated once, before the capture
        graph = torch.cuda.CUDAGraph()
        # Another thread may load what makes voices of clips: its allocations are none of this capture's.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = work()

        def again() -> Sequence[Tensor]:
            graph.replay()
            return outputs

        return again
