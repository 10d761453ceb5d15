"""Whatever happens to a node, in any order and over an AWS that answers as it likes."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from server.fleet.group_requests import (
    Answer,
    CompleteHook,
    Heartbeat,
    Protect,
    ReportUnhealthy,
    Request,
)
from server.fleet.lifecycle import (
    TERMINATE_HOOK,
    Command,
    CutCalls,
    Drain,
    Exit,
    State,
)
from tests.support.lifecycle import DRAIN_SECONDS, TICK, Fleet, done, failed, not_outstanding


class AnyLife(RuleBasedStateMachine):
    """A node to which anything may happen, in any order, over a group that answers as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(target="").ready()
        self.calls = 0
        self.drain_began: float | None = None
        self.happened: set[str] = set()

    @rule(active=st.integers(0, 3))
    def calls_change(self, active: int) -> None:
        if self.drain_began is not None:  # admission sees to it that none comes then
            active = min(active, self.calls)
        self.calls = active
        self.fleet.life.calls(active)

    @rule(missing=st.sampled_from(([], ["tts"], ["stt"], ["stt", "tts"])))
    def parts_change(self, missing: list[str]) -> None:
        self.happened.update(missing)
        self.fleet.missing = missing

    @rule(state=st.sampled_from(("", "InService", "Warmed:Running", "Terminated", "Standby")))
    def target_changes(self, state: str) -> None:
        self.happened.add(state)
        self.fleet.life.target_state(state)

    @rule()
    def spot_notice(self) -> None:
        self.happened.add("spot")
        self.fleet.life.spot_notice()

    @rule()
    def sigterm(self) -> None:
        self.happened.add("sigterm")
        self.fleet.life.terminate(self.fleet.now)

    @rule(answer=st.sampled_from((done, failed, not_outstanding, None)))
    def group_changes(self, answer: Callable[[Request], Answer] | None) -> None:
        self.fleet.answer = answer

    @rule(seconds=st.sampled_from((TICK, 5.0, 70.0, 200.0)))
    def time_passes(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.check(self.fleet.now, self.fleet.tick())

    def check(self, now: float, commands: list[Command]) -> None:
        if any(isinstance(command, Drain) for command in commands):
            assert self.drain_began is None
            assert self.happened & {"Terminated", "spot", "sigterm"}
            self.drain_began = now
        assert (self.fleet.life.state in (State.DRAINING, State.DRAINED)) == (self.drain_began is not None)
        is_over = self.drain_began is not None and (not self.calls or now - self.drain_began >= DRAIN_SECONDS)
        for command in commands:
            match command:
                case Protect(on):
                    assert on == (self.calls > 0)
                case CompleteHook(hook) if hook == TERMINATE_HOOK:
                    assert is_over
                    assert "Terminated" in self.happened
                case CompleteHook() | Heartbeat("voicefleet-join"):
                    assert self.drain_began is None
                case CutCalls():
                    assert is_over
                    assert self.calls
                case Exit():
                    assert is_over
                    assert "sigterm" in self.happened
                case ReportUnhealthy():
                    assert self.drain_began is None
                    assert self.happened & {"stt", "tts"}
        kinds = [(type(request), getattr(request, "hook", "")) for request in self.fleet.unanswered]
        assert len(kinds) == len(set(kinds)), "one of each kind under way at most"

    def teardown(self) -> None:
        assert len(self.fleet.times(Exit())) <= 1
        assert len(self.fleet.times(CutCalls())) <= 1


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=150)
