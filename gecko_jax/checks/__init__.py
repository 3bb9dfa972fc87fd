"""Argument checks in one place: a message names the argument, its value, what is expected, and what to do.

An unhelpful error message is a bug. Each check returns the value, so that it can be used in an assignment.
"""

from gecko_jax.checks.choices import MAX_KNOWN_NAMES, listed, lookup, one_of
from gecko_jax.checks.contents import finite, not_empty, shape, unmasked
from gecko_jax.checks.scalars import at_least, in_range, integer, positive
from gecko_jax.checks.several import entries, numbers, sizes

__all__ = [
    "MAX_KNOWN_NAMES",
    "at_least",
    "entries",
    "finite",
    "in_range",
    "integer",
    "listed",
    "lookup",
    "not_empty",
    "numbers",
    "one_of",
    "positive",
    "shape",
    "sizes",
    "unmasked",
]
