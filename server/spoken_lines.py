"""What a caller hears in place of an answer that can't be given, so that no failure is silence.

Pure, and the one place for these texts. A node has them spoken at its start, before anything can fail. Codes of
languages are ISO 639-1.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

LineKind = Literal["busy", "failed", "no_answer", "not_heard"]
"""Why: model or voice has no room; one of them fails; the model's answer holds nothing to say; recognition fails."""

Lines = Mapping[LineKind, str]

DEFAULT_LANGUAGE = "en"
BUNDLED: Mapping[str, Lines] = {
    "en": {
        "busy": "I'm sorry, there is a lot going on right now. Please ask me again in a moment.",
        "failed": "I'm sorry, I can't answer right now. Please try again in a moment.",
        "no_answer": "I'm sorry, I have no answer to that. Could you put it another way?",
        "not_heard": "Sorry, I didn't get that. Could you say it again?",
    },
    "de": {
        "busy": "Entschuldigung, gerade ist sehr viel los. Bitte fragen Sie gleich noch einmal.",
        "failed": "Entschuldigung, ich kann gerade nicht antworten. Bitte versuchen Sie es gleich noch einmal.",
        "no_answer": "Entschuldigung, darauf habe ich keine Antwort. Können Sie es anders sagen?",
        "not_heard": "Entschuldigung, das habe ich nicht verstanden. Können Sie es wiederholen?",
    },
    "fr": {
        "busy": "Désolé, il y a beaucoup de demandes en ce moment. Reposez-moi la question dans un instant.",
        "failed": "Désolé, je ne peux pas répondre pour le moment. Réessayez dans un instant.",
        "no_answer": "Désolé, je n'ai pas de réponse à cela. Pouvez-vous le dire autrement ?",
        "not_heard": "Désolé, je n'ai pas compris. Pouvez-vous répéter ?",
    },
    "es": {
        "busy": "Lo siento, ahora mismo hay muchas consultas. Pregúnteme de nuevo en un momento.",
        "failed": "Lo siento, ahora mismo no puedo responder. Inténtelo de nuevo en un momento.",
        "no_answer": "Lo siento, no tengo respuesta para eso. ¿Puede decirlo de otra manera?",
        "not_heard": "Perdón, no le he entendido. ¿Puede repetirlo?",
    },
    "it": {
        "busy": "Mi dispiace, in questo momento ci sono molte richieste. Mi chieda di nuovo tra un attimo.",
        "failed": "Mi dispiace, in questo momento non posso rispondere. Riprovi tra un attimo.",
        "no_answer": "Mi dispiace, non ho una risposta. Può dirlo in un altro modo?",
        "not_heard": "Scusi, non ho capito. Può ripetere?",
    },
    "pt": {
        "busy": "Desculpe, há muitos pedidos neste momento. Pergunte outra vez daqui a pouco.",
        "failed": "Desculpe, não consigo responder agora. Tente outra vez daqui a pouco.",
        "no_answer": "Desculpe, não tenho resposta para isso. Pode dizer de outra forma?",
        "not_heard": "Desculpe, não percebi. Pode repetir?",
    },
    "nl": {
        "busy": "Sorry, het is nu erg druk. Vraag het me zo nog een keer.",
        "failed": "Sorry, ik kan nu geen antwoord geven. Probeer het zo nog een keer.",
        "no_answer": "Sorry, daar heb ik geen antwoord op. Kunt u het anders zeggen?",
        "not_heard": "Sorry, dat heb ik niet verstaan. Kunt u het herhalen?",
    },
}


@dataclass(frozen=True)
class SpokenLines:
    """The lines of a node. `language` is that of a caller who has none; `texts` are by language, and may be empty."""

    language: str = DEFAULT_LANGUAGE
    texts: Mapping[str, Lines] = field(default_factory=dict)

    @classmethod
    def of(cls, language: str, changes: Mapping[str, Lines]) -> "SpokenLines":
        """Those that are bundled, with `changes`: those for "*" hold for all languages that have none of their own."""
        common = changes.get("*", {})
        languages = (BUNDLED.keys() | changes.keys()) - {"*"}
        texts = {name: {**BUNDLED.get(name, {}), **common, **changes.get(name, {})} for name in languages}
        return cls(language, texts)

    def text(self, kind: LineKind, languages: str) -> str:
        """For a caller of `languages`, comma-separated, the likeliest first; empty: nothing is to be said."""
        wanted = (*languages.split(","), self.language, DEFAULT_LANGUAGE)
        return next((self.texts[name][kind] for name in wanted if kind in self.texts.get(name, {})), "")

    def for_callers(self, understood: Collection[str] | None) -> list[str]:
        """All texts that may be said to callers of the languages that are `understood` (None: any).

        Those of the node's own language come first.
        """
        wanted = (
            self.texts if understood is None else self.texts.keys() & {*understood, self.language, DEFAULT_LANGUAGE}
        )
        languages = sorted(wanted, key=lambda name: (name != self.language, name != DEFAULT_LANGUAGE, name))
        return list(dict.fromkeys(text for name in languages for text in self.texts[name].values() if text))
