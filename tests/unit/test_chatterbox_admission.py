"""Who is let in where more callers dial than a node can serve, on devices that were reckoned.

The node's admission, its measure of how much agents talk, and the engine's capacity with its feedback run in virtual
time. Too few let in are refused for nothing, too many hear gaps: both have a bound here.
"""

from functools import cache

import pytest

from server.bench.simulation.admission import Admitted, admitted
from server.bench.simulation.costs import Form, reckoned
from server.bench.simulation.simulation import LATE_AT_MOST, simulated
from server.bench.simulation.traffic import Traffic

HOLD: dict[Form, int] = {"windowed": 60, "chunked": 87}
"""Calls of which an A10G holds as many, with agents that talk for 45 % of the time."""

SLOWED = 0.3
"""The share of the device that others take of it after calibration: recognition, and a GPU that is throttled."""

HOLD_SLOWED: dict[Form, int] = {"windowed": 43, "chunked": 60}


@cache
def node(form: Form, slowed: float = 0.0) -> Admitted:
    costs = reckoned("A10G", form, "eager")
    hold = HOLD_SLOWED[form] if slowed else HOLD[form]
    return admitted(costs.beside(slowed), Traffic(0), hold, 300.0, promised=costs)


@pytest.mark.parametrize("form", HOLD)
def test_what_it_is_compared_with_holds_and_a_fifth_more_does_not(form: Form) -> None:
    for slowed, calls in ((0.0, HOLD[form]), (SLOWED, HOLD_SLOWED[form])):
        costs = reckoned("A10G", form, "eager").beside(slowed)
        assert simulated(costs, Traffic(calls), 60.0).holds
        assert not simulated(costs, Traffic(round(1.25 * calls)), 60.0).holds


@pytest.mark.parametrize("form", HOLD)
def test_most_calls_that_would_hold_are_let_in_and_no_caller_hears_it(form: Form) -> None:
    served = node(form)

    assert 0.75 <= served.of_those_that_hold <= 1.05
    assert served.late_share <= LATE_AT_MOST
    assert served.first_audio_p95_ms <= 200.0
    assert served.talk_share == pytest.approx(0.45, abs=0.051)


@pytest.mark.parametrize("form", HOLD)
def test_a_device_that_is_slower_than_it_promised_lets_fewer_in(form: Form) -> None:
    served = node(form, SLOWED)

    assert served.limit < node(form).limit
    assert 0.5 <= served.of_those_that_hold <= 1.1
    assert served.late_share <= 0.01
    assert served.first_audio_p95_ms <= 250.0


@pytest.mark.parametrize("form", HOLD)
def test_callers_are_refused_at_the_start_when_the_node_is_full(form: Form) -> None:
    served = node(form)

    assert 0 < served.refused_with_room <= served.refused < served.dialled
    assert served.refused / served.dialled <= 0.5


def test_a_node_with_room_refuses_nobody() -> None:
    served = admitted(reckoned("H200", "windowed", "eager"), Traffic(0), 20, 60.0)

    assert served.refused == 0
    assert served.calls == pytest.approx(24, rel=0.35)
    assert served.calls < served.limit
