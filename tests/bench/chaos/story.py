"""The language model of the chaos run, which knows what has to be in each history.

Pure. Every question is the same, with one `KEYWORD`. The N-th answer names its number in each sentence. Asked to go on,
it says the rest of what it finds said; where that is no beginning of the answer, something was lost, or said twice, and
it keeps that as a fault.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from server.spoken_lines import BUNDLED

Message = dict[str, Any]

KEYWORD = "France"

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LINES = [line for lines in BUNDLED.values() for line in lines.values()]
# So begins what a service is told in the user's place, such as to go on.
_IN_PASSING = "(Instruction: "
# Where everything was heard, and the model is asked for the rest all the same.
_NOTHING_LEFT = "That is all."


def whole(number: int) -> str:
    """The answer to the caller's N-th turn, of some four seconds."""
    said = " ".join(_DIGITS[int(digit)] for digit in str(number))
    return f"This is answer {said}. It goes on with {said}. And its end is {said}."


@dataclass
class Exchange:
    """What the assistant said to one turn of the user's, who `asked`; `with_line` if a line stood for some of it."""

    asked: str
    said: str = ""
    with_line: bool = False

    def add(self, text: str) -> None:
        """Another message of the assistant's."""
        for line in _LINES:
            if line in text:
                text, self.with_line = text.replace(line, ""), True
        self.said = " ".join([*self.said.split(), *text.split()])


@dataclass
class Story:
    """Of one fleet. `histories` has each call's newest, by the instructions of its session."""

    faults: list[str] = field(default_factory=list)
    histories: dict[str, list[Message]] = field(default_factory=dict)

    def answer(self, request: dict[str, Any]) -> str:
        """What is left to say to the caller's last turn."""
        messages = request["messages"]
        self.histories[str(messages[0]["content"])] = messages
        turns = exchanges(messages)
        expected, said = whole(len(turns)).split(), turns[-1].said.split()
        if said != expected[: len(said)]:
            self.faults.append(f"of answer {len(turns)} was heard: {turns[-1].said}")
            return whole(len(turns))
        return " ".join(expected[len(said) :]) or _NOTHING_LEFT

    def wrong(self, asked: dict[str, int], lost: Collection[tuple[str, int]] = ()) -> Iterator[str]:
        """What the newest histories show, of callers who `asked` so many questions, by their instructions.

        Questions that were heard twice or in part; answers that another turn has followed before they were whole, or
        that are more than that. Of an answer in which the connection was `lost` the last sentence may be missing: no
        ticket knew of it.
        """
        for name, messages in self.histories.items():
            turns = exchanges(messages)
            if len(turns) > asked[name]:
                yield f"{name} asked {asked[name]} questions, and {len(turns)} were heard"
            for number, exchange in enumerate(turns, 1):
                if exchange.asked.count(KEYWORD) != 1:
                    yield f"{name}: of question {number} was heard: {exchange.asked}"
            for number, exchange in enumerate(turns[:-1], 1):
                said = exchange.said.removesuffix(_NOTHING_LEFT).strip()
                without_last = said == whole(number).rpartition(" And ")[0] and (name, number) in lost
                if said != whole(number) and not without_last and not exchange.with_line:
                    yield f"{name}: answer {number} has become: {exchange.said}"


def exchanges(messages: list[Message]) -> list[Exchange]:
    """One for each of the user's turns."""
    turns: list[Exchange] = []
    for message in messages:
        if message["role"] == "user" and not message["content"].startswith(_IN_PASSING):
            turns.append(Exchange(str(message["content"])))
        elif message["role"] == "assistant" and turns:
            turns[-1].add(str(message["content"]))
    return turns
