"""The voice engine on a device that nobody has: its real loop, policies and books, in virtual time.

What is simulated is the device's and the host's seconds (`device`), from costs that were measured or reckoned
(`costs`), and the calls (`traffic`). `simulation` runs one load, `comparison` finds out how many calls are too many.
"""
