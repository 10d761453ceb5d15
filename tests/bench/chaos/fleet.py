"""The fleet of the chaos run: nodes with real speech behind a balancer, and two language models that can be broken."""

import asyncio
from dataclasses import replace
from typing import Self

from tests.bench.chaos.story import Story
from tests.support.balanced_fleet import TARGETS, BalancedFleet, Member
from tests.support.openai_llm_standin import OpenAiStandin

SECRET = "a-secret-of-the-chaos-run-of-more-than-thirty-two-bytes"
_SPEED = 10.0  # AWS's times, made so short that a round takes minutes: a check each second


class Fleet(BalancedFleet):
    """Its language models are `first` and `second`, which tell `story`."""

    def __init__(self, nodes: int, places: int) -> None:
        """Begins with so many `nodes`, each with so many `places` for calls."""
        super().__init__(
            replace(TARGETS, registration=0.0),
            _SPEED,
            VOICE_TOKEN_SECRET=SECRET,
            VOICE_MAX_SESSIONS=str(places),
            VOICE_RETRY_AFTER_SECONDS="1",
        )
        self._wanted = nodes
        self.story = Story()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.first, self.second = [
            await self._stack.enter_async_context(
                OpenAiStandin(answer=self.story.answer, first_token_seconds=0.2, token_seconds=0.01)
            )
            for _ in range(2)
        ]
        self._settings["VOICE_LLM"] = f"openai:first@{self.first.url},openai:second@{self.second.url}"
        await asyncio.gather(*(self.add() for _ in range(self._wanted)))
        return self

    def busiest(self) -> Member:
        """The node with the most calls."""
        return max(self.members, key=lambda member: self.balancer.connections(member.name))

    async def drain(self, member: Member) -> None:
        """A node goes out of service as in a scale-in, until it has ended."""
        await self.terminate(member)
        await self.end(member)
