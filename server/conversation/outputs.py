"""All that a conversation gives: events for the client and commands for the pipeline, in their order."""

from server.conversation.commands import Command
from server.conversation.events import Event

Output = Event | Command
