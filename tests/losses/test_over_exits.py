"""The joint loss over exits, against a sum by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from gecko_jax import losses
from gecko_jax.types import Batch

LOGITS = np.random.default_rng(0).normal(size=(3, 4))
EXAMPLE = Batch(None, jnp.int32(2), None, {"teacher": jnp.asarray(LOGITS[0])})
CROSS_ENTROPIES = -special.log_softmax(LOGITS, -1)[:, 2]


@pytest.mark.parametrize("weights", [None, (0.15, 0.3, 1.0)])
def test_it_is_the_weighted_sum(weights):
    value = losses.over_exits(weights=weights).apply({"exits": jnp.asarray(LOGITS)}, EXAMPLE)
    np.testing.assert_allclose(value, np.dot(weights or (1 / 3,) * 3, CROSS_ENTROPIES), rtol=1e-5)


def test_a_teacher_teaches_every_exit_and_the_metric_is_the_last_exit_s():
    loss = losses.over_exits(losses.kullback_leibler(1.0, 1.0))
    assert loss.reads == ("teacher",) and loss is losses.over_exits(losses.kullback_leibler(1.0, 1.0))
    log_p = special.log_softmax(LOGITS, -1)
    expected = (np.exp(log_p[:1]) * (log_p[:1] - log_p)).sum(-1).mean()
    outputs = {"exits": jnp.asarray(LOGITS)}
    np.testing.assert_allclose(loss.apply(outputs, EXAMPLE), expected, rtol=1e-4)
    assert float(loss.metric.apply(outputs, EXAMPLE)) == (LOGITS[-1].argmax() == 2)


@pytest.mark.parametrize(
    ("outputs", "weights", "words"),
    [
        (jnp.zeros((3, 4)), None, "losses.over_exits reads outputs"),
        ({"exits": jnp.zeros(4)}, None, "exits, classes"),
        ({"exits": jnp.zeros((3, 4))}, (1.0, 1.0), "weights has 2 numbers, and the model has 3 exits"),
    ],
)
def test_other_outputs_are_refused(outputs, weights, words):
    with pytest.raises(ValueError, match=words):
        losses.over_exits(weights=weights).apply(outputs, EXAMPLE)


@pytest.mark.parametrize("weights", [1.0, np.float32(1), "1", [[1.0, 1.0]], (1.0, None), (1.0, float("nan"))])
def test_weights_are_a_sequence_of_numbers(weights):
    with pytest.raises(ValueError, match="weights=.*one weight for each exit"):
        losses.over_exits(weights=weights)
