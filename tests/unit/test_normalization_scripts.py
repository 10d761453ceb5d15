"""Letters and digits that an English voice would leave out. Azure speech-sdk#2268."""

import unicodedata

import pytest

from server.normalization.english import spoken_form
from server.normalization.scripts import in_latin


@pytest.mark.parametrize(
    ("written", "latin"),
    [
        ("Sure. 你好。 Bye now.", "Sure. Ni hao. Bye now."),
        ("他说你好。再见！", "Ta shuo ni hao. Zai jian!"),  # noqa: RUF001
        ("BBC新闻today", "BBC xin wen today"),
        ("カタカナ", "Katakana"),
        ("안녕하세요", "Annyeonghaseyo"),
        ("Привет, мир!", "Privet, mir!"),
        ("Say Καλημέρα.", "Say Kalimera."),
        ("π and α", "pi and alpha"),  # noqa: RUF001
        ("नमस्ते", "Namaste"),
        ("हिन्दी में धन्यवाद।", "Hindi mem dhanyavad."),
        ("السلام عليكم", "Alslam lykm"),
        ("שלום", "Salvm"),
        ("สวัสดี", "Swasdi"),
        ("ＡＢＣ １２３％", "ABC 123%"),  # noqa: RUF001
        ("٤٨٢ and ४२", "482 and 42"),
        ("Nguyễn", "Nguyen"),
    ],
)
def test_letters_that_the_voice_lacks_are_written_in_latin(written: str, latin: str) -> None:
    assert in_latin(written) == latin


@pytest.mark.parametrize(
    "text",
    [
        "café, Zoë, naïve, São Paulo, Øresund, Straße, Łódź, Dvořák, jalapeño, Škoda",
        "cafe\u0301",
        "“Hi” — it’s ‘fine’… «yes» ½ 5 € 20 °C ™ ©",  # noqa: RUF001
        "Great 🎉",
        "5 × 3 ÷ 2",  # noqa: RUF001
        "",
    ],
)
def test_what_the_voice_can_say_stays(text: str) -> None:
    assert in_latin(text) == text


def test_digits_of_every_script_become_digits() -> None:
    digits = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Nd"]
    assert [in_latin(digit) for digit in digits] == [str(unicodedata.decimal(digit)) for digit in digits]


def test_they_are_read_like_others() -> None:
    assert spoken_form("رمزك PIN ٠٠٤٢") == "Ramzk PIN zero zero four two"
    assert spoken_form("The code is １２３４。") == "The code is one two three four."  # noqa: RUF001
