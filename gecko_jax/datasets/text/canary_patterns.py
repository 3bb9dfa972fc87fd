"""Patterns of canaries: texts with slots in braces that are filled at random."""

from __future__ import annotations

import string

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.text.made_up_words import FIRST_NAMES, LAST_NAMES, LETTERS

SLOTS: dict[str, tuple[str, ...]] = {
    "digit": tuple(string.digits),
    "letter": tuple(LETTERS),
    "first": tuple(a + b for a in FIRST_NAMES[0] for b in FIRST_NAMES[1]),
    "last": tuple(a + b for a in LAST_NAMES[0] for b in LAST_NAMES[1]),
}


def space(pattern: str) -> int:
    """Returns how many texts a pattern stands for.

    Args:
      pattern: such as "{digit} {letter}".

    Raises:
      ValueError: braces that are not slots, or a slot of another name.

    >>> space("{digit}{digit}-{letter}")
    2400
    """
    return int(np.prod([float(len(SLOTS[slot])) for _, slot in _parts(pattern) if slot], initial=1.0))


def draw_texts(pattern: str, count: int, draws: np.random.Generator) -> list[str]:
    """Draws different texts of a pattern uniformly; a pattern without a slot is one text, any number of times.

    Args:
      pattern: see `Template`.
      count: how many.
      draws: the generator.

    Raises:
      ValueError: see `space`; more texts than half of those that the pattern stands for.

    >>> draw_texts("a {digit}", 2, np.random.default_rng(0))
    ['a 8', 'a 6']
    """
    parts = _parts(pattern)
    if not any(slot for _, slot in parts):
        return [pattern.format()] * count
    if count > (size := space(pattern)) / 2:
        raise ValueError(
            f"{pattern!r} stands for {size:,} texts; expected at least {2 * count:,}, twice as many as are drawn. "
            "Draw fewer references, or add slots."
        )
    texts: dict[str, None] = {}
    while len(texts) < count:
        columns = [draws.choice(np.array(SLOTS[slot], object), count) if slot else None for _, slot in parts]
        for row in range(count):
            words = [text + ("" if column is None else column[row])
                     for (text, _), column in zip(parts, columns, strict=True)]  # fmt: skip
            texts.setdefault("".join(words))
    return list(texts)[:count]


def _parts(pattern: str) -> list[tuple[str, str | None]]:
    """Returns [(text, the slot behind it or None)]."""
    try:
        parts = [(text, slot) for text, slot, *_ in string.Formatter().parse(pattern)]
    except ValueError as error:
        raise ValueError(f"{pattern!r} cannot be read ({error}); braces hold a slot, such as {{digit}}.") from None
    for _, slot in parts:
        if slot is not None:
            checks.one_of("slot", slot, SLOTS)
    return parts
