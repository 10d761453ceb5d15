"""Function calls put together from the pieces that servers send, by the specification and otherwise."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.interface import Tool, ToolCallDelta, ToolCallStarted
from server.llm.tool_calls import ToolCalls


def tool(name: str, *parameters: str) -> Tool:
    return Tool(name, "", {"type": "object", "properties": dict.fromkeys(parameters, True)})


TOOLS = (tool("get_weather", "city", "unit"), tool("get_time", "tz"), tool("hang_up"))
PARIS, UTC = '{"city": "Paris"}', '{"tz": "UTC"}'


def piece(name: Any = None, arguments: Any = None, **numbers: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"function": function, **numbers}


def assembled(*pieces: dict[str, Any], tools: tuple[Tool, ...] = TOOLS) -> list[tuple[str, str]]:
    """Name and arguments of each call, as whoever reads the events understands them."""
    calls = ToolCalls(tools)
    events = [event for one in pieces for event in calls.push(one)] + list(calls.finish())
    told: list[tuple[str, str]] = []
    ids: list[str] = []
    for event in events:
        if isinstance(event, ToolCallStarted):
            told.append((event.name, ""))
            ids.append(event.call_id)
        else:
            assert isinstance(event, ToolCallDelta)
            assert event.call_id == ids[-1]
            told[-1] = (told[-1][0], told[-1][1] + event.arguments)
    assert len(set(ids)) == len(ids)
    assert all(ids)
    for _, arguments in told:
        assert isinstance(json.loads(arguments), dict)
    return told


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("", "", index=0, id="a"), piece("get_weather", PARIS, index=0)],
        [piece(" ", "", index=0, id="a"), piece("get_weather", PARIS, index=0)],
        [piece(None, '{"city"', index=0, id="a"), piece("get_weather", ': "Paris"}', index=0)],
        [piece("get_", "", index=0, id="a"), piece("weather", "", index=0), piece(None, PARIS, index=0)],
        [piece("get_weather", '{"city": ', index=0), piece("get_weather", '"Paris"}', index=0)],
        [piece("get_weather", None, index=0), piece(5, PARIS, index=0, id=7)],
        [piece("get_weather", "", id="a"), piece("", PARIS, id="")],
        [piece("get_weather", '{"city": ', index=0, id="a"), piece(None, '"Paris"}', index=0, id="b")],
        [piece("get_weather", "", index=0), piece(None, PARIS, index=0, id="late")],
        [piece("get_weather", PARIS, index=0, id="a"), piece("get_weather", "", index=0)],
        [piece("get_weather", PARIS, index=0, id="a"), piece("get_weather", PARIS, index=0, id="a")],
        [piece("get_weather", PARIS + PARIS, index=0, id="a")],
        [piece("functions.get_weather", PARIS, index=0, id="a")],
        [piece(None, PARIS, index=0, id="a")],
        [{"name": "get_weather", "arguments": PARIS}],
    ],
    ids=lambda pieces: json.dumps(pieces)[:60],
)
def test_one_call_is_one_call_by_its_name(pieces: list[dict[str, Any]]) -> None:
    """vercel/ai PR#16507: a name that is empty at first and comes later; and its kin."""
    assert assembled(*pieces) == [("get_weather", PARIS)]


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("get_weather", PARIS, index=0), piece("get_time", UTC, index=0)],
        [piece("get_weather", PARIS), piece("get_time", UTC)],
        [piece("get_weather", PARIS, index=0), piece(None, UTC, index=0)],
        [
            piece("get_weather", "", index=0),
            piece(None, PARIS, index=0),
            piece("get_time", "", index=0),
            piece(None, UTC),
        ],
        [piece("get_weather", PARIS, index=0, id="same"), piece("get_time", UTC, index=0, id="same")],
        [piece("get_weather", PARIS, index=0, id="same"), piece("get_time", UTC, index=1, id="same")],
        [piece("get_weather", PARIS, index=0, id=""), piece("get_time", UTC, index=1, id="")],
        [piece("get_weather", PARIS, index=None, id="a"), piece("get_time", UTC, index=None, id="b")],
        [piece("get_weather", {"city": "Paris"}, index=0), piece("get_time", {"tz": "UTC"}, index=0)],
        [
            piece("get_weather", "", index=0, id="a"),
            piece("get_time", "", index=1, id="b"),
            piece(None, '{"city": ', index=0),
            piece(None, UTC, index=1),
            piece(None, '"Paris"}', index=0),
        ],
    ],
    ids=lambda pieces: json.dumps(pieces)[:60],
)
def test_two_calls_are_two_calls(pieces: list[dict[str, Any]]) -> None:
    """hermes-agent#62937: parallel calls that are all number 0, without ids; and their kin."""
    assert assembled(*pieces) == [("get_weather", PARIS), ("get_time", UTC)]


