"""Holds an answer that was begun on the chance that a turn is over, until it is known whether it is.

It decides what becomes of it, and counts that; model and voice are in the answer.
"""

import time
from typing import Literal

from server.conversation.commands import Generate, Speculate
from server.observability import metrics
from server.thinking import Thinking

Outcome = Literal["used", "resumed", "changed", "failed", "ended"]


class HeldAnswer:
    """One answer, or none. Nothing of it leaves, unless `let_through` gives it."""

    def __init__(self) -> None:
        self._held: tuple[Speculate, Thinking] | None = None

    def hold(self, command: Speculate, thinking: Thinking) -> None:
        """Hold `thinking`, which has begun as `command` says. One that was held answers what is not asked any more."""
        self._drop("changed")
        self._held = command, thinking

    def let_through(self, generate: Generate) -> Thinking | None:
        """The turn is over. What is held, if it is just what is to be answered; else it is dropped."""
        if self._held is None:
            return None
        command, thinking = self._held
        if not command.foresaw(generate):
            self._drop("changed")
        elif thinking.failed:
            self._drop("failed")
        else:
            self._held = None
            metrics.speculations.labels("used").inc()
            return thinking
        return None

    def resumed(self, item_id: str) -> None:
        """What the caller says, `item_id`, is not over, or its words are not wanted."""
        if self._held and self._held[0].item_id == item_id:
            self._drop("resumed")

    def close(self) -> None:
        """Nobody is going to ask for it: the call has ended."""
        self._drop("ended")

    def _drop(self, outcome: Outcome) -> None:
        if self._held is None:
            return
        (command, thinking), self._held = self._held, None
        thinking.stop()
        metrics.speculations.labels(outcome).inc()
        spent = thinking.spent(time.monotonic())
        input_tokens = spent.usage.input_tokens if spent.usage else command.input_tokens
        metrics.speculation_wasted_tokens.labels("input").inc(input_tokens)
        metrics.speculation_wasted_tokens.labels("output").inc(spent.output_tokens)
        metrics.speculation_wasted_seconds.labels("model").inc(spent.model_seconds)
        metrics.speculation_wasted_seconds.labels("speech").inc(spent.speech_seconds)
