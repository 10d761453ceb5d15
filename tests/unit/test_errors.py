"""`server/errors.py`: one error in the place of a task group's."""

import ast
from pathlib import Path

import pytest

from server.errors import VoicefleetError, first_of

ROOT = Path(__file__).parents[2]


class Wrong(VoicefleetError):
    """One that is foreseen."""


def test_the_first_of_a_groups_errors_takes_its_place_however_deep_it_lies() -> None:
    with pytest.raises(Wrong, match="first"), first_of(Wrong):
        raise ExceptionGroup("", [ExceptionGroup("", [Wrong("first")]), Wrong("second")])


def test_one_that_is_in_no_group_stays_as_it_is() -> None:
    with pytest.raises(Wrong, match="alone"), first_of(Wrong):
        raise Wrong("alone")


def test_a_group_with_an_unforeseen_error_in_it_stays_whole() -> None:
    with pytest.raises(ExceptionGroup) as raised, first_of(Wrong):
        raise ExceptionGroup("", [Wrong("foreseen"), ZeroDivisionError()])
    assert len(raised.value.exceptions) == 2


@pytest.mark.parametrize("folder", ["server", "infra", "image", "tests"])
def test_nothing_is_raised_in_except_star_which_older_pythons_wrap_again(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            raises = isinstance(node, ast.TryStar) and any(
                isinstance(inner, ast.Raise) for handler in node.handlers for inner in ast.walk(handler)
            )
            assert not raises, f"{path.relative_to(ROOT)} raises in `except*`; `first_of` does it"
