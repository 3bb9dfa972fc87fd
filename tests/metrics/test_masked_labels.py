"""Temperatures of masked logits: a class that is ruled out changes nothing, a label that is ruled out is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from gecko_jax import metrics


def private(logits, labels, steps=300, noise_multiplier=0.0):
    return metrics.fit_temperature_privately(logits, labels, 1e3, noise_multiplier, steps, 3.0, 0).temperature


FITS = (metrics.fit_temperature, private)
MASKS = (-np.inf, -1e4, -65504.0, -1e9, -1e30, np.finfo(np.float32).min)


def drawn(seed, n=300, classes=6):
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(n, classes))
    allowed = rng.random((n, classes)) < 0.6
    allowed[np.arange(n), rng.integers(0, classes, n)] = True
    probs = special.softmax(np.where(allowed, logits / 2, -np.inf), -1)
    labels = (probs.cumsum(-1) < rng.random(n)[:, None]).sum(-1).clip(0, classes - 1)
    allowed[np.arange(n), labels] = True
    return logits, labels, allowed


def best(logits, labels, allowed):
    """Minimises the likelihood over the allowed classes alone, knowing nothing of masks or convexity."""

    def nll(log_temperature):
        scaled = np.where(allowed, logits / np.exp(log_temperature), -np.inf)
        return -special.log_softmax(scaled, -1)[np.arange(len(labels)), labels].mean()

    return np.exp(optimize.minimize_scalar(nll, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}).x)


@given(st.integers(0, 2**31), st.sampled_from(MASKS))
@settings(derandomize=True, deadline=None, max_examples=12)
def test_a_class_that_is_ruled_out_changes_nothing(seed, mask):
    logits, labels, allowed = drawn(seed)
    masked = np.where(allowed, logits, mask)
    assert metrics.fit_temperature(masked, labels) == pytest.approx(best(logits, labels, allowed), rel=1e-4)
    assert private(masked, labels) == pytest.approx(best(logits, labels, allowed), rel=1e-3)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("mask", MASKS)
def test_a_label_that_is_ruled_out_is_refused_with_its_row(fit, mask):
    logits, labels, allowed = drawn(1)
    masked = np.where(allowed, logits, mask)
    masked[[7, 9], labels[[7, 9]]] = mask
    masked[[7, 9], (labels[[7, 9]] + 1) % 6] = 0.0
    told = rf"logits give 2 labels probability 0, the first in row 7: class {labels[7]} is masked"
    with pytest.raises(ValueError, match=told):
        fit(masked, labels)


@pytest.mark.parametrize("fit", FITS)
def test_a_row_without_a_class_is_refused(fit):
    with pytest.raises(ValueError, match=r"logits\[1\] is -inf throughout"):
        fit([[0.0, 1.0], [-np.inf, -np.inf]], [0, 1])
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="logits holds 1 entry that is NaN or infinite"):
            fit([[0.0, bad], [-np.inf, 0.0]], [0, 1])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3, 1e6])
def test_logits_that_are_large_throughout_are_not_masked(scale):
    """A wrong label 1e7 below the largest has probability 0 in float64, too; divided by T it has not."""
    logits, labels, _ = drawn(2)
    labels[:5] = logits[:5].argmin(-1)
    everything = np.ones(logits.shape, bool)
    actual = metrics.fit_temperature(scale * logits, labels)
    assert actual == pytest.approx(scale * best(logits, labels, everything), rel=1e-4)
