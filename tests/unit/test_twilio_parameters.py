"""What TwiML may set of a call, and what is said about a wrong value."""

import pytest

from server.dialects.dialect import Abilities, ClientAtFault
from server.dialects.twilio.parameters import Parameters, read_parameters

_ANY = Abilities()


def test_a_call_without_parameters_is_as_the_node_is_set() -> None:
    config = read_parameters({}, _ANY).config("Be brief.")
    assert (config.response.instructions, config.response.voice, config.language) == ("Be brief.", "", "")
    assert config.turn_detection
    assert config.turn_detection.eagerness == "medium"
    assert config.response.tools == ()


def test_parameters_set_the_call() -> None:
    given = {"instructions": "Be long.", "voice": "heart", "language": "de-AT, fr", "greeting": "Hi.", "token": "t"}
    parameters = read_parameters(given, Abilities(languages=frozenset({"de", "en", "fr"})))
    config = parameters.config("Be brief.")
    assert (config.response.instructions, config.response.voice, config.language) == ("Be long.", "heart", "de,fr")
    assert (parameters.greeting, parameters.token) == ("Hi.", "t")


def test_parameters_of_the_application_s_own_are_passed_over() -> None:
    assert read_parameters({"FirstName": "Jane"}, _ANY) == Parameters()


def test_a_language_that_the_node_lacks_is_refused_by_name() -> None:
    with pytest.raises(ClientAtFault, match="language: the node's recogniser takes en") as refused:
        read_parameters({"language": "de"}, Abilities(languages=frozenset({"en"})))
    assert (refused.value.fault, refused.value.close_code) == ("parameters", 1008)


def test_a_value_that_is_too_long_is_refused_by_the_name_of_its_parameter() -> None:
    with pytest.raises(ClientAtFault, match="greeting: takes up to 4000 characters") as refused:
        read_parameters({"voice": "x", "greeting": "x" * 4001}, _ANY)
    assert (refused.value.fault, refused.value.close_code) == ("parameters", 1008)
