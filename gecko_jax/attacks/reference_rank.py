"""Attack-R: the target's loss on a record, ranked among that record's losses under models that had it not."""

from __future__ import annotations

import numpy as np

from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.references import mean_over
from gecko_jax.types import Signals


def reference_rank() -> Attack:
    """Score: share of references without the record whose loss is larger, equals counted half.

    Under a null of one more such reference the score is a p-value's complement, by record; of K references it takes
    2 K + 1 values, and ties accordingly.

    Source: Ye et al., "Enhanced Membership Inference Attacks against Machine Learning Models" (2022), Attack-R.
    """

    def score(signals: Signals) -> np.ndarray:
        above = np.where(signals.values == signals.target[None], 0.5, signals.values > signals.target[None])
        return mean_over(above, ~signals.member)

    return Attack("reference_rank", "loss", score, shadows=1)
