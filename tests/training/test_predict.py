"""Evaluation: `predict` is `model.apply` in evaluation mode, for any number of rows."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from naive_training import start_of

from gecko_jax import models, training
from gecko_jax.trees import take
from gecko_jax.types import Examples


class Net(nn.Module):
    """Everything that differs between training and evaluation."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(6)(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))


MODEL = models.from_linen(Net())
X = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)


def by_hand(variables, x):
    params, stats = variables["params"], variables["batch_stats"]["BatchNorm_0"]
    h = x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    norm = params["BatchNorm_0"]
    h = (h - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * norm["scale"] + norm["bias"]
    return h @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]


def drawn(seed):
    variables = start_of(MODEL, X, seed)
    stats = {"mean": np.linspace(-1, 1, 6, dtype=np.float32), "var": np.linspace(1, 4, 6, dtype=np.float32)}
    return {**variables, "batch_stats": {"BatchNorm_0": stats}}


@pytest.mark.parametrize("n, batch_size", [(1, 8), (7, 8), (8, 8), (23, 8), (23, 500)])
def test_any_number_of_rows(n, batch_size):
    variables = drawn(0)
    actual = training.predict(MODEL, variables, X[:n], batch_size=batch_size)
    assert actual.shape == (n, 3) and actual.dtype == np.float32 and isinstance(actual, np.ndarray)
    np.testing.assert_allclose(actual, by_hand(variables, X[:n]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(actual, MODEL.apply(variables, X[:n])[0], rtol=1e-5, atol=1e-6)


def test_a_row_s_logits_depend_on_no_other_row():
    """BatchNorm is frozen and dropout is off: the same row among others, and twice, gives the same bits."""
    variables = drawn(0)
    outputs = training.predict(MODEL, variables, X, batch_size=8)
    np.testing.assert_array_equal(training.predict(MODEL, variables, X[::-1], batch_size=8)[::-1], outputs)
    np.testing.assert_array_equal(training.predict(MODEL, variables, X, batch_size=8), outputs)


def test_an_ensemble_is_its_models_one_by_one():
    each = [drawn(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    actual = training.predict_ensemble(MODEL, stacked, X, batch_size=8)
    assert actual.shape == (3, 23, 3)
    for i in range(3):
        np.testing.assert_array_equal(actual[i], training.predict(MODEL, take(stacked, i), X, batch_size=8))
        np.testing.assert_allclose(actual[i], by_hand(each[i], X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("x", [X[:, :3], X[:, None, :3]], ids=["features", "rank"])
def test_inputs_of_another_shape_are_named(x):
    message = r"x has shape \(\d+, .*3\), which the variables were not made for: .*kernel.* shape \(3, 6\)"
    with pytest.raises(ValueError, match=message):
        training.predict(MODEL, drawn(0), x)


@pytest.mark.parametrize("wrapped", [2**32, -(2**32), np.uint64(2**63)])
def test_integers_that_jax_would_cut_are_refused(wrapped):
    """JAX takes 2^32 + 1 for 1: another token, and nothing says so."""
    net = models.from_linen(nn.Sequential([nn.Embed(16, 4), lambda x: x.mean(1), nn.Dense(3)]))
    x, y = np.arange(24).reshape(8, 3) % 16, np.arange(8) % 3
    variables = net.init(jax.random.key(0), x)
    expected = training.predict(net, variables, x)
    np.testing.assert_array_equal(training.predict(net, variables, x.astype(np.uint64)), expected)
    other = x.astype(np.asarray(wrapped).dtype) + wrapped
    for name, call in {
        "x": lambda: training.predict(net, variables, other),
        "data.x": lambda: training.fit(net, Examples(other, y), epochs=1),
        r"data.x\['a'\]": lambda: training.evaluate(net, variables, Examples({"a": other}, y)),
    }.items():
        with pytest.raises(ValueError, match=rf"{name} holds {other.min()}\.\..*, which JAX cuts to u?int32"):
            call()


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="x is empty; at least one row"):
        training.predict(MODEL, drawn(0), X[:0])
