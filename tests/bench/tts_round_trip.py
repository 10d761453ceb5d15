"""Speech that is understood: an engine speaks telephone sentences, the recogniser writes down what it hears.

`python -m tests.bench.tts_round_trip [--engine hibari|chatterbox]`. Exits with 1 when too many words come back wrong.
The recogniser's own errors count too. An engine that paces itself (chatterbox is at most 4 s ahead of playout) has a
real-time factor that says little; `voicefleet bench tts` measures throughput.
"""

import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from server.cli.console import FAILED, errors_shown
from server.client.transcripts import word_errors, words
from server.errors import VoicefleetError, first_of
from server.models.store import ModelStore
from server.settings.loading import load_settings
from server.settings.settings import Settings
from server.workers.engines.pieces import without_tags
from server.workers.tts_worker import load_engine
from tests.support.round_trip import Spoken, heard, recognizer, spoken

SENTENCES: dict[str, str] = {
    "Yes.": "",
    "Good morning, and thank you for calling.": "",
    "How may I help you today?": "",
    "Could you please spell your last name for me?": "",
    "Your reference number is four, seven, one, nine, three.": "",
    "My name is Margaret Wilson, and I am calling about my order.": "",
    "Mister Thompson will meet you in Boston on Wednesday.": "Mr. Thompson will meet you in Boston on Wednesday.",
    "The appointment is on Monday at half past three.": "",
    "Your table is booked for nine fifteen tomorrow evening.": "Your table is booked for 9:15 tomorrow evening",
    "That comes to twenty five dollars and forty cents.": "That comes to $25.40",
    "Please call us back at five five five, zero one two three.": "",
    "We are closed on Christmas Eve and on New Year's Day.": "",
    "[laugh] That is very kind of you to say.": "",
    "I'm sorry, I didn't quite catch that. Could you say it again?": "",
    "Press one for sales, two for support, or stay on the line.": "",
    "Is there anything else that I can do for you?": "",
    "Unfortunately, the doctor is not available this afternoon, but I can offer you an appointment tomorrow.": "",
    "Please have your insurance card ready when you arrive at the front desk.": "",
    "If you would like to change your delivery address, please open our website, choose your account, and follow the "
    "instructions that you find there, or, if the parcel has already left our warehouse, please call the driver, whose "
    "number is in the message that we sent to you this morning, and ask him to leave it with a neighbor or to bring it "
    "to the nearest shop.": "",
    "Goodbye, and have a wonderful weekend!": "",
}
"""What is said, and, where a recogniser writes it otherwise than in these words, how."""


class Line(msgspec.Struct, frozen=True):
    """What became of a sentence."""

    text: str
    heard: str
    words: int
    errors: int
    audio_seconds: float
    synthesis_seconds: float
    first_audio_ms: float


class Report(msgspec.Struct, frozen=True):
    """What became of all of them."""

    engine: str
    voice: str
    stt: str
    lines: list[Line]

    @property
    def error_rate(self) -> float:
        """Wrong words, of all."""
        return sum(line.errors for line in self.lines) / sum(line.words for line in self.lines)


async def measure(settings: Settings, voice: str, console: Console) -> Report:
    """Load both models and go through the sentences. Raises `VoicefleetError`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("loading", total=len(SENTENCES))
        ears = ModelStore.from_settings(settings).verified(settings.stt_model)
        engine = load_engine(settings)
        lines = []
        try:
            async with recognizer(ears) as listener:
                await engine.warm_up()
                progress.update(bar, description="sentences")
                for text in SENTENCES:
                    speech = await spoken(engine, text, voice)
                    lines.append(_line(text, speech, await heard(listener, speech)))
                    progress.advance(bar)
        finally:
            await engine.close()
    return Report(engine.name, voice, settings.stt_model, lines)


def _line(text: str, speech: Spoken, understood: str) -> Line:
    """By the way of writing `text` that is nearer to what was understood."""
    truths = [without_tags(truth) for truth in (text, SENTENCES[text]) if truth]
    errors, truth = min((word_errors(truth, understood), truth) for truth in truths)
    return Line(text, understood, len(words(truth)), errors, speech.seconds, speech.total, speech.first_audio * 1000)


def show(console: Console, report: Report) -> None:
    """A row for each sentence and one for all of them; below, what was heard otherwise."""
    table = Table("sentence", "wrong", "WER", "audio s", "RTF", "first audio ms")
    for column in table.columns[1:]:
        column.justify = "right"
    for line in report.lines:
        table.add_row(escape(shorten(line.text, 23, placeholder="…")), *_figures([line]))
    table.add_section()
    table.add_row(f"all, by {report.engine}", *_figures(report.lines))
    console.print(table)
    for line in report.lines:
        if line.errors:
            console.print(f"said   {escape(line.text)}\nheard  {escape(line.heard) or '(nothing)'}", highlight=False)


def _figures(lines: Sequence[Line]) -> list[str]:
    """Of several lines together; of their first audio the median."""
    errors, spoken_words = sum(line.errors for line in lines), sum(line.words for line in lines)
    audio, synthesis = sum(line.audio_seconds for line in lines), sum(line.synthesis_seconds for line in lines)
    return [
        f"{errors} of {spoken_words}",
        f"{errors / spoken_words:.1%}",
        f"{audio:.1f}",
        f"{synthesis / audio:.3f}" if audio else "-",
        f"{statistics.median(line.first_audio_ms for line in lines):.0f}",
    ]


def main(
    engine: Annotated[str | None, typer.Option(help="hibari or chatterbox; by default what VOICE_TTS says.")] = None,
    voice: Annotated[str, typer.Option(help="Voice of the engine; empty for its default.")] = "",
    stt: Annotated[str, typer.Option(help="Whisper model: a name from the catalogue, or a folder.")] = "tiny.en",
    max_wer: Annotated[float, typer.Option(min=0, help="Share of wrong words, in percent, that is still fine.")] = 10.0,
    save: Annotated[Path | None, typer.Option("--json", help="File to write the figures to.", dir_okay=False)] = None,
) -> None:
    """Have an engine speak telephone sentences, and count the words that the recogniser gets wrong."""
    console = Console()
    with errors_shown():
        settings = load_settings(tts=engine, stt_model=stt)
        with first_of(VoicefleetError):  # the recogniser's tasks make it a group
            report = asyncio.run(measure(settings, voice, console))
        if save:
            save.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    show(console, report)
    if report.error_rate > max_wer / 100:
        console.print(f"[red]more than {max_wer:g} % of the words were misheard[/]")
        raise typer.Exit(FAILED)


if __name__ == "__main__":
    typer.run(main)
