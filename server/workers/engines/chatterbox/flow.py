"""Speech tokens to mel frames, for many streams at once: the default form, which recomputes a window in every hop.

Its attention is full, as it was when the weights were trained: a frame sees the voice's prompt and all of the window,
so that each hop computes the window again, from the same noise. `flow_chunked` does not.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from chatterbox.models.s3gen.flow import CausalMaskedDiffWithXvec
from torch import Tensor

from server.workers.engines.chatterbox.compiling import EAGER, Compiler
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.flow_layers import FRAMES_PER_TOKEN, NOTHING_KEPT, Memories
from server.workers.engines.chatterbox.flow_model import LOOKAHEAD, MEL_BINS, FlowModel, FlowVoice, Inputs, Row
from server.workers.engines.chatterbox.graphs import Graphs, Record

WINDOW_TOKENS = 250
"""10 s: as much of its own past as the longest prompt holds of the voice. A hop costs no more however long the text."""

_ROWS_CAPTURED = (1, 2, 4)
_TOKENS_CAPTURED = range(32, 513, 32)
"""Of a block: the longest prompt and a full window are 500."""


@dataclass(slots=True)
class FlowStream:
    """One text being spoken."""

    voice: FlowVoice
    seed: int
    done: int = 0
    """Tokens that need not be computed any more; below 0, so many at the end of the prompt still do."""
    memories: Memories = NOTHING_KEPT
    tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FlowHop:
    """The next tokens of a stream; `final` if no more follow. Ids are below 6561."""

    stream: FlowStream
    tokens: Sequence[int]
    final: bool


class Flow(ABC):
    """Either form. Streams of all voices are computed together, and none sounds different for it."""

    def __init__(self, module: CausalMaskedDiffWithXvec, compiler: Compiler = EAGER) -> None:
        self._model = FlowModel(module, compiler)

    @abstractmethod
    def capture(self, record: Record) -> None:
        """Capture graphs of what is most often computed. Nothing sounds otherwise for it."""

    def voice(self, conditionals: Conditionals) -> FlowVoice:
        """The voice of these conditionals, for any number of streams."""
        return self._model.voice(conditionals)

    def open(self, voice: FlowVoice, seed: int) -> FlowStream:
        """A stream without tokens. One seed, below 2^63, gives one sound."""
        return FlowStream(voice, seed)

    @torch.inference_mode()
    def render(self, hops: Sequence[FlowHop]) -> list[Tensor]:
        """Each hop's new frames, float32 [80, frames] on the device; a stream has at most one hop among them.

        The last three tokens so far have no frames yet, unless the hop is final. If it raises, no stream has changed.
        """
        rows: dict[int, Row] = {}
        for index, hop in enumerate(hops):
            tokens = [*hop.stream.tokens, *hop.tokens]
            ready = len(tokens) - (0 if hop.final else LOOKAHEAD)
            if ready > hop.stream.done:
                rows[index] = self._row(hop.stream, tokens, ready)
        mels = [self._model.weight.new_empty(MEL_BINS, 0, dtype=torch.float32)] * len(hops)
        memories: dict[int, Memories] = {}
        for batch in self._batches(rows):
            computed, kept = self._computed([rows[index] for index in batch])
            memories.update(zip(batch, kept, strict=True))
            for index, mel in zip(batch, computed, strict=True):
                row = rows[index]
                fresh = FRAMES_PER_TOKEN * (max(row.ready, 0) - max(hops[index].stream.done, 0))
                mels[index] = mel[row.frames - fresh : row.frames].T
        for index, hop in enumerate(hops):
            hop.stream.tokens = [*hop.stream.tokens, *hop.tokens]
            if index in rows:
                hop.stream.done, hop.stream.memories = rows[index].ready, memories[index]
        return mels

    def _batches(self, rows: Mapping[int, Row]) -> list[list[int]]:
        return alike({index: row.length for index, row in rows.items()})

    @abstractmethod
    def _row(self, stream: FlowStream, tokens: Sequence[int], ready: int) -> Row:
        """What to compute to be done with the first `ready` of the stream's `tokens`."""

    @abstractmethod
    def _computed(self, rows: Sequence[Row]) -> tuple[Tensor, Sequence[Memories]]:
        """float32 [rows, frames, 80], and what is kept when they were computed."""


class WindowedFlow(Flow):
    """Full attention over the prompt and the last tokens of the stream, again in every hop.

    Once graphs are captured, batches of few rows are filled up to a shape that has one: padding changes nothing.
    """

    def __init__(
        self, module: CausalMaskedDiffWithXvec, compiler: Compiler = EAGER, window_tokens: int = WINDOW_TOKENS
    ) -> None:
        super().__init__(module, compiler)
        self._window_tokens = window_tokens
        self._graphs: Graphs | None = None

    def capture(self, record: Record) -> None:
        """See `Flow.capture`."""
        graphs = Graphs(lambda *inputs: [self._model.windows(Inputs(*inputs), padded=True)], record)
        for rows, tokens in sorted(product(_ROWS_CAPTURED, _TOKENS_CAPTURED), key=math.prod, reverse=True):
            inputs = self._model.inputs([self._model.blank(tokens)] * rows, tokens)
            graphs.capture((rows, tokens), inputs.tensors())
        self._graphs = graphs

    def _row(self, stream: FlowStream, tokens: Sequence[int], ready: int) -> Row:
        first = min(max(ready - self._window_tokens, 0), stream.done)
        prompt = stream.voice.prompt_tokens
        length = len(prompt) + ready - first
        known = stream.voice.prompt_mel
        return Row(stream.voice, stream.seed, ready, [*prompt, *tokens[first:]], length, len(prompt), first, known)

    def _computed(self, rows: Sequence[Row]) -> tuple[Tensor, Sequence[Memories]]:
        longest = max(row.length for row in rows)
        if self._graphs and (shape := _shape(len(rows), longest)):
            inputs = self._model.inputs([*rows, *[rows[0]] * (shape[0] - len(rows))], shape[1])
            (mel,) = self._graphs.replay(shape, inputs.tensors())
        else:
            padded = any(row.length < longest for row in rows)
            mel = self._model.windows(self._model.inputs(rows, longest), padded)
        return mel[: len(rows)], [row.memories for row in rows]


def _shape(rows: int, tokens: int) -> tuple[int, int] | None:
    """The rows and tokens of the graph for so many, if there is one: what is larger keeps the device busy anyway."""
    row_bucket = next((captured for captured in _ROWS_CAPTURED if captured >= rows), None)
    token_bucket = next((captured for captured in _TOKENS_CAPTURED if captured >= tokens), None)
    return (row_bucket, token_bucket) if row_bucket and token_bucket else None


def alike(sizes: Mapping[int, int]) -> list[list[int]]:
    """The keys in batches: a size is at least three quarters of the largest of its batch."""
    batches: list[list[int]] = []
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if batches and sizes[key] >= 0.75 * sizes[batches[-1][0]]:
            batches[-1].append(key)
        else:
            batches.append([key])
    return batches
