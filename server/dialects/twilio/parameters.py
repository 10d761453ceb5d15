"""What the TwiML of a stream may set, by `<Parameter name="…" value="…"/>`: what a session's settings are elsewhere.

Pure. Twilio takes some 500 characters for a name and its value together, so long instructions are the node's
(VOICE_INSTRUCTIONS). Parameters of other names are the application's own, and passed over.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from server.conversation.config import ResponseConfig, SessionConfig
from server.conversation.endpointing import TurnDetection
from server.dialects.dialect import Abilities, ClientAtFault
from server.dialects.languages import language_code

_MAX_CHARACTERS = 4000
_Text = Annotated[str, Meta(max_length=_MAX_CHARACTERS)]


class Parameters(Struct):
    """A call's settings; empty: the node's own.

    `greeting` is said as it stands when the call begins; without one the model begins. `language` is a code such as
    "de" or "de-AT", or several, comma-separated. `token` shows who calls, where the handshake is not signed.
    """

    instructions: _Text = ""
    greeting: _Text = ""
    voice: _Text = ""
    language: _Text = ""
    token: _Text = ""

    def config(self, instructions: str) -> SessionConfig:
        """What they mean to a conversation; `instructions` are the node's.

        Turns end by what was said, not by silence alone: a caller on a telephone has no other way to show it. There is
        no application on the line that could run functions.
        """
        return SessionConfig(
            response=ResponseConfig(instructions=self.instructions or instructions, voice=self.voice),
            turn_detection=TurnDetection(eagerness="medium"),
            language=",".join(self.languages),
        )

    @property
    def languages(self) -> list[str]:
        """The codes of those that the caller may speak."""
        return [code for name in self.language.split(",") if (code := language_code(name))]


def read_parameters(given: dict[str, str], abilities: Abilities) -> Parameters:
    """Raises `ClientAtFault`, which names the parameter and what it takes."""
    try:
        parameters = msgspec.convert(given, Parameters)
    except msgspec.ValidationError:
        name = next(name for name in Parameters.__struct_fields__ if len(given.get(name, "")) > _MAX_CHARACTERS)
        raise ClientAtFault("parameters", 1008, f"{name}: takes up to {_MAX_CHARACTERS} characters") from None
    if abilities.languages is not None and set(parameters.languages) - abilities.languages:
        takes = ", ".join(sorted(abilities.languages))
        raise ClientAtFault("parameters", 1008, f"language: the node's recogniser takes {takes}")
    return parameters
