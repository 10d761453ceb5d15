"""A node's life in virtual time, with a group that answers as a test likes."""

from collections.abc import Callable

from server.fleet.group_requests import Answer, CompleteHook, Heartbeat, Request
from server.fleet.lifecycle import (
    LAUNCH_HOOK,
    TERMINATE_HOOK,
    Command,
    Lifecycle,
    State,
)

TICK = 0.5
DRAIN_SECONDS = 600.0
JOIN = CompleteHook(LAUNCH_HOOK)
LEAVE = CompleteHook(TERMINATE_HOOK)


def done(_: Request) -> Answer:
    return Answer.DONE


def failed(_: Request) -> Answer:
    return Answer.FAILED


def not_outstanding(request: Request) -> Answer:
    return Answer.NOT_OUTSTANDING if isinstance(request, CompleteHook | Heartbeat) else Answer.DONE


class Fleet:
    """A life, a clock, and a group that answers at the next tick; `commands` holds what was decided, and when."""

    def __init__(
        self,
        answer: Callable[[Request], Answer] | None = done,
        target: str = "InService",
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self.now = 1000.0
        self.life = Lifecycle(drain_seconds, self.now)
        self.life.target_state(target)
        self.missing: list[str] | None = None  # not known yet
        self.answer = answer
        self.commands: list[tuple[float, Command]] = []
        self.unanswered: list[Request] = []

    def state(self) -> State:
        return self.life.state

    def tick(self) -> list[Command]:
        if self.missing is not None:
            self.life.parts(self.missing, self.now)
        commands = self.life.decide(self.now)
        self.commands += [(self.now, command) for command in commands]
        self.unanswered += [command for command in commands if isinstance(command, Request)]
        self.now += TICK
        if self.answer:
            for request in self.unanswered:
                self.life.answered(request, self.answer(request), self.now)
            self.unanswered.clear()
        return commands

    def run(self, seconds: float) -> list[Command]:
        """What is decided within so many seconds."""
        return [command for _ in range(round(seconds / TICK)) for command in self.tick()]

    def ready(self) -> "Fleet":
        self.missing = []
        self.life.spoke()
        return self

    def in_service(self) -> "Fleet":
        answer, self.answer = self.answer, done
        self.ready().run(5)
        assert self.state() is State.IN_SERVICE
        self.answer = answer
        self.commands.clear()
        return self

    def times(self, command: Command) -> list[float]:
        return [at for at, decided in self.commands if decided == command]
