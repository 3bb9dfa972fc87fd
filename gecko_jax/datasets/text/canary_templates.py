"""Templates of canaries: a beginning that is known, and a random fill that only the training data tell."""

from __future__ import annotations

import string
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.text.made_up_words import FIRST_NAMES, LAST_NAMES, LETTERS

SLOTS: dict[str, tuple[str, ...]] = {
    "digit": tuple(string.digits),
    "letter": tuple(LETTERS),
    "first": tuple(a + b for a in FIRST_NAMES[0] for b in FIRST_NAMES[1]),
    "last": tuple(a + b for a in LAST_NAMES[0] for b in LAST_NAMES[1]),
}


class Template(NamedTuple):
    """How a canary reads: prefix + fill, both with slots in braces, {digit}, {letter}, {first} or {last}.

    Attributes:
      name: as listed in `TEMPLATES`, or your own.
      prefix: the beginning. Without a slot all canaries share it, as the canaries of the literature do: then greedy
        decoding can give one of them at most. With a slot each has its own, and can be asked for.
      fill: the secret, with one slot or more.
    """

    name: str
    prefix: str
    fill: str


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


def checked_template(template: str | Template) -> Template:
    """Returns the template of a name, or one of yours.

    Raises:
      ValueError: an unknown name, a fill without a slot, or an empty prefix.
    """
    if isinstance(template, str):
        return checks.lookup("template", template, TEMPLATES)
    if not isinstance(template, Template):
        kind: Any = type(template).__name__
        raise ValueError(f"template is a {kind}; expected a name of {', '.join(TEMPLATES)}, or a Template.")
    _parts(template.prefix)
    if not template.prefix.strip():
        raise ValueError(f"prefix={template.prefix!r} is empty; a causal model predicts no first token. Write one.")
    if space(template.fill) < 2:
        raise ValueError(f"fill={template.fill!r} has no slot: it is known already. Write one, such as {{digit}}.")
    return template


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


_SIX_DIGITS = " ".join(["{digit}"] * 6)
TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        Template("number", "the secret number is ", _SIX_DIGITS),  # of the papers: a million fills
        Template("owned_number", "the secret number of {first} {last} is ", _SIX_DIGITS),
        Template("code", "the code of the door is ", "{letter}{digit}{letter}{digit}{letter}{digit}"),
        Template("name", "the patient in the last room is ", "{first} {last}"),
    )
}
