"""No quantisation: the float that every scheme is compared with."""

from __future__ import annotations

from gecko_jax.quantizers.base import with_blueprint
from gecko_jax.types import Quantizer


@with_blueprint
def full() -> Quantizer:
    """w_hat = w, 32 bits.

    >>> full().apply((), 0.3)
    0.3
    """
    return Quantizer("full", 32, lambda w: (), lambda state, w, key=None: w)
