"""What every listed loss promises, and each against SciPy or a closed form."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from gecko_jax import losses
from gecko_jax.losses import CLASS_LOSSES
from gecko_jax.types import Batch, Loss

EVERY = pytest.mark.parametrize("name", sorted(CLASS_LOSSES))
RNG = np.random.default_rng(0)
N, CLASSES = 6, 5
LOGITS, TEACHER = (3 * RNG.normal(size=(N, CLASSES)).astype(np.float32) for _ in range(2))
Y = RNG.integers(0, CLASSES, N).astype(np.int32)


def batch(teacher=TEACHER):
    return Batch(jnp.zeros((N, 1)), jnp.asarray(Y), jnp.ones(N), {"teacher": jnp.asarray(teacher)})


def every_example(loss, logits=LOGITS, teacher=TEACHER):
    return np.asarray(jax.jit(jax.vmap(loss.apply))(jnp.asarray(logits), batch(teacher)))


@EVERY
def test_it_carries_its_name_and_is_made_once(name):
    loss = CLASS_LOSSES[name]()
    assert isinstance(loss, Loss) and loss.name == name
    assert CLASS_LOSSES[name]() is loss  # equal losses share a compiled program


@EVERY
def test_one_scalar_an_example_and_no_nan(name):
    loss = CLASS_LOSSES[name]()
    values = every_example(loss)
    assert values.shape == (N,) and np.isfinite(values).all() and (values >= 0).all()
    one = loss.apply(jnp.asarray(LOGITS[0]), jax.tree.map(lambda leaf: leaf[0], batch()))
    assert float(one) == pytest.approx(values[0], rel=1e-5)
    assert np.isfinite(every_example(loss, LOGITS * 100, TEACHER * -100)).all()  # posteriors of 0 and 1


@EVERY
def test_the_gradient_reaches_the_student_and_never_the_teacher(name):
    loss = CLASS_LOSSES[name]()

    def total(logits, teacher):
        return jax.vmap(loss.apply)(logits, batch(teacher)).sum()

    student, teacher = jax.jit(jax.grad(total, argnums=(0, 1)))(jnp.asarray(LOGITS), jnp.asarray(TEACHER))
    assert np.isfinite(student).all() and (np.abs(student).sum(-1) > 0).all()
    assert not np.asarray(teacher).any()


@EVERY
def test_a_constant_added_to_all_logits_changes_nothing(name):
    loss = CLASS_LOSSES[name]()
    np.testing.assert_allclose(every_example(loss, LOGITS + 7, TEACHER - 3), every_example(loss), rtol=1e-4, atol=1e-5)


@EVERY
def test_the_teacher_is_needed_where_the_loss_says_so(name):
    loss = CLASS_LOSSES[name]()
    example = Batch(None, jnp.int32(1), 1.0, None)
    if "teacher" not in loss.reads:
        assert np.isfinite(loss.apply(jnp.zeros(3), example))
        return
    with pytest.raises(ValueError, match="example.extra is None; this loss reads a teacher's logits"):
        loss.apply(jnp.zeros(3), example)
    with pytest.raises(ValueError, match=r"example.extra\['teacher'\] has shape \(4,\); expected \(3\)"):
        loss.apply(jnp.zeros(3), example._replace(extra={"teacher": jnp.zeros(4)}))


def test_cross_entropy():
    expected = -log_softmax(LOGITS.astype(np.float64), axis=-1)[np.arange(N), Y]
    np.testing.assert_allclose(every_example(losses.cross_entropy()), expected, rtol=1e-5)


def test_cross_entropy_slope_is_posterior_minus_label():
    slopes = jax.vmap(jax.grad(losses.cross_entropy().apply))(jnp.asarray(LOGITS), batch())
    np.testing.assert_allclose(slopes, softmax(LOGITS, axis=-1) - np.eye(CLASSES)[Y], rtol=1e-4, atol=1e-6)


def test_a_label_past_the_last_class_is_not_silent():
    example = Batch(None, jnp.int32(CLASSES), 1.0)
    assert np.isnan(losses.cross_entropy().apply(jnp.asarray(LOGITS[0]), example))


def test_symmetric_cross_entropy():
    s, t = softmax(LOGITS.astype(np.float64), axis=-1), softmax(TEACHER.astype(np.float64), axis=-1)
    expected = -(t * np.log(s)).sum(-1) - (s * np.log(t)).sum(-1)
    np.testing.assert_allclose(every_example(losses.symmetric_cross_entropy()), expected, rtol=1e-4)
    swapped = every_example(losses.symmetric_cross_entropy(), TEACHER, LOGITS)
    np.testing.assert_allclose(swapped, expected, rtol=1e-4)


@pytest.mark.parametrize("temperature, weight", [(1.0, 1.0), (4.0, 0.9), (10.0, 0.1), (2.0, 0.0)])
def test_kullback_leibler(temperature, weight):
    student = softmax(LOGITS.astype(np.float64) / temperature, axis=-1)
    teacher = softmax(TEACHER.astype(np.float64) / temperature, axis=-1)
    label = -log_softmax(LOGITS.astype(np.float64), axis=-1)[np.arange(N), Y]
    expected = weight * temperature**2 * rel_entr(teacher, student).sum(-1) + (1 - weight) * label
    values = every_example(losses.kullback_leibler(temperature, weight))
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_kullback_leibler_of_equals_is_zero_and_flat():
    loss = losses.kullback_leibler(3.0, 1.0)
    np.testing.assert_allclose(every_example(loss, TEACHER, TEACHER), 0, atol=1e-5)
    slopes = jax.vmap(jax.grad(loss.apply))(jnp.asarray(TEACHER), batch())
    np.testing.assert_allclose(slopes, 0, atol=1e-5)


def test_kullback_leibler_scale_keeps_the_slope_at_high_temperature():
    """T^2 makes the slope, at large T, that of the squared distance of centered logits over the classes (Hinton)."""
    slopes = jax.vmap(jax.grad(losses.kullback_leibler(1000.0, 1.0).apply))(jnp.asarray(LOGITS), batch())
    centered = [z - z.mean(-1, keepdims=True) for z in (LOGITS, TEACHER)]
    np.testing.assert_allclose(slopes, (centered[0] - centered[1]) / CLASSES, rtol=0.02, atol=5e-3)


def test_hard_labels_are_cross_entropy_at_the_arg_max():
    relabeled = batch()._replace(y=jnp.asarray(TEACHER.argmax(-1)))
    expected = jax.vmap(losses.cross_entropy().apply)(jnp.asarray(LOGITS), relabeled)
    np.testing.assert_allclose(every_example(losses.hard_labels()), expected, rtol=1e-6)


def test_equal_settings_are_one_loss_however_they_are_written():
    default = losses.kullback_leibler()
    assert default is losses.kullback_leibler(4.0, 0.9) is losses.kullback_leibler(weight=0.9, temperature=4)
    assert default is not losses.kullback_leibler(5.0)


@pytest.mark.parametrize(
    "settings, said",
    [
        (dict(temperature=0), "temperature=0 must be"),
        (dict(temperature=math.nan), "temperature=nan"),
        (dict(weight=1.1), "weight=1.1 must lie between 0 and 1"),
    ],
)
def test_bad_settings_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        losses.kullback_leibler(**settings)
