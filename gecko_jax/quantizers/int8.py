"""Eight-bit integers (Jacob et al. 2018): symmetric weights, asymmetric inputs over a measured range."""

from __future__ import annotations

from gecko_jax.quantizers.base import with_blueprint
from gecko_jax.quantizers.ranges import measured_input
from gecko_jax.quantizers.uniform import uniform
from gecko_jax.types import Quantizer


@with_blueprint
def int8() -> Quantizer:
    """Quantizes weights to -127..127 times a scale for each output channel, max|w| / 127: `uniform(8)`.

    The gradient passes unchanged. The code -128 is not used, so that a product of two codes fits into 15 bits.

    Returns:
      A Quantizer for weights of any shape, without state. It does not serve inputs: see `int8_input`.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018 (arXiv 1712.05877).

    >>> import jax.numpy as jnp
    >>> int8().codes((), jnp.array([[-1.27], [0.5]])).values.tolist()
    [[-127], [50]]
    """
    return uniform(8)._replace(name="int8")


@with_blueprint
def int8_input(decay: float | None = 0.99, freeze_after: int | None = None) -> Quantizer:
    """Quantizes inputs to -128..127: x_hat = (clip(round(x / s) + z, -128, 127) - z) * s.

      s = (high - low) / 255,    z = round(-128 - low / s)

    low <= 0 <= high are the range of the inputs, so that 0 is exactly on the grid. Training measures it: the first
    batch's smallest and largest number, then decay * old + (1 - decay) * new. The gradient is 1 from the lowest to the
    highest number of the grid, 0 outside, and none reaches the range. `models.calibrate` measures it after training.

    A range is read off the data. Private training therefore refuses it, unless `decay` is None: calibrate on public
    inputs before such a run.

    Args:
      decay: the old range's share, in [0, 1); None: training leaves the range as `models.calibrate` measured it.
      freeze_after: after how many batches the range stays as it is; None for never.

    Returns:
      A Quantizer for inputs of any shape, with the state {"low", "high", "count": batches seen}. A range that was never
      measured is an error when the model is called, and gives NaN in compiled programs. It does not serve weights.

    Raises:
      ValueError: a decay outside [0, 1), a freeze_after below 1 or without a decay.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018 (arXiv 1712.05877), sections 2.1 and 3.1.

    >>> import jax.numpy as jnp
    >>> codes = int8_input().codes({"low": 0.0, "high": 2.55, "count": 1}, jnp.array([-1.0, 0.5, 9.0]))
    >>> codes.values.tolist(), int(codes.zero_point)
    ([-128, -78, 127], -128)
    """
    return measured_input(8, decay, freeze_after)
