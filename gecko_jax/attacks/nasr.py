"""The white-box attack: a network on all that a model tells of a record, its gradients included."""

from __future__ import annotations

import numpy as np

from gecko_jax.attacks.attack import Attack
from gecko_jax.types import Signals


def nasr() -> Attack:
    """A network with an encoder for each of posteriors, label, loss and log gradient norms.

    Score: its log odds of a member. Encoders of 128-64 units, and 256-128-64-1 on all of their outputs. It is trained
    on the shadows' records: standardised columns, members and others alike in number, 20,000 rows at most, Adam from
    1e-3 for 10 epochs.

    Source: Nasr, Shokri and Houmansadr, "Comprehensive Privacy Analysis of Deep Learning" (2019), sec. III, which
    reads the gradient itself through convolutions; here the norms of its leaves stand for it, of any architecture.
    """

    def score(signals: Signals) -> np.ndarray:
        from gecko_jax.attacks import deep

        return deep.log_odds(deep.Encoders(), signals)

    return Attack("nasr", "white_box", score, shadows=1, slow=True)
