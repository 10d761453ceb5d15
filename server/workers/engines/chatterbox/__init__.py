"""Chatterbox Turbo as a streaming engine that speaks for many calls at once.

Upstream's modules hold the weights (`checkpoint`); how they are run is ours. Text becomes speech tokens in `t3`, tokens
become mel frames in `flow`, frames become samples in `vocoder`; `scheduler` says whose turn it is and runs nothing,
`engine` does what it says.
"""
