"""Templates of canaries, a known beginning and a random fill that only the training data tell, and canaries of one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.text.canary_patterns import space


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


class Canaries(NamedTuple):
    """Secrets of one template.

    Attributes:
      template: how they read.
      prefix: the beginning of each, known to the attacker.
      fill: the secret of each.
      repetitions: int64 [k], how often `insert` puts each into the documents; 0 for a reference.
      id: int64 [k], below 0.

    >>> from gecko_jax.datasets.text.canaries import draw
    >>> planted = draw("number", ladder=(1, 5), each=1, references=2, seed=0)
    >>> planted.repetitions.tolist(), planted.inserted.tolist()
    ([1, 5, 0, 0], [True, True, False, False])
    >>> planted.space
    1000000
    >>> planted.text[0] == "the secret number is " + planted.fill[0]
    True
    """

    template: Template
    prefix: tuple[str, ...]
    fill: tuple[str, ...]
    repetitions: np.ndarray
    id: np.ndarray

    @property
    def text(self) -> tuple[str, ...]:
        """The whole text of each."""
        return tuple(prefix + fill for prefix, fill in zip(self.prefix, self.fill, strict=True))

    @property
    def space(self) -> int:
        """Number of fills that the template stands for, for `metrics.exposure_ladder`; none begins another one."""
        return space(self.template.fill)

    @property
    def inserted(self) -> np.ndarray:
        """Whether each is in the training data, bool [k]."""
        return self.repetitions > 0


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
    space(template.prefix)  # refuses what cannot be read
    if not template.prefix.strip():
        raise ValueError(f"prefix={template.prefix!r} is empty; a causal model predicts no first token. Write one.")
    if space(template.fill) < 2:
        raise ValueError(f"fill={template.fill!r} has no slot: it is known already. Write one, such as {{digit}}.")
    return template


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
