"""Rules: which layer they hold for, what they refuse, what they project and scale."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models, quantizers
from gecko_jax.types import Quantizer, Rule

KEY, X = jax.random.key(0), jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32))
BINARY, XNOR, TERNARY, BITS = quantizers.binary(), quantizers.xnor(), quantizers.ternary(), quantizers.xnor_input()
MLP = models.create("mlp", 3, hidden=(4, 5, 6), normalize=True)


@functools.cache
def variables():
    """Of the MLP, its kernels 3 to 6 in magnitude."""
    drawn = jax.jit(MLP.init)(KEY, X)
    rng = np.random.default_rng(1)

    def far(w):
        return jnp.asarray(rng.choice([-1, 1], w.shape) * rng.uniform(3, 6, w.shape), jnp.float32)

    return {**drawn, "params": jax.tree.map(far, drawn["params"])}


def in_force(rules, **options):
    model = models.quantized(MLP, rules, **options)
    return {
        call.path: (call.weight and call.weight.name, call.inputs and call.inputs.name)
        for call in models.trace(model, jax.eval_shape(model.init, KEY, X), X)
    }


FLOAT = (None, None)


def test_the_first_match_holds_and_both_ends_stay_float():
    rules = [("dense2", TERNARY, None), Rule("d.nse[0-9]$", BINARY, BITS)]
    expected = {"dense1": FLOAT, "dense2": ("ternary", None), "dense3": ("binary", "xnor_input"), "logits": FLOAT}
    assert in_force(rules) == expected


BOTH = ("first", "last"), {"dense1", "logits"}


@pytest.mark.parametrize("float_layers, left", [((), set()), (("first",), {"dense1"}), (["last"], {"logits"}), BOTH])
def test_float_layers(float_layers, left):
    actual = in_force([("", BINARY, None)], float_layers=float_layers)
    assert {path for path, rule in actual.items() if rule == FLOAT} == left
    assert len(actual) == 4


def test_a_rule_of_nothing_keeps_a_layer_float():
    actual = in_force([("dense2", None, None), (".*", BINARY, BITS)])
    assert actual["dense2"] == FLOAT and actual["dense3"] == ("binary", "xnor_input")


def test_the_parameters_are_those_of_the_float_model():
    model = models.quantized(MLP, [(".*", BINARY, BITS)])
    assert jax.eval_shape(model.init, KEY, X) == jax.eval_shape(MLP.init, KEY, X)
    assert model.apply(variables(), X)[1] == {}
    assert set(model.apply(variables(), X, train=True)[1]) == {"batch_stats"}


def test_the_latents_of_binary_layers_alone_are_clipped():
    model = models.quantized(MLP, [("dense2", XNOR, None), ("dense3", TERNARY, None)])
    projected = jax.jit(model.after_update[0])(variables(), X)
    for path, leaf in jax.tree_util.tree_leaves_with_path(projected):
        before = functools.reduce(lambda tree, part: tree[part.key], path, variables())
        clipped = [part.key for part in path] == ["params", "dense2", "kernel"]
        np.testing.assert_array_equal(leaf, np.clip(before, -1, 1) if clipped else before)


def test_rates_are_glorot_for_binary_connect_and_1_elsewhere():
    model = models.quantized(MLP, [("dense[23]", quantizers.binary_connect(), None)])
    rates = model.rates[0](variables(), X)
    assert jax.tree.structure(rates) == jax.tree.structure(variables()["params"])
    assert rates["dense2"]["kernel"] == pytest.approx(np.sqrt((4 + 5) / 1.5))
    assert rates["dense3"]["kernel"] == pytest.approx(np.sqrt((5 + 6) / 1.5))
    assert sum(rate != 1 for rate in jax.tree.leaves(rates)) == 2


def test_nothing_to_project_and_no_rates():
    model = models.quantized(MLP, [(".*", TERNARY, BITS)])
    assert model.after_update == model.rates == ()


def test_stochastic_draws_are_of_training_alone_and_one_a_layer():
    model = models.quantized(MLP, [(".*", quantizers.binary_connect(stochastic=True), None)])
    small = {**variables(), "params": jax.tree.map(lambda w: w / 20, variables()["params"])}
    apply = jax.jit(model.apply, static_argnames="train")
    plain = apply(small, X)[0]
    assert (apply(small, X, key=KEY)[0] == plain).all()  # no draw outside training, key or not
    assert (apply(small, X, train=True)[0] == apply(small, X, train=True)[0]).all()
    one, same, other = (apply(small, X, key=jax.random.key(k), train=True)[0] for k in (1, 1, 2))
    assert (one == same).all() and (one != other).any()


def test_many_models_at_once():
    model = models.quantized(MLP, [(".*", XNOR, BITS)])
    stacked = jax.tree.map(lambda w: jnp.stack([w, -w]), variables())
    apply = jax.jit(lambda v: model.apply(v, X))
    together = jax.jit(jax.vmap(lambda v: model.apply(v, X)[0]))(stacked)
    apart = [apply(jax.tree.map(lambda w, i=i: w[i], stacked))[0] for i in range(2)]
    np.testing.assert_allclose(together, np.stack(apart), rtol=1e-4, atol=1e-4)


class Words(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Embed(7, 4)(x).mean(1)
        return nn.Dense(3)(nn.Dense(3)(x))


class Convolution(nn.Module):
    layer: nn.Module

    @nn.compact
    def __call__(self, x):
        return self.layer(x).sum(1)


class Clash(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="quantizers")(x)


CUSTOM = nn.Conv(2, (3,), conv_general_dilated_cls=lambda: jax.lax.conv_general_dilated)


def started(module, rules, x=X, **options):
    return models.quantized(models.from_linen(module), rules, **options).init(KEY, x)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: models.quantized(MLP, [("dense(", BINARY, None)]), r"'dense\(' is not a regular expression"),
        (lambda: models.quantized(MLP, [("x", "binary", None)]), "weight='binary' for 'x'; expected a Quantizer"),
        (lambda: models.quantized(MLP, [("x", None, quantizers.binary)]), "input=<function binary"),
        (lambda: models.quantized(MLP, [("x", None, XNOR)]), "'xnor' for 'x' serves weights alone"),
        (lambda: models.quantized(MLP, [("x", None, TERNARY)]), "couple the examples"),
        (lambda: models.quantized(MLP, [("x", None, quantizers.uniform(4))]), "max_abs"),
        (lambda: models.quantized(MLP, [], float_layers=("middle",)), "not .'middle'."),
        (lambda: models.quantized(models.quantized(MLP, [("d", BINARY)]), [("d", BINARY)]), "quantized already"),
        (
            lambda: models.quantized(MLP, [("dense7", BINARY)]).init(KEY, X),
            "'dense7' holds for no layer .*dense1: float; dense2: float; dense3: float; logits: float",
        ),
        (
            lambda: models.quantized(MLP, [("dense1", BINARY), ("dense", TERNARY)]).init(KEY, X),
            "'dense1' holds for no layer .*dense1: float; dense2: 'dense'",
        ),
        (lambda: models.quantized(MLP, [("dense", BINARY), ("dense2", TERNARY)]).init(KEY, X), "'dense2' holds for no"),
        (
            lambda: started(Words(), [(".*", BINARY, BITS)], jnp.ones((2, 3), jnp.int32), float_layers=()),
            "'xnor_input' at 'Embed_0' .Embed., whose inputs are int32",
        ),
        (lambda: started(Clash(), [(".*", BINARY, None)], float_layers=()), "has a layer 'quantizers'"),
    ],
)
def test_bad_rules_are_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    "layer",
    [nn.Conv(2, (3,), padding="CAUSAL"), nn.Conv(2, (3,), input_dilation=2, padding=1), nn.ConvTranspose(2, (3,)),
     nn.ConvLocal(2, (3,)), CUSTOM],
)  # fmt: skip
def test_a_border_of_zeros_is_refused_for_binary_inputs_alone(layer):
    x, module = jnp.ones((2, 6, 3)), Convolution(layer)
    with pytest.raises(ValueError, match=rf"'layer' \({type(layer).__name__}\).*pads with zeros"):
        started(module, [(".*", None, BITS)], x, float_layers=())
    variables = started(module, [(".*", BINARY, quantizers.uniform(4, max_abs=1.0))], x, float_layers=())
    model = models.quantized(models.from_linen(module), [(".*", None, BITS)], ())
    with pytest.raises(ValueError, match="pads with zeros"):  # with variables made elsewhere, too
        model.apply(variables, x)


def test_a_rule_of_weights_serves_an_embedding():
    x = jnp.array([[1, 2, 3], [6, 0, 0]])
    model = models.quantized(models.from_linen(Words()), [("Embed", BINARY, None)], ())
    params = model.init(KEY, x)["params"]
    by_hand = {**params, "Embed_0": {"embedding": jnp.where(params["Embed_0"]["embedding"] >= 0, 1.0, -1.0)}}
    np.testing.assert_array_equal(model.apply({"params": params}, x)[0], Words().apply({"params": by_hand}, x))


def test_quantizers_of_one_s_own():
    halves = Quantizer("halves", 8, lambda w: (), lambda state, w, key=None: jnp.round(w * 2) / 2)
    model = models.quantized(models.from_linen(nn.Dense(2)), [(".*", halves, halves)], ())
    w, x = jnp.array([[0.3, -0.8], [1.1, 0.2]]), jnp.array([[0.9, 0.4]])
    actual = model.apply({"params": {"kernel": w, "bias": jnp.zeros(2)}}, x)[0]
    np.testing.assert_allclose(actual, np.array([[1.0, 0.5]]) @ np.array([[0.5, -1.0], [1.0, 0.0]]))
