"""Signals against closed formulae in high precision, and at the ends of the range."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from gecko_jax import signals
from gecko_jax.signals import SIGNALS

getcontext().prec = 120
OF_CLASSES = {name: one for name, one in SIGNALS.items() if one.read and one.outputs in ("classes", "labels")}
SHAPES = {"labeled_posteriors": (12,), "top_posteriors": (3,)}  # of six classes


def exact(z, label):
    """Every signal of one record by its textbook formula, in 120 decimal digits."""
    e = [Decimal(float(v)).exp() for v in z]
    halves = [(Decimal(float(v)) / 2).exp() for v in z]
    p = [v / sum(e) for v in e]
    rest = [sum(p[:i] + p[i + 1 :]) for i in range(len(p))]
    return {
        "confidence": max(p),
        "true_confidence": p[label],
        "loss": -p[label].ln(),
        "phi": (p[label] / rest[label]).ln(),
        "entropy": -sum(v * v.ln() for v in p),
        "modified_entropy": -rest[label] * p[label].ln()
        - sum(p[i] * rest[i].ln() for i in range(len(p)) if i != label),
        "correct": Decimal(int(np.argmax(z) == label)),
        "hinge": Decimal(float(z[label])) - max(Decimal(float(v)) for i, v in enumerate(z) if i != label),
        "soft_loss": -(halves[label] / sum(halves)).ln(),
        "top_posteriors": sorted(p, reverse=True)[:3],
        "labeled_posteriors": p + [Decimal(int(i == label)) for i in range(len(p))],
    }


@given(st.lists(st.floats(-90, 90), min_size=2, max_size=5), st.integers(0, 4))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_every_signal_is_exact_relative_to_its_own_size(z, label):
    label %= len(z)
    expected = exact(z, label)
    for name, function in OF_CLASSES.items():
        value = function([z], np.array([label]))[0]
        # These two cross 0, where only an absolute error means anything; the others keep their relative precision.
        least = 1e-12 if name in ("phi", "hinge") else 0
        wanted = expected[name] if function.axes else [expected[name]]
        for one, other in zip(np.atleast_1d(value), wanted, strict=True):
            assert math.isclose(one, other, rel_tol=1e-9, abs_tol=least), name


def test_batches_of_models_equal_one_at_a_time_and_scipy():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(scale=3, size=(3, 20, 6)).astype(np.float32), rng.integers(0, 6, 20)
    p = special.softmax(logits.astype(np.float64), -1)
    for name, function in OF_CLASSES.items():
        together = function(logits, y)
        assert together.shape == (3, 20) + SHAPES.get(name, ())
        for one, alone in zip(together, logits, strict=True):
            np.testing.assert_array_equal(one, function(alone, y))
    np.testing.assert_allclose(signals.entropy(logits, y), stats.entropy(p, axis=-1))
    np.testing.assert_allclose(signals.confidence(logits, y), p.max(-1))


def test_no_signal_reads_a_shift_of_the_logits():
    rng = np.random.default_rng(1)
    logits, y = rng.normal(size=(30, 4)), rng.integers(0, 4, 30)
    for function in OF_CLASSES.values():
        np.testing.assert_allclose(function(logits + 500.0, y), function(logits, y), atol=1e-9)


def test_impossible_and_certain_labels_have_limits_and_no_nan():
    inf = np.inf
    logits = np.array([[0.0, -inf, -inf], [-inf, 0.0, -inf], [0.0, 0.0, -inf], [1e5, 0.0, 0.0]])
    limits = {name: function(logits, np.zeros(4, int)).tolist() for name, function in OF_CLASSES.items()}
    assert limits["loss"] == [0.0, inf, pytest.approx(math.log(2)), 0.0]
    assert limits["phi"] == [inf, -inf, 0.0, pytest.approx(1e5, abs=1)]
    assert limits["entropy"] == [0.0, 0.0, pytest.approx(math.log(2)), 0.0]
    assert limits["modified_entropy"] == [0.0, inf, pytest.approx(math.log(2)), 0.0]
    assert limits["true_confidence"] == [1.0, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("logits", "y", "words"),
    [
        (np.zeros((3, 1)), np.zeros(3, int), "two classes"),
        (np.zeros(3), np.zeros(3, int), "expected"),
        (np.zeros((3, 2)), np.zeros(2, int), "y has shape"),
        (np.zeros((3, 2)), np.eye(3, 2), "y has shape"),
        (np.zeros((3, 2)), np.zeros(3), "dtype"),
        (np.zeros((3, 2)), np.array([0, 1, 2]), "0..1"),
        (np.zeros((3, 2)), np.array([0, 1, -1]), "-1"),
        (np.full((3, 2), np.nan), np.zeros(3, int), "NaN"),
        (np.full((3, 2), np.inf), np.zeros(3, int), "inf"),
        (np.full((3, 2), -np.inf), np.zeros(3, int), "-inf alone"),
    ],
)
def test_bad_input_is_named(logits, y, words):
    for function in OF_CLASSES.values():
        with pytest.raises(ValueError, match=words):
            function(logits, y)


def test_the_profile_of_an_activation_is_that_of_its_numbers_in_any_order():
    rng = np.random.default_rng(5)
    sent, logits, y = rng.normal(size=(2, 4, 3, 5)), rng.normal(size=(2, 4, 3)), np.array([0, 2, 1, 1])
    values = signals.profile_of_activation(sent, logits, y)
    p = special.softmax(logits, -1)
    np.testing.assert_allclose(values[..., :3], np.sort(p, -1)[..., ::-1])
    np.testing.assert_allclose(values[..., 3], -np.log(p[:, np.arange(4), y]))
    np.testing.assert_allclose(
        values[..., 4:15], np.percentile(sent.reshape(2, 4, 15), range(0, 101, 10), -1).transpose(1, 2, 0)
    )
    np.testing.assert_allclose(values[..., 15], np.log(np.linalg.norm(sent.reshape(2, 4, 15), axis=-1)))
    np.testing.assert_allclose(signals.profile_of_activation(sent[:, :, ::-1], logits, y), values)
    for wrong, words in (
        (sent[:, :2], "expected .* records"),
        (sent * np.nan, "activations"),
        (sent[..., 0, 0], "numbers behind"),
    ):
        with pytest.raises(ValueError, match=words):
            signals.profile_of_activation(wrong, logits, y)