def test_the_same_function_may_be_called_twice() -> None:
    rome = '{"city": "Rome"}'
    pieces = [piece("get_weather", PARIS, index=0), piece("get_weather", rome, index=0)]
    assert assembled(*pieces) == [("get_weather", PARIS), ("get_weather", rome)]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ({"city": "Paris"}, PARIS),
        (json.dumps(PARIS), '{"city":"Paris"}'),
        ("", "{}"),
        (None, "{}"),
        ("null", "{}"),
        ([], "{}"),
        ("[]", "{}"),
        ("{}", "{}"),
        ('  {"city": "Paris"}\n', PARIS),
        ('{"city": "a } \\" { b"}', '{"city": "a } \\" { b"}'),
        ({"city": {"name": "Paris", "at": [48, 2]}}, '{"city": {"name": "Paris", "at": [48, 2]}}'),
    ],
)
def test_arguments_are_an_object_however_they_come(arguments: Any, meant: str) -> None:
    """litellm PR#37792: arguments that arrive as an object."""
    assert assembled(piece("get_weather", arguments, index=0, id="a")) == [("get_weather", meant)]


def test_a_call_of_a_tool_that_was_not_offered_is_told_as_it_came() -> None:
    assert assembled(piece("order_pizza", "{}", index=0, id="a")) == [("order_pizza", "{}")]


def test_a_call_that_nobody_can_name_is_left_out() -> None:
    calls = ToolCalls(TOOLS)
    assert [*calls.push(piece("", '{"colour": "red"}', index=0, id="a")), *calls.finish()] == []
    assert not calls


def test_the_first_call_is_told_as_it_is_written() -> None:
    calls = ToolCalls(TOOLS)
    assert list(calls.push(piece("get_weather", '{"ci', index=0, id="a"))) == [
        ToolCallStarted("a", "get_weather"),
        ToolCallDelta("a", '{"ci'),
    ]
    assert list(calls.push(piece(None, 'ty": "Paris"}', index=0))) == [ToolCallDelta("a", 'ty": "Paris"}')]


def test_a_character_cut_in_two_inside_arguments_is_whole() -> None:
    pieces = [piece("get_weather", '{"city": "\ud83d', index=0, id="a"), piece(None, '\ude00"}', index=0)]
    assert assembled(*pieces) == [("get_weather", '{"city": "\N{GRINNING FACE}"}')]


ANY = st.one_of(
    st.none(), st.text(max_size=5), st.integers(), st.booleans(), st.just([]), st.just({}), st.just({"a": 1})
)


@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("index", "id", "function", "name", "arguments"), ANY)))
)
def test_no_piece_breaks_the_answer(pieces: list[dict[str, Any]]) -> None:
    assembled(*pieces)


@given(
    arguments=st.dictionaries(st.sampled_from(["city", "unit"]), st.text(max_size=8), max_size=2).map(json.dumps),
    cuts=st.lists(st.integers(0, 60), max_size=6).map(sorted),
)
def test_where_arguments_are_cut_makes_no_difference(arguments: str, cuts: list[int]) -> None:
    bounds = [0, *(min(cut, len(arguments)) for cut in cuts), len(arguments)]
    texts = [arguments[start:end] for start, end in pairwise(bounds)]
    first, *others = texts
    pieces = [piece("get_weather", first, index=0, id="a"), *(piece(None, text, index=0) for text in others)]
    assert assembled(*pieces) == [("get_weather", arguments)]
