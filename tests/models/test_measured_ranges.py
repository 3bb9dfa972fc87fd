"""Quantizers whose state is measured: where it is kept, when it moves, what private training refuses."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from called_twice import Net

from gecko_jax import clippings, losses, models, privacy, quantizers, training
from gecko_jax.models.quantizer_states import put_states
from gecko_jax.quantizers.ranges import RANGES
from gecko_jax.types import Batch, Examples

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(6, 4)).astype(np.float32))


FLOAT = models.from_linen(Net())
INT8 = quantizers.int8(), quantizers.int8_input(decay=0.5)
MODEL = models.quantized(FLOAT, [("", *INT8)], float_layers=())


@functools.cache
def variables():
    return jax.jit(MODEL.init)(KEY, X)


def step(variables, x):
    return {**variables, **MODEL.apply(variables, x, train=True)[1]}


def test_a_range_is_not_a_parameter_and_starts_unmeasured():
    assert set(variables()) == {"params", RANGES} and set(variables()["params"]) == {"one", "two", "three"}
    assert {int(state["count"]) for state in variables()[RANGES].values()} == {0}
    with pytest.raises(ValueError, match="range of the inputs of 'one' was never measured"):
        MODEL.apply(variables(), X)
    with pytest.raises(ValueError, match="range of the inputs of 'one' was never measured"):
        models.input_grids(MODEL, variables(), X)
    assert np.isnan(jax.jit(lambda v: MODEL.apply(v, X)[0])(variables())).all()  # and never a number in silence


def test_training_moves_ranges_and_evaluation_does_not():
    first = jax.jit(step)(variables(), X)
    second = jax.jit(step)(first, 3 * X)
    low, high = float(X.min()), float(X.max())
    grids = models.input_grids(MODEL, first, X)
    assert float(grids["one"].scale) == pytest.approx((high - low) / 255, rel=1e-5)
    assert (grids["one"].lowest, grids["one"].highest, grids["one"].bits) == (-128, 127, 8)
    assert grids["one"].zero_point == round(-128 - low / ((high - low) / 255))
    state = second[RANGES]["input:one"]
    assert float(state["high"]) == pytest.approx(2 * high, rel=1e-5) and int(state["count"]) == 2
    assert int(second[RANGES]["input:two"]["count"]) == 4  # called twice a pass
    assert MODEL.apply(second, X)[1] == {}


def test_the_integers_of_the_readers_compute_what_the_model_computes():
    trained = jax.jit(step)(variables(), X)
    codes, grids = models.weight_codes(MODEL, trained, X), models.input_grids(MODEL, trained, X)

    def dense(name, x):
        grid, weight = grids[name], codes[f"{name}/kernel"]
        q = np.clip(np.round(x / grid.scale) + grid.zero_point, grid.lowest, grid.highest).astype(np.int64)
        sums = (q - grid.zero_point) @ np.asarray(weight.values, np.int64)
        return sums * (grid.scale * np.asarray(weight.scale)) + np.asarray(trained["params"][name]["bias"])

    h = np.tanh(dense("one", np.asarray(X)))
    expected = dense("three", np.tanh(dense("two", np.tanh(dense("two", h)))))
    np.testing.assert_allclose(MODEL.apply(trained, X)[0], expected, rtol=1e-4, atol=1e-4)


def test_under_jit_grad_and_vmap():
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), variables())
    both = jax.jit(jax.vmap(step))(stacked, jnp.stack([X, 2 * X]))
    for row, x in enumerate((X, 2 * X)):
        alone = jax.jit(step)(variables(), x)
        np.testing.assert_allclose(both[RANGES]["input:one"]["low"][row], alone[RANGES]["input:one"]["low"], rtol=1e-6)

    def loss(params, ranges):
        outputs, updates = MODEL.apply({"params": params, RANGES: ranges}, X, train=True)
        return (outputs**2).sum(), updates

    slopes, updates = jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))(stacked["params"], stacked[RANGES])
    assert all(np.isfinite(leaf).all() and (leaf != 0).any() for leaf in jax.tree.leaves(slopes))
    assert updates[RANGES]["input:one"]["count"].tolist() == [1, 1]


def private_of(model):
    loss = privacy.example_loss(model, losses.cross_entropy())
    return privacy.private_gradients(loss, clippings.flat(1.0), 1.0, expected_batch_size=4)


def private_step(model, start):
    batch = Batch(X, jnp.array([0, 1, 2, 0, 1, 2], jnp.int32), jnp.ones(6, bool))
    return jax.eval_shape(private_of(model), start, batch, jax.random.key(1))


def test_private_training_refuses_a_range_of_the_batch():
    with pytest.raises(ValueError, match=r"\['input:one', .*measure the range .*decay=None.*public_x"):
        private_step(MODEL, variables())


def test_private_training_takes_a_range_that_stays():
    model = models.quantized(FLOAT, [("", quantizers.int8(), quantizers.int8_input(decay=None))], float_layers=())
    start = put_states(variables(), {"input:one": (INT8[1], {"low": -1.0, "high": 1.0, "count": 1})})
    slopes, _ = private_step(model, start)
    assert jax.tree.structure(slopes) == jax.tree.structure(start["params"])
    learned = models.quantized(FLOAT, [("", quantizers.lsq(4), quantizers.pact(4))], float_layers=())
    slopes, _ = private_step(learned, jax.eval_shape(learned.init, KEY, X))
    assert "input:one" in slopes["quantizers"]


def test_private_training_refuses_a_step_that_starts_from_a_private_row():
    model = models.quantized(FLOAT, [("", quantizers.lsq(4), quantizers.lsq_input(4, signed=True))], float_layers=())
    rows = Examples(np.asarray(X), np.array([0, 1, 2, 0, 1, 2], np.int32))
    with pytest.raises(ValueError, match="model.init computes .*input:one.* from the values of x"):
        training.fit(model, rows, gradients=private_of(model), epochs=1, batch_size=4, seed=0)


def test_variables_of_another_model_are_named():
    model = models.quantized(FLOAT, [("", quantizers.lsq(4), quantizers.pact(4))], float_layers=())
    with pytest.raises(ValueError, match="no state of the quantizer 'lsq4' for 'weight:one/kernel'.*models.calibrate"):
        model.apply({"params": variables()["params"]}, X)


@pytest.mark.parametrize("quantizer", [quantizers.pact(4), quantizers.int8_input(), quantizers.lsq_input(4)])
def test_what_serves_inputs_alone_quantizes_no_weights(quantizer):
    with pytest.raises(ValueError, match="serves inputs alone"):
        models.quantized(FLOAT, [("", quantizer, None)])


class TwoAxes(nn.Module):
    """Whose first bias has two axes, and which normalizes."""

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(name="norm")(nn.DenseGeneral((2, 3), name="heads")(x))
        return nn.Dense(2, name="out")(x.reshape(x.shape[0], -1))


def test_no_rule_reaches_a_bias_or_a_normalization():
    float_model = models.from_linen(TwoAxes())
    model = models.quantized(float_model, [("", quantizers.binary(), None)], float_layers=())
    start = jax.jit(model.init)(KEY, X)
    assert set(models.weight_quantizers(model, start, X)) == {"heads/kernel", "out/kernel"}
    start = jax.tree.map(lambda leaf: leaf + 0.25, start)
    signs = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.where(leaf >= 0, 1.0, -1.0) if path[-1].key == "kernel" else leaf, start
    )
    np.testing.assert_allclose(model.apply(start, X)[0], float_model.apply(signs, X)[0], rtol=1e-5)
    with pytest.raises(ValueError, match="'heads/bias' holds for no layer"):
        models.quantized(float_model, [("heads/bias", quantizers.binary(), None)], ()).init(KEY, X)


def test_one_bit_of_0_and_1_is_padded_with_zeros():
    x = jnp.asarray(RNG.uniform(size=(2, 5, 5, 1)).astype(np.float32))
    float_model = models.from_linen(nn.Conv(2, (3, 3)))
    model = models.quantized(float_model, [("", None, quantizers.dorefa_input(1))], float_layers=())
    start = jax.jit(model.init)(KEY, x)
    expected = float_model.apply(start, jnp.round(x))[0]
    np.testing.assert_allclose(model.apply(start, x)[0], expected, rtol=1e-5, atol=1e-6)
