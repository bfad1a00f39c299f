"""Text from outside, made fit to be shown."""

from __future__ import annotations


def one_line(text: str) -> str:
    """The text on one line, without what can't be seen: control characters, those of no width, and those that turn the
    direction of reading."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
