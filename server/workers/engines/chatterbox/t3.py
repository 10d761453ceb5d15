"""Text to speech tokens: the rows of the T3 decoder, all of which go on by one token in a step.

A row is a request. It joins by having its text read (prefill) after its voice's prefix, which was read once for all;
then each step draws one token for each of the first rows. Nothing here waits for the device: tokens stay on it, and
whoever wants them copies them. On CUDA a step is one graph, captured for each number of rows and reach of the cache;
reading a text can be one, too, for each number of tokens.
"""

from collections.abc import Sequence
from functools import partial

import torch
from chatterbox.models.t3 import T3
from torch import Tensor

from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.graphs import Capture, Graphs, Record, Work
from server.workers.engines.chatterbox.sampler import Sampling, draw
from server.workers.engines.chatterbox.t3_model import MAX_PREFIX, Draw, Prefix, T3Model

_ROW_STEPS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
_ROW_STEP_BEYOND = 32
_REACH_STEP = 128
_TEXTS_CAPTURED = range(32, 129, 32)
"""Tokens of a text with its start mark: 300 characters of English are some 80."""


def row_bytes(t3: T3, positions: int) -> int:
    """Device memory that a row of so many positions takes."""
    return int(2 * len(t3.tfmr.h) * positions * t3.dim * t3.speech_head.weight.element_size())


class T3Decoder:
    """The decoder's rows. It implements `rows.RowMemory`; which stream has which row is for others to know."""

    def __init__(self, t3: T3, rows: int, positions: int, draw: Draw = draw) -> None:
        """Room for `rows` requests of `positions` positions each: voice, text and speech together."""
        self._model = T3Model(t3, draw)
        self.device = self._model.device
        self.rows = rows
        self.positions = positions
        self._states = self._model.row_states(rows, positions)
        self._running = torch.zeros((), dtype=torch.int64, device=self.device)
        self._reached = [0] * rows  # the host's own count of the rows' positions
        self._steps: dict[tuple[int, int], Work] = {}
        self._reads: Graphs | None = None

    @classmethod
    def captures(cls, t3: T3, rows: int, prefill: bool) -> list[Capture]:
        """What captures the graphs of a decoder of so many rows, itself in little memory, to show what they take."""
        captures: list[Capture] = [cls(t3, rows, positions=1).capture]
        if prefill:
            captures.append(cls(t3, rows=1, positions=MAX_PREFIX + _TEXTS_CAPTURED[-1]).capture_prefill)
        return captures

    @property
    def token(self) -> Tensor:
        """int64 [rows] on the device: what each drew last."""
        return self._states.token

    def prefix(self, voice: Conditionals) -> Prefix:
        """Read a voice, for any number of rows."""
        return self._model.prefix(voice)

    @torch.inference_mode()
    def join(
        self, row: int, prefix: Prefix, text: Sequence[int], sampling: Sampling, drawn: Sequence[int] = ()
    ) -> None:
        """Read `text`, and what was `drawn` for it elsewhere, into `row`, and draw the next token.

        `prefix.positions + len(text) + 1 + len(drawn)` have to fit.
        """
        start, count = prefix.positions, len(text) + 1 + len(drawn)
        self._states.cache[:, :, row, :, :start] = prefix.cache
        texts = _TEXTS_CAPTURED if self._reads else ()
        bucket = next((tokens for tokens in texts if count <= tokens <= self.positions - start), None)
        inputs = self._model.text(row, start, text, sampling, drawn, bucket or count)
        if self._reads and bucket:
            self._reads.replay(bucket, inputs)
        else:
            self._read(*inputs)
        self._reached[row] = start + count

    @torch.inference_mode()
    def step(self, running: int) -> None:
        """Draw the next token of each of the first `running` rows."""
        reach = max(self._reached[:running]) + 1
        self._running.fill_(running)
        size = (self._row_bucket(running), self._reach_bucket(reach))
        self._steps.get(size, partial(self._step, *size))()
        for row in range(running):
            self._reached[row] += 1

    def room(self, row: int) -> int:
        """Tokens that may still be drawn in `row`, which computes along, at its last position, while it is parked."""
        return self.positions - 1 - self._reached[row]

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """See `rows.RowMemory`."""
        self._reached[target] = reach = self._reached[source]
        cache = self._states.cache
        cache[:, :, target, :, :reach] = cache[:, :, source, :, :reach]
        for state in self._states.fields():
            state[target] = state[source]

    @torch.inference_mode()
    def swap(self, one: int, other: int) -> None:
        """See `rows.RowMemory`."""
        reached = self._reached
        reach = max(reached[one], reached[other])
        reached[one], reached[other] = reached[other], reached[one]
        for state in (self._states.cache[..., :reach, :].movedim(2, 0), *self._states.fields()):
            kept = state[one].clone()
            state[one] = state[other]
            state[other] = kept

    @torch.inference_mode()
    def capture(self, record: Record) -> None:
        """Capture the graphs of all steps that may come."""
        self._running.fill_(0)  # nobody advances
        for running in range(self.rows, 0, -1):
            for reach in range(self.positions, 0, -_REACH_STEP):
                size = (self._row_bucket(running), self._reach_bucket(reach))
                if size not in self._steps:
                    self._steps[size] = record(partial(self._step, *size))

    @torch.inference_mode()
    def capture_prefill(self, record: Record) -> None:
        """Capture the graphs that read texts of usual length. Only before anybody has a row."""
        reads = Graphs(self._read, record)
        for tokens in reversed(_TEXTS_CAPTURED):
            if tokens <= self.positions:
                reads.capture(tokens, self._model.text(0, 0, [], Sampling(seed=0), [], tokens))
        self._reads = reads

    def _row_bucket(self, running: int) -> int:
        small = next((size for size in _ROW_STEPS if size >= running), 0)
        return min(self.rows, small or -(-running // _ROW_STEP_BEYOND) * _ROW_STEP_BEYOND)

    def _reach_bucket(self, reach: int) -> int:
        return min(self.positions, -(-reach // _REACH_STEP) * _REACH_STEP)

    def _step(self, rows: int, reach: int) -> Sequence[Tensor]:
        """All that it makes is in the rows' states: it gives nothing."""
        self._model.step(self._states, self._running, rows, reach)
        return ()

    def _read(self, whole: Tensor, real: Tensor) -> Sequence[Tensor]:
        """Likewise."""
        self._model.read(self._states, whole, real)
        return ()
