"""One model audited: with shadow models where there are some, else by split halves of its own records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks import SIGNALS, Attack
from gecko_jax.audit import figures, inputs, thresholds
from gecko_jax.audit.blind import Baselines, baselines
from gecko_jax.audit.claim import hold_against, judge
from gecko_jax.audit.report import Report
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array, Signals


class Shadows(NamedTuple):
    """Outputs of s shadow models on u records: first the p of the pool that their members came from, then others.

    Attributes:
      logits: [s, u, c].
      member: [s, u] bool; False beyond the pool.
      y: [u] labels.
      pool: p. Thresholds are chosen on these.
      rows: int [n], where each of the target's records stands among the u.
    """

    logits: np.ndarray
    member: np.ndarray
    y: np.ndarray
    pool: int
    rows: np.ndarray


def audit_model(
    logits: Array,
    y: Array,
    member: Array,
    attacks: Iterable[Attack] | None = None,
    shadows: Shadows | None = None,
    x: Array | None = None,
    epsilon: Epsilon | None = None,
) -> Report:
    """Audits one model from its outputs.

    Args:
      logits: [n, c] outputs on n records, without augmentation.
      y: [n] labels.
      member: [n] bool, who was in the training set.
      attacks: which; the usual ones that the shadows suffice for, if None.
      shadows: outputs of shadow models, or None: then the attack accuracy comes by split halves.
      x: records [n, ...], for the blind baseline; without them there is none.
      epsilon: the guarantee that the model is said to have; a bound from the attacks is then put below it, for which
        each record must have been a member by a fair coin.

    Returns:
      A Report of one target, intervals over its records: one model is one draw, and they do not say how much another
      training would differ.

    Raises:
      ClaimRefuted: the bound exceeds `epsilon`.
      ValueError: wrong shapes or values, or fewer than two members or non-members.
    """
    logits = inputs.as_logits("logits", logits)
    checks.shape("logits", logits, (None, None))
    y = inputs.check_labels(y, *logits.shape)
    member = inputs.check_member(member, (len(logits),))
    count = 0 if shadows is None else len(shadows.logits)
    chosen = inputs.choose_attacks(attacks, max(count - 1, 0))
    row, curves, scores = {}, {}, {}
    blind = _blind(x, y, member, shadows)
    for attack in chosen:
        signal = SIGNALS[attack.signal]
        target = signal(logits, y)
        if shadows is None:
            found = attack(Signals(np.zeros((0, len(y))), np.zeros((0, len(y)), bool), target))
            threshold = thresholds.split_half(attack, found, member, y)
        else:
            values, p = signal(shadows.logits, shadows.y), shadows.pool
            found = attack(Signals(values[:, shadows.rows], shadows.member[:, shadows.rows], target))
            threshold = thresholds.on_shadows(attack, values[:, :p], shadows.member[:, :p], shadows.y[:p], y)
        scores[attack.name] = found
        row[attack.name] = figures.target_figures(found, member, threshold)
        curves[attack.name] = figures.roc_curves([found], member[None])
    return Report(
        rows=row,
        targets=(row,),
        curves=curves,
        histogram=figures.confidence_histogram(SIGNALS["confidence"](logits, y)[None], member[None]),
        accuracy=figures.model_accuracies(SIGNALS["correct"](logits, y)[None], member[None]),
        members=(int(member.sum()),),
        nonmembers=(int((~member).sum()),),
        threshold=(
            f"best balanced accuracy on {count} shadow models, each a fake target"
            if count
            else "no shadow models: fitted on one half of the records, judged on the other, halves swapped"
        ),
        warnings=(*blind.warnings, *figures.resolution_warnings(member[None])),
        baselines=blind.found,
        claim=epsilon and hold_against(epsilon, judge(scores), [scores[judge(scores)]], member[None]),
    )


def _blind(x: Array | None, y: np.ndarray, member: np.ndarray, shadows: Shadows | None) -> Baselines:
    if shadows is None:
        return baselines(x, y, member)
    loss = SIGNALS["loss"](shadows.logits[:, shadows.rows], y)
    return baselines(x, y, member, loss, shadows.member[:, shadows.rows])
