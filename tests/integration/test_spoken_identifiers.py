"""Identifiers by ear: the real voice speaks their spoken form, and the real recogniser writes down what it hears.

pipecat PR#5212, livekit/agents#1289; letters that the voice lacks: Azure speech-sdk#2268.
"""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.client.transcripts import word_errors, words
from server.normalization.english import spoken_form
from server.workers.recognizer import Recognizer
from tests.support.round_trip import heard, recognizer, spoken
from tests.support.speech import model_folder, voice

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEANT = {
    "Your PIN is 0042.": "0042",
    "Your passcode is 731904.": "731904",
    "Your confirmation code is X7K9Q2.": "792",
    "Please call 555-0123.": "5550123",
    "Call 1-800-555-0199.": "18005550199",
    "You can reach them on 020 7946 0958.": "02079460958",
    "Portland, OR 97201.": "97201",
    "Your order number is 48213.": "48213",
    "The card ending in 4242 was charged.": "4242",
    "Her card ends in 0071.": "0071",
    "Account 00123456 is closed.": "00123456",
    "Flight BA 2490 leaves from gate B12.": "249012",
    "Room 1408 is ready.": "1408",
    "The serial number is AB-1234-CD.": "1234",
    "The server's address is 192.168.1.1.": "19216811",
    "Your code is A1B2C3.": "123",
    "We open at 9:05 and close at 17:30.": "9051730",
    "You need Python 3.11.": "311",
}
"""What is written, and the digits that are to be heard."""

SAID = {
    "Write to jane.doe@example.com.": "Write to jane dot doe at example dot com.",
    "It is -5 °C outside, and 25% of the roads are closed.": (
        "It is minus five degrees Celsius outside and twenty five percent of the roads are closed."
    ),
    "Everyone said नमस्ते to me.": "Everyone said namaste to me.",
}
"""What is written, and the words that are to be heard."""

_MOST_MISHEARD = 2  # clauses, and of those one digit; on the processor where this was written it is none
_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ears() -> AsyncIterator[Recognizer]:
    async with recognizer(model_folder("tiny.en")) as listener:
        yield listener


async def _heard(ears: Recognizer, text: str) -> str:
    return await heard(ears, await spoken(voice(), spoken_form(text)))


def _digits(text: str) -> str:
    """The digits of `text`, of which the recogniser writes some as words."""
    for number, name in enumerate(_NAMES):
        text = re.sub(rf"\b{name}\b", str(number), text, flags=re.IGNORECASE)
    return "".join(re.findall(r"\d", text))


async def test_the_digits_that_are_meant_are_heard(ears: Recognizer) -> None:
    understood = {text: await _heard(ears, text) for text in MEANT}
    wrong = {
        text: (meant, understood[text])
        for text, meant in MEANT.items()
        if word_errors(" ".join(meant), " ".join(_digits(understood[text])))
    }
    assert len(wrong) <= _MOST_MISHEARD, wrong
    for meant, hearing in wrong.values():
        assert word_errors(" ".join(meant), " ".join(_digits(hearing))) == 1, hearing


@pytest.mark.parametrize("text", SAID)
async def test_the_words_that_are_meant_are_heard(ears: Recognizer, text: str) -> None:
    understood = (await _heard(ears, text)).replace("%", " percent").replace("@", " at ").replace(".com", " dot com")
    understood = re.sub(r"\b25\b", "twenty five", understood)
    assert word_errors(SAID[text], understood) <= 0.3 * len(words(SAID[text])), understood


async def test_a_voice_without_the_letters_says_something() -> None:
    """As they are written, Hibari leaves out all of them."""
    for text in ("你好", "こんにちは", "안녕하세요", "مرحبا", "नमस्ते", "สวัสดี", "שלום"):
        assert (await spoken(voice(), spoken_form(text))).seconds > 0.3, text
