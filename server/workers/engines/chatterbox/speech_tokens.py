"""The speech tokens of Chatterbox Turbo: what T3 draws and the flow turns into sound. Source: chatterbox-tts 0.1.7."""

TOKEN_RATE = 25
"""Speech tokens a second."""

SPEECH_TOKENS = 6561
"""Ids below are sounds; the two from here on are marks."""

START_TOKEN = 6561
STOP_TOKEN = 6562
SILENCE_TOKEN = 4299
