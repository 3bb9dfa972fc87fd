"""The tail of the losses: how many non-members have a loss that members hardly have, as a sign of memorization."""

from __future__ import annotations

from gecko_jax import checks
from gecko_jax.metrics.intervals import tpr_interval_at_fpr
from gecko_jax.metrics.roc import scored_pairs
from gecko_jax.types import Array, Estimate


def loss_tail(loss: Array, member: Array, fnr: float = 0.01, confidence: float = 0.95) -> Estimate:
    """Returns the true-negative rate of the loss attack at a false-negative rate of at most `fnr`.

    It is the share of non-members whose loss lies above that of all but `fnr` of the members. A model that memorizes
    hard records has moved its members out of this tail, in which non-members stay: the rate was proposed as an estimate
    of the TPR at an FPR of `fnr` that LiRA would find, without shadow models. It tells of a model, not of a record, and
    it bounds nothing: a model whose members have the losses of non-members can leak nevertheless.

    Args:
      loss: [n] numbers, smaller for a likelier member.
      member: [n] bool.
      fnr: the share of members that may lie in the tail, in 0..1.
      confidence: of the interval.

    Returns:
      An Estimate with its Clopper-Pearson interval, its n the number of non-members.

    Raises:
      ValueError: see `roc.scored_pairs`; fnr outside 0..1.

    Source: Dodd et al., "The Tail Tells All: Estimating Model-Level Membership Inference Vulnerability Without
    Reference Models" (2025), arXiv 2510.19773: the TNR of the loss attack.

    >>> loss_tail([0.1, 0.2, 0.15, 3.0], [True, True, False, False]).value
    0.5
    """
    checks.in_range("fnr", fnr, 0.0, 1.0)
    losses, inside = scored_pairs(loss, member)
    return tpr_interval_at_fpr(losses, ~inside, fnr, confidence)
