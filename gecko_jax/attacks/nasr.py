"""The white-box attack: a network on all that a model tells of a record, its gradients included."""

from __future__ import annotations

import numpy as np

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.types import Signals


def nasr() -> Attack:
    """Scores the log odds of a member by a network with an encoder for each part of the white-box signal.

    The parts are posteriors, label, loss and log gradient norms. Encoders have 128-64 units, and 256-128-64-1 units
    read all of their outputs. The network is trained on the shadows' records: standardized columns, as many members as
    others, 20,000 rows at most, Adam from 1e-3 for 10 epochs.

    Source: Nasr, Shokri and Houmansadr, "Comprehensive Privacy Analysis of Deep Learning" (2019), sec. III, which
    reads the gradient itself through convolutions; here the norms of its leaves replace it, for any architecture.

    >>> nasr().needs
    ('shadows', 'gradients', 'time')
    """

    def score(read: Signals) -> np.ndarray:
        from gecko_jax.attacks import deep

        return deep.log_odds(deep.Encoders(), read)

    return Attack("nasr", signals.white_box, score, shadows=1, slow=True)
