"""Constants of the normal distribution that the tail tests use."""

TAIL = 2.5758293035489004
"""A normal variable lies beyond ±TAIL once in a hundred."""

TAIL_SHARE = 0.01
"""The expected share beyond ±TAIL."""
