"""A predict function of NumPy, or of another framework, inside a compiled program."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.audit.probes.records import as_labels
from gecko_jax.types import Array


def on_host(predict: Callable[[np.ndarray], Array]) -> Callable[[Array], Array]:
    """A predict function that JAX cannot trace, as a `classify` of `boundary_distance`.

    Args:
      predict: NumPy x [b, ...] -> logits [b, classes] or integer labels [b]. It must not use JAX itself: its own
        program would wait for the one that is asking.

    Returns:
      x [b, ...] -> int32 labels [b], traceable.

    >>> labels = on_host(lambda x: np.stack([x.sum(1), 1 - x.sum(1)], 1))
    >>> labels(jnp.array([[0.2, 0.1], [0.9, 0.3]])).tolist()
    [1, 0]
    """

    def answer(x):
        return as_labels(predict(np.asarray(x)), len(x))[0].astype(np.int32)

    return lambda x: jax.pure_callback(answer, jax.ShapeDtypeStruct(x.shape[:1], jnp.int32), x)
