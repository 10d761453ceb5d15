"""Every failure has a line in the caller's language, and an operator may change or silence each."""

from typing import get_args

import pytest

from server.conversation.backchannels import _PHRASES
from server.settings.loading import SettingsError, load_settings
from server.spoken_lines import BUNDLED, LineKind, SpokenLines


def test_every_language_that_turn_taking_knows_has_every_line() -> None:
    assert BUNDLED.keys() == _PHRASES.keys() - {""}
    assert all(lines.keys() == set(get_args(LineKind)) for lines in BUNDLED.values())


@pytest.mark.parametrize(
    ("node", "caller", "language"),
    [("en", "de", "de"), ("en", "", "en"), ("es", "", "es"), ("", "", "en"), ("fr", "ja", "fr"), ("", "ja,it", "it")],
)
def test_the_line_is_in_the_callers_language_else_in_the_nodes(node: str, caller: str, language: str) -> None:
    assert SpokenLines.of(node, {}).text("failed", caller) == BUNDLED[language]["failed"]


def test_lines_are_changed_one_by_one_or_for_all_languages() -> None:
    lines = SpokenLines.of("en", {"*": {"failed": "", "busy": "!"}, "en": {"busy": "Busy."}, "ja": {"busy": "混雑"}})
    assert lines.text("failed", "de") == ""
    assert [lines.text("busy", language) for language in ("en", "de", "ja")] == ["Busy.", "!", "混雑"]
    assert lines.text("not_heard", "de") == BUNDLED["de"]["not_heard"]
    assert lines.text("not_heard", "ja") == BUNDLED["en"]["not_heard"]


def test_without_any_nothing_is_said() -> None:
    assert SpokenLines().text("failed", "en") == ""


def test_the_nodes_own_language_is_recorded_first_and_none_that_nobody_is_understood_in() -> None:
    lines = SpokenLines.of("de", {"de": {"failed": ""}})
    recorded = lines.for_callers(None)
    assert recorded[:3] == [BUNDLED["de"][kind] for kind in ("busy", "no_answer", "not_heard")]
    assert len(recorded) == 4 * len(BUNDLED) - 1
    assert lines.for_callers({"de"}) == [*recorded[:3], *BUNDLED["en"].values()]


def test_the_setting_is_json() -> None:
    settings = load_settings(spoken_lines='{"en": {"failed": "One moment, please."}}')
    assert settings.spoken_lines == {"en": {"failed": "One moment, please."}}


@pytest.mark.parametrize(
    "value",
    ["off", "[]", '{"en": "x"}', '{"english": {}}', '{"en": {"late": "x"}}', f'{{"en": {{"busy": "{"x" * 201}"}}}}'],
)
def test_a_wrong_one_is_told_what_it_takes(value: str) -> None:
    with pytest.raises(
        SettingsError, match=r"^VOICE_SPOKEN_LINES: got .*; takes a JSON object of languages .*not_heard"
    ):
        load_settings(spoken_lines=value)
