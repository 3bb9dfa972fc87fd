"""Per-example gradients against a closed form, and against a loop of jax.grad."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import losses, models
from gecko_jax.probes import gradient_norms, gradients, last_layer_gradients, small_gradient
from gecko_jax.types import Model


def softmax_model(rng, d=6, classes=4):
    """No Linen: the two functions are all a probe may ask for."""
    params = {"w": rng.normal(size=(d, classes)).astype(np.float32), "b": rng.normal(size=classes).astype(np.float32)}
    apply = lambda variables, x, **_: (x @ variables["params"]["w"] + variables["params"]["b"][None], {})  # noqa: E731
    return Model(lambda key, x: {"params": params}, apply), {"params": params}


def records(rng, n, d=6, classes=4):
    return rng.normal(size=(n, d)).astype(np.float32), rng.integers(0, classes, n)


def closed_form(params, x, y):
    """[n, classes] p - e_y, the gradient of the bias; that of the kernel is its outer product with x."""
    z = x.astype(np.float64) @ params["w"] + params["b"]
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True) - np.eye(z.shape[1])[y]


def test_a_linear_softmax_has_its_closed_form():
    rng = np.random.default_rng(0)
    model, variables = softmax_model(rng)
    x, y = records(rng, 40)
    delta = np.linalg.norm(closed_form(variables["params"], x, y), axis=1)
    size = np.linalg.norm(x, axis=1)
    results = gradient_norms(model, variables, x, y)
    assert set(results) == {"all", "b", "w"}
    np.testing.assert_allclose(results["b"], delta, rtol=1e-4)
    np.testing.assert_allclose(results["w"], delta * size, rtol=1e-4)
    np.testing.assert_allclose(results["all"], delta * np.sqrt(1 + size**2), rtol=1e-4)
    np.testing.assert_array_equal(small_gradient(model, variables, x, y), -results["all"])


def test_confident_records_keep_their_rank():
    # p of the other class is e^-z, far below what a float32 can square; 1 - p_y is rounded to 0.
    model = Model(None, lambda variables, x, **_: (x + variables["params"]["b"][None], {}))
    z = np.array([20.0, 40.0, 60.0, 80.0], np.float32)
    x = np.stack([z, 0 * z], 1)
    results = gradient_norms(model, {"params": {"b": np.zeros(2, np.float32)}}, x, np.zeros(4, int))["all"]
    assert (np.diff(results) < 0).all() and results[-1] > 0
    np.testing.assert_allclose(results[1:], np.exp(-z[1:]), rtol=1e-3)


@pytest.fixture(name="trained", scope="module")
def make_trained():
    """A network with BatchNorm whose running statistics are not those of any batch, and with dropout."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool = False):
            x = nn.Dense(5, name="first")(x.reshape(len(x), -1))
            x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm")(x))
            x = nn.Dropout(0.5, deterministic=not train)(x)
            return nn.Dense(4, name="a_last")(x)  # the last called, the first by name

    model = models.from_linen(Net())
    variables = model.init(jax.random.key(0), jnp.ones((1, 6)))
    statistics = jax.tree.map(lambda leaf: leaf + 0.7, variables["batch_stats"])
    return model, {"params": variables["params"], "batch_stats": statistics}


def test_a_loop_of_grad_agrees_whatever_the_blocks(trained, monkeypatch):
    model, variables = trained
    x, y = records(np.random.default_rng(1), 7)

    def loss(params, row, label):
        logits = model.apply({"params": params, "batch_stats": variables["batch_stats"]}, row[None])[0][0]
        return -jax.nn.log_softmax(logits)[label]

    one = jax.jit(jax.grad(loss))
    expected = [jax.tree_util.tree_leaves_with_path(one(variables["params"], *row)) for row in zip(x, y, strict=True)]
    last = [one(variables["params"], *row)["a_last"] for row in zip(x, y, strict=True)]
    flat = np.array([np.concatenate([leaf["bias"], np.ravel(leaf["kernel"])]) for leaf in last])
    for most in (256, 3):
        monkeypatch.setattr(gradients, "MAX_RECORDS_PER_CALL", most)
        results = gradient_norms(model, variables, x, y)
        for i, leaves in enumerate(expected):
            for path, leaf in leaves:
                name = "/".join(part.key for part in path)
                np.testing.assert_allclose(results[name][i], np.linalg.norm(leaf), rtol=1e-4, atol=1e-6)
            total = np.sqrt(sum(np.sum(np.square(leaf)) for _, leaf in leaves))
            np.testing.assert_allclose(results["all"][i], total, rtol=1e-4)
        assert len(results) == 1 + len(expected[0])
        np.testing.assert_allclose(last_layer_gradients(model, variables, x, y), flat, rtol=1e-4, atol=1e-6)


def test_memory_is_bounded_by_the_budget(trained, monkeypatch):
    model, variables = trained
    rows, run = [], gradients._gradients
    monkeypatch.setattr(gradients, "_gradients", lambda *args: rows.append(len(args[-1])) or run(*args))
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    monkeypatch.setattr(gradients, "MAX_GRADIENT_FLOATS", 2 * size + 1)
    gradient_norms(model, variables, *records(np.random.default_rng(2), 5))
    assert rows == [2, 2, 2]


def test_another_loss_and_a_named_layer(trained):
    model, variables = trained
    x, y = records(np.random.default_rng(3), 4)
    usual = gradient_norms(model, variables, x, y, losses.cross_entropy())
    np.testing.assert_array_equal(usual["all"], gradient_norms(model, variables, x, y)["all"])
    double = losses.cross_entropy()._replace(apply=lambda z, one: 2 * losses.cross_entropy().apply(z, one))
    np.testing.assert_allclose(gradient_norms(model, variables, x, y, double)["all"], 2 * usual["all"], rtol=1e-5)
    first = last_layer_gradients(model, variables, x, y, layer="first")
    assert first.shape == (4, 5 + 30)
    norms = np.hypot(usual["first/bias"], usual["first/kernel"])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), norms, rtol=1e-4)


def test_bad_input_is_named(trained):
    model, variables = trained
    x, y = records(np.random.default_rng(4), 4)
    plain, plain_variables = softmax_model(np.random.default_rng(5))
    broken = {**variables, "params": jax.tree.map(lambda leaf: leaf * np.nan, variables["params"])}
    for call, words in (
        (lambda: gradient_norms(model, variables, x, y, losses.kullback_leibler()), r"reads extras \(teacher\)"),
        (lambda: last_layer_gradients(model, variables, x, y, layer="lost"), "'lost' has no parameters; there are a_l"),
        (lambda: last_layer_gradients(plain, plain_variables, x, y), "name one. Parameters: .*'w'"),
        (lambda: gradient_norms(model, broken, x, y), "NaN or infinite"),
        (lambda: gradient_norms(model, variables, x, y + 4), "expected 0..3"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
