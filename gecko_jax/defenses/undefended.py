"""No defense: what the others are compared with."""

from __future__ import annotations

from gecko_jax.defenses.defense import Defense


def undefended() -> Defense:
    """Builds the baseline: training as it is, and answers as they are.

    >>> undefended().answer is None
    True
    """
    return Defense("undefended")
