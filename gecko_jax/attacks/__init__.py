"""Membership-inference attacks: Signals -> scores, larger = more likely a member, always.

How the known ones arise: a signal of `SIGNALS`, computed once from the logits, and a pure function of that signal's
values under the target and under shadow models. `loss` is Yeom et al. 2018, `gap` their one bit, `confidence` and
`entropy` Salem et al. 2019, `modified_entropy` Song and Mittal 2021. A threshold is no part of an attack: an audit
chooses it on data that it does not evaluate.

To add an attack: one file with one factory, and one line in `ATTACKS`; the contract test runs over the table.
"""

from __future__ import annotations

from collections.abc import Callable

from gecko_jax.attacks.base import Attack
from gecko_jax.attacks.confidence import confidence
from gecko_jax.attacks.entropy import entropy
from gecko_jax.attacks.gap import gap
from gecko_jax.attacks.loss import loss
from gecko_jax.attacks.modified_entropy import modified_entropy
from gecko_jax.attacks.signals import SIGNALS

ATTACKS: dict[str, Callable[..., Attack]] = {
    "confidence": confidence,
    "entropy": entropy,
    "gap": gap,
    "loss": loss,
    "modified_entropy": modified_entropy,
}

__all__ = ["ATTACKS", "SIGNALS", "Attack", "confidence", "entropy", "gap", "loss", "modified_entropy"]
