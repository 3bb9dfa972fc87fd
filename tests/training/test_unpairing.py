"""Similarity-unpairing: its objective by hand for linear models, and what it does to the directions."""

import jax
import numpy as np
import pytest
from naive_training import starts_of
from scipy.special import log_softmax, softmax

from gecko_jax import models, training
from gecko_jax.training.distillations.mixacm import channel_map
from gecko_jax.training.unpairing import similarity
from gecko_jax.trees import take
from gecko_jax.types import Examples

LINEAR = models.create("mlp", 4, hidden=())
RNG = np.random.default_rng(0)
DATA = Examples(RNG.normal(size=(12, 6)).astype(np.float32), RNG.integers(0, 4, 12).astype(np.int32))


def slopes(params, x, y):
    """Input gradients of a linear classifier in float64."""
    w, b = (np.asarray(params["logits"][name], np.float64) for name in ("kernel", "bias"))
    return (softmax(x @ w + b, axis=1) - np.eye(4)[y]) @ w.T, log_softmax(x @ w + b, axis=1)


def test_the_objective_of_each_model_and_its_own_sibling_by_hand():
    member, starts = RNG.random((2, 12)) < 0.6, starts_of(LINEAR, DATA.x, 4)
    small, large = (take(starts, slice(*ends)) for ends in ((0, 2), (2, 4)))
    options = dict(weight=3.0, init=small, epochs=20, batch_size=16, optimizer=training.optimizer("momentum", 0.02))
    fitted = training.unpair(LINEAR, DATA, member, training.Teacher(LINEAR, large, per_model=True), **options)
    alike = np.zeros((2, 2))
    for i, rows in enumerate(member):
        x, y = DATA.x[rows].astype(np.float64), DATA.y[rows]
        theirs, _ = slopes(take(large, i)["params"], x, y)
        for j, variables in enumerate((take(small, i), take(fitted.variables, i))):
            ours, logs = slopes(variables["params"], x, y)
            cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
            alike[i, j] = (cosine**2).mean()
            if j == 0:
                np.testing.assert_allclose(
                    fitted.loss[0, i], -logs[np.arange(len(y)), y].mean() + 3 * alike[i, 0], rtol=1e-4
                )
    assert (alike[:, 1] < alike[:, 0]).all(), "the term is descended"


@pytest.mark.parametrize("scale", [1.0, 1e-20, 0.0])
def test_similarity_is_a_squared_cosine_at_any_length(scale):
    a, b = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    value, slope = jax.value_and_grad(lambda a: similarity(a, b).sum())(np.float32(scale) * a)
    np.testing.assert_allclose(value, (cosine**2).sum() if scale else 0, rtol=1e-4)
    assert np.isfinite(slope).all()


def test_what_has_vanished_has_no_direction_in_half_precision():
    zeros, ones = np.zeros((2, 3), np.float16), np.ones((2, 3), np.float16)
    value, slope = jax.value_and_grad(lambda a: similarity(a, ones).sum())(zeros)
    assert value == 0 and np.isfinite(slope).all()
    assert not np.any(channel_map(zeros[:, None])) and np.allclose(channel_map(ones[:, None]), 3**-0.5)


def test_what_cannot_be_unpaired_is_refused():
    sibling = training.Teacher(LINEAR, take(starts_of(LINEAR, DATA.x, 1), 0))
    with pytest.raises(ValueError, match="weight=0"):
        training.unpair(LINEAR, DATA, np.ones((1, 12), bool), sibling, weight=0)
    with pytest.raises(ValueError, match="gradients is set by 'unpair' itself"):
        training.unpair(LINEAR, DATA, np.ones((1, 12), bool), sibling, gradients=True)


def test_a_sibling_that_is_not_a_teacher_is_refused():
    with pytest.raises(ValueError, match="sibling is of type ndarray; expected training.Teacher"):
        training.unpair(LINEAR, DATA, np.ones((1, 12), bool), np.zeros((12, 4)))
