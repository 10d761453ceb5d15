"""A story that the assistant tells, for what is said into it."""

from tests.support.call import TRANSCRIBED, Call

STORY = "Once upon a time there was a farmer who had three sons and a mill. The eldest went to sea."
STORY_SECONDS = 10.0


def listening(seconds: float = 2.0, story: str = STORY, **settings: object) -> Call:
    """A caller who has been hearing a story, which takes ten seconds, for so long."""
    call = Call(**{"audio": TRANSCRIBED, **settings})  # type: ignore[arg-type]  # as Call takes them
    call.caller_says("tell me a story")
    call.silence(1.0)
    call.bot_says(story, seconds=STORY_SECONDS)
    call.silence(seconds)
    _ = call.events
    return call


def was_told(call: Call) -> list[str]:
    """The events since the story began, but for those of the story."""
    return [event for event in call.events if not event.startswith("response.output")]


def speaks(call: Call) -> bool:
    """Whether the answer goes on."""
    return call.answering is not None and call.conversation.playback.ahead(call.now) > 0
