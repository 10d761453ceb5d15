"""Text normalisation before the voice: what a language model wrote becomes what a person would say.

The transcript keeps the written form; only what a speech engine is given changes. Pure, and for English voices.
"""
