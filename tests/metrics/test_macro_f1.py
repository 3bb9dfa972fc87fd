"""Macro-F1 against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from gecko_jax import metrics

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("classes, shares", [(3, [0.8, 0.15, 0.05]), (2, [0.5, 0.5]), (5, [0.6, 0.4, 0, 0, 0])])
def test_macro_f1_is_scikit_learns(classes, shares):
    y = RNG.choice(classes, 60, p=shares)
    logits = RNG.normal(size=(4, 60, classes)) + 2 * np.eye(classes)[y]
    logits[0, :, -1] -= 9  # a class that this model never predicts
    expected = [f1_score(y, each.argmax(-1), average="macro") for each in logits]
    np.testing.assert_allclose(metrics.macro_f1(logits, y), expected, rtol=1e-12)
    assert metrics.macro_f1(logits[1], y) == pytest.approx(expected[1])


def test_a_majority_s_accuracy_does_not_hide_a_lost_class():
    y = np.repeat([0, 1], [95, 5])
    logits = np.tile([1.0, 0.0], (100, 1))
    assert metrics.accuracy(logits, y) == 0.95
    assert metrics.macro_f1(logits, y) == pytest.approx(0.95 / 1.95)


@pytest.mark.parametrize(
    "logits, y, message",
    [
        (np.zeros((2, 3)), [0, 3], r"y.max\(\)=3 must lie between 0 and 2"),
        (np.zeros((2, 3)), [0, -1], r"y.min\(\)=-1 must lie between 0 and 2"),
        (np.zeros((2, 3)), [0.0, 1.0], "y has dtype float64; expected integers"),
        (np.full((2, 3), np.nan), [0, 1], "logits holds NaN"),
        (np.zeros((2, 3)), [0], r"y has shape \(1,\)"),
        (np.zeros((0, 3)), [], "y is empty"),
    ],
)
def test_bad_arguments_are_named(logits, y, message):
    with pytest.raises(ValueError, match=message):
        metrics.macro_f1(logits, np.asarray(y))
