"""Losses of one output, several labels, numbers and sequences, each against scikit-learn, SciPy or a plain loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as oracle
from scipy.special import expit, log_softmax

from gecko_jax import losses
from gecko_jax.types import Batch

RNG = np.random.default_rng(0)
N = 40


def every(function, outputs, y):
    """function(outputs, example) of each row, float64 [n, ...]."""
    batch = Batch(jnp.zeros((len(outputs), 1)), jnp.asarray(y), jnp.ones(len(outputs)))
    return np.asarray(jax.jit(jax.vmap(function))(jnp.asarray(outputs), batch), np.float64)


def figure(metric, outputs, y):
    return metric.summary(every(metric.apply, outputs, y).mean(0))


@pytest.mark.parametrize("k", [1, 3])
def test_binary_cross_entropy_and_its_accuracy(k):
    outputs = 3 * RNG.normal(size=(N, k)).astype(np.float32)
    y = RNG.integers(0, 2, (N, k))
    values = every(losses.binary_cross_entropy().apply, outputs, y)
    expected = [oracle.log_loss(row, expit(o.astype(float)), labels=[0, 1]) for o, row in zip(outputs, y, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    right = np.mean([oracle.accuracy_score(y[:, j], outputs[:, j] > 0) for j in range(k)])
    assert figure(losses.binary_cross_entropy().metric, outputs, y) == pytest.approx(right, abs=1e-6)
    if k == 1:
        np.testing.assert_array_equal(every(losses.binary_cross_entropy().apply, outputs, y[:, 0]), values)


def test_binary_cross_entropy_is_finite_at_any_output():
    outputs = np.array([[1e4], [-1e4], [1e4], [-1e4]], np.float32)
    values = every(losses.binary_cross_entropy().apply, outputs, np.array([1, 0, 0, 1]))
    np.testing.assert_allclose(values, [0, 0, 1e4, 1e4])


@pytest.mark.parametrize("k", [1, 3])
def test_metrics_of_numbers_are_scikit_learns(k):
    y = 5 + 3 * RNG.normal(size=(N, k)).astype(np.float32)
    outputs = y + RNG.normal(size=(N, k)).astype(np.float32) * np.arange(1, k + 1, dtype=np.float32)
    assert figure(losses.rmse(), outputs, y) == pytest.approx(oracle.root_mean_squared_error(y, outputs), rel=1e-5)
    assert figure(losses.r2(), outputs, y) == pytest.approx(oracle.r2_score(y, outputs), rel=1e-4)
    expected = ((outputs.astype(np.float64) - y) ** 2).sum(1) / 2
    np.testing.assert_allclose(every(losses.squared_error().apply, outputs, y), expected, rtol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 10.0, 200.0, 2_000.0, 1e5])
def test_r2_is_right_to_two_digits_or_not_a_number(mean):
    """Means of y and y^2 cancel in float32 if y lies far from 0, such as years or prices."""
    rng = np.random.default_rng(0)
    y = (mean + rng.normal(size=400)).astype(np.float32)
    outputs = (y + 0.5 * rng.normal(size=400)).astype(np.float32)[:, None]
    r2 = figure(losses.r2(), outputs, y)
    assert np.isnan(r2) == (mean > 300)
    assert np.isnan(r2) or r2 == pytest.approx(oracle.r2_score(y.astype(float), outputs.astype(float)), abs=0.01)


def test_r2_of_a_constant_target_is_not_a_number():
    assert np.isnan(figure(losses.r2(), np.ones((3, 1), np.float32), np.zeros(3, np.float32)))


def test_accuracy_of_classes_is_scikit_learns():
    outputs, y = RNG.normal(size=(N, 4)).astype(np.float32), RNG.integers(0, 4, N)
    assert figure(losses.accuracy(), outputs, y) == pytest.approx(oracle.accuracy_score(y, outputs.argmax(1)))


T, WORDS = 6, 5
LOGITS = 2 * RNG.normal(size=(N, T, WORDS)).astype(np.float32)
TOKENS = RNG.integers(0, WORDS, (N, T)).astype(np.int32)
LENGTHS = RNG.integers(1, T + 1, N)
REAL = np.arange(T)[None] < LENGTHS[:, None]


def test_a_sequence_is_the_mean_over_its_real_steps():
    each = -np.take_along_axis(log_softmax(LOGITS.astype(np.float64), -1), TOKENS[..., None], -1)[..., 0]
    np.testing.assert_allclose(every(losses.sequence_cross_entropy().apply, LOGITS, TOKENS), each.mean(1), rtol=1e-5)
    padded = losses.sequence_cross_entropy(padding=-1)
    values = every(padded.apply, LOGITS, np.where(REAL, TOKENS, -1))
    np.testing.assert_allclose(values, [row[:n].mean() for row, n in zip(each, LENGTHS, strict=True)], rtol=1e-5)
    right = oracle.accuracy_score(TOKENS[REAL], LOGITS.argmax(-1)[REAL])
    assert figure(padded.metric, LOGITS, np.where(REAL, TOKENS, -1)) == pytest.approx(right, rel=1e-6)


def test_padding_has_no_gradient_and_no_nan():
    bad = np.where(REAL[..., None], LOGITS, np.nan)
    one = Batch(None, jnp.asarray(np.where(REAL, TOKENS, -1)[0]), 1.0)
    slope = jax.grad(losses.sequence_cross_entropy(padding=-1).apply)(jnp.asarray(LOGITS[0]), one)
    assert not np.asarray(slope)[~REAL[0]].any() and np.asarray(slope)[REAL[0]].all()
    assert np.isfinite(every(losses.sequence_cross_entropy(padding=-1).apply, bad, np.where(REAL, TOKENS, -1))).all()
    empty = losses.sequence_cross_entropy(padding=-1).apply(jnp.asarray(LOGITS[0]), one._replace(y=-jnp.ones(T, int)))
    assert empty == 0


def test_a_token_outside_the_vocabulary_is_not_silent():
    for token in (-1, WORDS):
        value = losses.sequence_cross_entropy().apply(jnp.zeros((2, WORDS)), Batch(None, jnp.array([0, token]), 1.0))
        assert np.isnan(value)


SEQUENCE = losses.sequence_cross_entropy()
SHAPES = {
    "one axis": (SEQUENCE, (5,), jnp.zeros(5, int), r"outputs \(steps, vocabulary\).*shape \(5,\)"),
    "other steps": (SEQUENCE, (4, 5), jnp.zeros(3, int), r"reads 4 class numbers.*shape \(3,\)"),
    "real tokens": (SEQUENCE, (4, 5), jnp.zeros(4), "y has dtype float32"),
    "more outputs": (losses.squared_error(), (3,), jnp.zeros(2), r"returns \(3,\) outputs .* y has shape \(2,\)"),
    "one of several": (losses.squared_error(), (3,), jnp.zeros(()), r"y has shape \(\)"),
    "more labels": (losses.binary_cross_entropy(), (1,), jnp.zeros(3), r"returns \(1,\) outputs .* y has shape \(3,\)"),
    "a dictionary": (losses.squared_error(), (1,), {"a": jnp.zeros(())}, "labels y that are one array; y is a dict"),
    "no axis": (losses.binary_cross_entropy(), (), jnp.zeros(()), r"outputs\[:, None\]"),
    "real classes": (losses.cross_entropy(), (3,), jnp.zeros(()), r"y has dtype float32.*losses.squared_error\(\)"),
}


@pytest.mark.parametrize("loss, outputs, y, says", SHAPES.values(), ids=SHAPES)
def test_outputs_that_do_not_fit_the_labels_are_refused(loss, outputs, y, says):
    with pytest.raises(ValueError, match=says):
        loss.apply(jnp.zeros(outputs), Batch(None, y, 1.0))
    with pytest.raises(ValueError, match=says):
        jax.eval_shape(loss.apply, jax.ShapeDtypeStruct(outputs, np.float32), Batch(None, y, 1.0))


VALUES = {
    "labels of -1": (losses.binary_cross_entropy(), (1,), np.array([1, -1, 1]), "1 labels that are not 0 or 1.*-1 at"),
    "NaN": (losses.squared_error(), (1,), np.array([0, np.nan]), "data.y holds 1 entry that is NaN"),
    "a token too many": (SEQUENCE, (2, 5), np.array([[0, 5]]), "tokens 0 to 5; .* 0 to 4"),
    "unnamed padding": (SEQUENCE, (2, 5), np.array([[0, -1]]), "tokens -1 to 0.*padding=-1"),
    "padding alone": (losses.sequence_cross_entropy(0), (2, 5), np.array([[1, 0], [0, 0]]), r"data.y\[1\] holds"),
}  # fmt: skip


@pytest.mark.parametrize("loss, outputs, y, says", VALUES.values(), ids=VALUES)
def test_labels_that_the_outputs_cannot_express_are_refused(loss, outputs, y, says):
    with pytest.raises(ValueError, match=says):
        loss.check(jax.ShapeDtypeStruct(outputs, np.float32), Batch(None, y, None))


def test_padding_is_named_once():
    with pytest.raises(ValueError, match="padding=0 and mask='mask'"):
        losses.sequence_cross_entropy(padding=0, mask="mask")


def test_equal_losses_are_one_object():
    for name, build in losses.LOSSES.items():
        assert build() is build() and build().name == name and build().metric is not None
    assert losses.squared_error(losses.r2()).metric.name == "r2"


@pytest.mark.parametrize("name", ["symmetric_cross_entropy", "kullback_leibler", "hard_labels"])
def test_distilling_a_sequence_is_the_mean_over_its_steps(name):
    loss, teacher = losses.CLASS_LOSSES[name](), jnp.asarray(LOGITS[::-1])

    def one(logits, tokens, taught):
        return loss.apply(logits, Batch(None, tokens, 1.0, {"teacher": taught}))

    of_sequences = jax.vmap(one)(jnp.asarray(LOGITS), jnp.asarray(TOKENS), teacher)
    steps = jax.vmap(jax.vmap(one))(jnp.asarray(LOGITS), jnp.asarray(TOKENS), teacher)
    np.testing.assert_allclose(of_sequences, steps.mean(1), rtol=1e-5)


def test_a_mask_is_read_from_extra():
    loss, named = losses.sequence_cross_entropy(mask="mask"), losses.sequence_cross_entropy(padding=-1)
    one = Batch(None, jnp.asarray(TOKENS[0]), 1.0, {"mask": jnp.asarray(REAL[0])})
    padded = one._replace(y=jnp.asarray(np.where(REAL[0], TOKENS[0], -1)))
    assert loss.reads == ("mask",) and loss.apply(LOGITS[0], one) == named.apply(LOGITS[0], padded)
    with pytest.raises(ValueError, match=r"reads example.extra\['mask'\]; example.extra has \[\]"):
        loss.apply(LOGITS[0], one._replace(extra=None))
    with pytest.raises(ValueError, match=r"extra\['mask'\] has shape \(5,\) for one example; expected \(6,\)"):
        loss.apply(LOGITS[0], one._replace(extra={"mask": jnp.ones(5)}))
    shapes = jax.ShapeDtypeStruct((T, WORDS), np.float32)
    loss.check(shapes, Batch(None, TOKENS, None, {"mask": np.stack([REAL, np.ones_like(REAL)])}))  # one a model
    for bad, says in ((0.5, "holds 0.5 at index"), (0, r"data.y\[0\] holds padding alone")):
        with pytest.raises(ValueError, match=says):
            loss.check(shapes, Batch(None, TOKENS, None, {"mask": bad * REAL}))
