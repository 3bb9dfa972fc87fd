"""Four-bit integers: as `int8`, with 15 values for weights and 16 for inputs."""

from __future__ import annotations

from gecko_jax.quantizers.base import with_blueprint
from gecko_jax.quantizers.ranges import measured_input
from gecko_jax.quantizers.uniform import uniform
from gecko_jax.types import Quantizer


@with_blueprint
def int4() -> Quantizer:
    """Quantizes weights to -7..7 times a scale for each output channel, max|w| / 7: `uniform(4)`.

    Returns:
      A Quantizer for weights of any shape, without state. It does not serve inputs: see `int4_input`.

    >>> import jax.numpy as jnp
    >>> int4().codes((), jnp.array([[-0.7], [0.5]])).values.tolist()
    [[-7], [5]]
    """
    return uniform(4)._replace(name="int4")


@with_blueprint
def int4_input(decay: float | None = 0.99, freeze_after: int | None = None) -> Quantizer:
    """Quantizes inputs to -8..7 over a measured range, which has a zero point: see `int8_input`.

    Args:
      decay: the old range's share, in [0, 1); None: training leaves the range as `models.calibrate` measured it.
      freeze_after: after how many batches the range stays as it is; None for never.

    Returns:
      A Quantizer for inputs of any shape, with the state {"low", "high", "count": batches seen}.

    Raises:
      ValueError: as of `int8_input`.

    >>> import jax.numpy as jnp
    >>> int4_input().codes({"low": -0.5, "high": 1.0, "count": 1}, jnp.array([-3.0, 0.0, 3.0])).values.tolist()
    [-8, -3, 7]
    """
    return measured_input(4, decay, freeze_after)
