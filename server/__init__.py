"""Voicefleet: a real-time conversational voice server."""

__version__ = "0.1.0"
