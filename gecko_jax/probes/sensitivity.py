"""Sensitivity of a posterior to small changes of the input: a feature of each class, for an attack network.

Training makes a model flat around its own records, and pruning, which makes it steeper elsewhere, does not undo that.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.probes import augmentations
from gecko_jax.probes.outputs import as_logits
from gecko_jax.probes.records import BATCH, check_inputs, check_scale, one_array
from gecko_jax.trees import row_blocks
from gecko_jax.types import Array


def sensitivity(
    predict: Callable[[Array], Array],
    x: Array,
    key: int | jax.Array,
    *,
    draws: int = 10,
    scale: float = 1e-3,
    unit: Array | None = None,
    outputs: str = "logits",
    batch_size: int = BATCH,
) -> np.ndarray:
    """Returns the mean change of each class's probability, for one unit of noise.

      s_k(x) = 1/draws sum_i |f_k(x + scale * unit * u_i) - f_k(x)| / scale,   u_i ~ N(0, I)

    The u_i are the same for all records and models. f is the posterior, in float64 from the model's own outputs:
    float32 outputs resolve about 1e-7 / scale.

    Args:
      predict: x [b, ...] -> outputs [b, classes], in evaluation mode.
      x: [n, ...] floats.
      key: seed or JAX key of the draws.
      draws: how many.
      scale: size of a step, in `unit`.
      unit: of each feature [...], at least 0, for features in units of their own (their standard deviations); if None,
        1 for all.
      outputs: what predict gives: "logits" or "probabilities".
      batch_size: records in one call of predict.

    Returns:
      float64 [n, classes], at least 0. These are features, not a score: they have no direction.

    Raises:
      ValueError: NaN inputs or outputs, draws or scale out of bounds.

    Source: Yuan and Zhang, "Membership inference attacks and defenses in neural network pruning", USENIX Security 2022
    (SAMIA), and its released code, which draws u from a Gaussian.

    >>> sensitivity(lambda x: x, np.array([[0.0, 0.0]]), key=0, draws=100).shape
    (1, 2)
    """
    x, done, seen = check_inputs(x), [], []
    checks.positive("scale", scale)
    checks.integer("draws", draws, 1)
    step = scale if unit is None else scale * check_scale(unit, x)
    for rows in row_blocks(len(x), batch_size):
        copies = augmentations.noise(x[rows], step, draws, key)
        answers = [checks.shape("output of predict", one_array(predict(copy)), (len(copy), None)) for copy in copies]
        seen.append(answers[0])
        # What kind the outputs are is asked of all records together, below: a few logits may lie in 0..1 by chance.
        logits = [as_logits("outputs of predict", one, outputs, known=True) for one in answers]
        here, *near = (special.softmax(one.astype(np.float64), -1) for one in logits)
        done.append(np.mean([np.abs(one - here) for one in near], axis=0) / scale)
    as_logits("outputs of predict", np.concatenate(seen), outputs)
    return np.concatenate(done)
