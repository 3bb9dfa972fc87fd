"""A rate is what it is written as: float32(0.01) means 1 of 100, as 0.01 does."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import metrics


def curve(nonmembers):
    """Scores of as many members as non-members, whose k-th alarm brings the k-th hit."""
    member = np.repeat([True, False], nonmembers)
    scores = np.tile(np.arange(nonmembers, 0, -1.0), 2)
    return scores, member


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, float, jnp.float32])
@pytest.mark.parametrize(("alarms", "of"), [(1, 100), (1, 1000), (3, 10), (7, 100), (29, 100), (3, 1000), (1, 3)])
def test_a_rate_in_any_width_is_the_same(kind, alarms, of):
    scores, member = curve(of)
    rate = alarms / of
    wanted = np.mean(scores[member] >= np.sort(scores[~member])[::-1][alarms - 1])  # alarms and no more
    assert wanted == pytest.approx(rate)
    if (kind, of) == (np.float16, 3):
        rate = 0.3334  # of a third, float16 keeps four digits
    assert metrics.tpr_at_fpr(scores, member, kind(rate)) == pytest.approx(wanted)
    actual = metrics.tpr_interval_at_fpr(scores, member, kind(rate))
    assert actual.value == pytest.approx(wanted)
    value = metrics.predictive_value_interval_at_fpr(scores, member, kind(rate), 0.5)
    assert value == metrics.predictive_value_interval_at_fpr(scores, member, alarms / of, 0.5)


@pytest.mark.parametrize("rate", [1 - 0.9, 0.3 - 0.2, 1 - 0.99])
def test_a_rate_that_arithmetic_left_a_step_below_counts(rate):
    of = round(1 / rate)
    scores, member = curve(of)
    assert rate != 1 / of and metrics.tpr_at_fpr(scores, member, rate) == pytest.approx(1 / of)


def test_a_rate_that_is_truly_below_does_not():
    scores, member = curve(100)
    for rate in (0.00999, np.float32(0.009999), np.float16(0.00999), 0.0):
        assert metrics.tpr_at_fpr(scores, member, rate) == 0
    with pytest.raises(ValueError, match="fpr=1.5"):
        metrics.tpr_at_fpr(scores, member, np.float32(1.5))
