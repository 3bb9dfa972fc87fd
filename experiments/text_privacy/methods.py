"""The rows of the study: how the private notes are protected. A new row is one line in METHODS."""

from __future__ import annotations

from typing import NamedTuple


class Method(NamedTuple):
    """One row.

    Attributes:
      label: in the table.
      first: whether redacted rows are trained on without noise.
      private: whether the rows as they are, are trained on privately.
      plain: whether the rows as they are, are trained on without noise.
      policy: which secrets count as known: "all", or "numbers", a policy that misses names.
      word_epsilon: the worst epsilon of a token, if tokens are noised before anything is trained; None if not.
      note: what a reader should know of the row.
    """

    label: str
    first: bool = False
    private: bool = False
    plain: bool = False
    policy: str = "all"
    word_epsilon: float | None = None
    note: str = ""


METHODS = {
    "base": Method("no fine-tuning", note="the base, trained on public notes"),
    "plain": Method("fine-tuned", plain=True, note="no privacy"),
    "redacted": Method("redacted", first=True, note="the first training alone"),
    "twice": Method("fine-tuned twice", first=True, private=True, note="selective: the secrets alone are protected"),
    "numbers": Method("twice, names missed", first=True, private=True, policy="numbers", note="a policy of numbers"),
    "private": Method("private", private=True, note="every word of a row is protected, and that it is there"),
    "words_100": Method("noised words, 100", plain=True, word_epsilon=100.0, note="before training, at 100 a token"),
    "words_25": Method("noised words, 25", plain=True, word_epsilon=25.0, note="before training, at 25 a token"),
}
ROWS = ("base", "plain", "redacted", "twice", "private", "words_100", "words_25")  # of the quick preset
