"""The tail of the losses against counting, and as an audit reports it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gecko_jax import audit, metrics


def by_counting(loss, member, fnr):
    """Of all thresholds with at most `fnr` of the members above, the largest share of non-members above."""
    shares = [np.mean(loss[~member] > t) for t in (-np.inf, *loss) if np.mean(loss[member] > t) <= fnr + 1e-12]
    return max(shares)


@pytest.mark.parametrize("fnr", [0.0, 0.01, 0.1])
def test_it_is_the_rate_of_true_negatives(fnr):
    rng = np.random.default_rng(0)
    loss, member = np.round(rng.gamma(1.0, size=400), 2), rng.random(400) < 0.5  # with ties
    loss[~member] *= 2
    tail = metrics.loss_tail(loss, member, fnr)
    wanted = by_counting(loss, member, fnr)
    assert tail.value == pytest.approx(wanted) and tail.n == (~member).sum()
    test = stats.binomtest(round(wanted * tail.n), tail.n).proportion_ci(0.95)
    assert (tail.low, tail.high) == pytest.approx((test.low, test.high))


def test_an_audit_reports_the_mean_over_targets():
    rng = np.random.default_rng(1)
    losses, member = rng.gamma(1.0, size=(4, 500)), rng.random((4, 500)) < 0.5
    losses[member] *= 0.2
    report = audit.from_signals({"loss": losses}, member, attacks=["loss"])
    for name, fnr in (("tnr_at_1pct_fnr", 0.01), ("tnr_at_0p1pct_fnr", 0.001)):
        each = [by_counting(*pair, fnr) for pair in zip(losses, member, strict=True)]
        assert report.loss_tail[name].value == pytest.approx(np.mean(each)) and report.loss_tail[name].n == 4
    value = 100 * report.loss_tail["tnr_at_1pct_fnr"].value
    assert f"Loss tail: {value:.1f} [" in report.table()
    one = audit.from_signals({"loss": losses[0]}, member[0], attacks=["loss"])
    assert one.loss_tail["tnr_at_1pct_fnr"] == metrics.loss_tail(losses[0], member[0])
    without = audit.from_signals({"entropy": losses}, member, attacks=["entropy"])
    assert without.loss_tail == {} and "Loss tail" not in without.table()


def test_what_it_refuses():
    with pytest.raises(ValueError, match="fnr=2"):
        metrics.loss_tail([0.0, 1.0], [True, False], fnr=2)
    with pytest.raises(ValueError, match="marks no non-member"):
        metrics.loss_tail([0.0, 1.0], [True, True])
