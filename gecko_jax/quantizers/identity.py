"""No quantization: the float weights and inputs that every scheme is compared with."""

from __future__ import annotations

from gecko_jax.quantizers.base import with_blueprint
from gecko_jax.types import Quantizer


@with_blueprint
def identity() -> Quantizer:
    """Builds the quantizer that changes nothing: w_hat = w, 32 bits, its gradient unchanged.

    Returns:
      A Quantizer without state, for weights and inputs of any shape and dtype. It has no `codes`: its values are not
      stored in fewer bits.

    >>> identity().apply((), 0.3)
    0.3
    """
    return Quantizer("identity", 32, lambda w: (), lambda state, w, key=None: w)
