"""Two audits of the same targets, against scipy's paired t interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gecko_jax import attacks, audit

RNG = np.random.default_rng(0)
MEMBER, Y = RNG.random((4, 150)) < 0.5, RNG.integers(0, 3, 150)
NOISE = RNG.normal(size=(4, 150, 3))
CHOSEN = [attacks.loss(), attacks.gap()]


def audited(leak, member=MEMBER, chosen=CHOSEN):
    return audit.audit_models(NOISE + (leak * member)[..., None] * np.eye(3)[Y], Y, member, chosen)


def test_a_difference_is_that_of_each_target():
    ours, theirs = audited(0.5), audited(1.5)
    actual = audit.differences(ours, theirs)
    assert set(actual) == {"loss", "gap"} and "smallest_fpr" not in actual["loss"]
    for metric in ("auc", "tpr_at_1pct", "attack_accuracy"):
        mine, other = ([target["loss"][metric].value for target in one.targets] for one in (ours, theirs))
        low, high = stats.ttest_rel(mine, other).confidence_interval(0.95)
        assert actual["loss"][metric].value == pytest.approx(np.mean(mine) - np.mean(other))
        assert (actual["loss"][metric].low, actual["loss"][metric].high) == pytest.approx((low, high))
    assert actual["loss"]["auc"].high < 0


def test_what_cannot_be_compared_is_refused():
    other = np.random.default_rng(1).random((4, 150)) < 0.5
    one = audit.audit_model(NOISE[0], Y, MEMBER[0], CHOSEN)
    for ours, theirs, said in (
        (audited(1.0), audited(1.0, other), "only audits of the same targets"),
        (audited(1.0), audited(1.0, np.roll(MEMBER, 1, 1)), "different members or labels"),  # as many of each
        (one, one, "one target has no spread"),
        (audited(1.0, chosen=CHOSEN[:1]), audited(1.0, chosen=CHOSEN[1:]), "no attack in common"),
    ):
        with pytest.raises(ValueError, match=said):
            audit.differences(ours, theirs)
