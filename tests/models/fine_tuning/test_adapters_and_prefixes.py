"""Adapters and prefixes against NumPy, on the transformer and on modules of the user's own."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import activations, models
from gecko_jax.models import fine_tuning
from gecko_jax.models.transformer import AttentionProduct

X = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)


def drawn(model, x, seed=0):
    draws = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: draws.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def attended(query, key, value, mask):
    """softmax(q k / sqrt(d)) v of one head, [t, d] each, in float64."""
    scores = query.astype(float) @ key.T.astype(float) / np.sqrt(query.shape[-1])
    return softmax(np.where(mask, scores, -np.inf)) @ value


@pytest.mark.parametrize("activation, function", [
    ("relu", lambda z, c: np.maximum(z, 0)), ("quadratic", lambda z, c: c["a"] * z * z + c["b"] * z),
])  # fmt: skip
def test_an_adapter_stands_behind_its_module(activation, function):
    network = models.from_linen(nn.Sequential([nn.Dense(6), nn.Dense(3)]))
    model = fine_tuning.adapter(4, "layers_0", activation).apply(network)
    variables = drawn(model, X)
    params = variables["params"]
    p = params["fine_tuning"]["adapter"]["layers_0"]
    [coefficients] = [part for name, part in p.items() if name not in ("down", "up")] or [{}]
    h = X @ params["layers_0"]["kernel"] + params["layers_0"]["bias"]
    narrow = function(h @ p["down"]["kernel"] + p["down"]["bias"], coefficients)
    assert narrow.shape[-1] == 1  # 6 // 4
    h = h + narrow @ p["up"]["kernel"] + p["up"]["bias"]
    expected = h @ params["layers_1"]["kernel"] + params["layers_1"]["bias"]
    np.testing.assert_allclose(model.apply(variables, X)[0], expected, rtol=1e-4, atol=1e-4)


def test_rules_and_penalties_see_the_layers_of_an_adapter():
    network = models.from_linen(nn.Sequential([nn.Dense(6), activations.Relu()]))
    model = fine_tuning.adapter(2, "layers_0").apply(network)
    variables = drawn(model, X)
    calls = {call.path: call.kind for call in models.trace(model, variables, X)}
    behind = "fine_tuning/adapter/layers_0"
    assert calls == {"layers_0": "Dense", f"{behind}/down": "Dense", f"{behind}/up": "Dense"}
    penalty = models.with_range_penalty(model, activations.outside(0.1), path="^fine_tuning/adapter/")
    outputs = penalty.apply(penalty.init(jax.random.key(0), X), X, train=True)[0]
    assert outputs.penalty.shape == (2,)


def test_an_activation_with_statistics_is_refused():
    with pytest.raises(ValueError, match="activation='herpn' keeps statistics over the batch"):
        fine_tuning.adapter(2, activation="herpn")


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_a_prefix_adds_keys_and_values_to_the_product(gated, causal):
    class Product(AttentionProduct):  # called by position, and its own super's call is not another one
        def __call__(self, q, k, v, mask):
            return AttentionProduct.__call__(self, query=q, key=k, value=v, mask=mask)

    draws = np.random.default_rng(0)
    query, key, value = draws.normal(size=(3, 2, 4, 2, 3)).astype(np.float32)
    visible = np.tril(np.ones((4, 4), bool)) if causal else np.array([True, True, True, False])[None].repeat(4, 0)
    mask = visible[None, None] if causal else visible[:1][None, None].repeat(2, 0)  # [1, 1, t, t] or [b, 1, 1, t]

    class Attention(nn.Module):
        @nn.compact
        def __call__(self, x):
            gain = self.param("gain", nn.initializers.ones_init(), ())
            return gain * Product(name="product")(query, key, value, mask)

    model = fine_tuning.prefix(3, "product$", gated).apply(models.from_linen(Attention()))
    variables = drawn(model, X)
    p = variables["params"]["fine_tuning"]["prefix"]["product"]
    expected = np.zeros(query.shape)
    for b, h in np.ndindex(2, 2):
        q, k, v, pk, pv = query[b, :, h], key[b, :, h], value[b, :, h], p["key"][:, h], p["value"][:, h]
        if gated:
            expected[b, :, h] = attended(q, k, v, visible) + np.tanh(p["gate"][h]) * attended(q, pk, pv, True)
        else:
            both = np.concatenate([np.ones((4, 3), bool), visible], axis=1)
            expected[b, :, h] = attended(q, np.concatenate([pk, k]), np.concatenate([pv, v]), both)
    expected *= variables["params"]["gain"]
    np.testing.assert_allclose(model.apply(variables, X)[0], expected, rtol=1e-4, atol=1e-5)


def test_a_prefix_reaches_attention_of_flax():
    layer = nn.MultiHeadDotProductAttention(num_heads=2)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layer.clone(name="mix", parent=self)(x, mask=nn.make_causal_mask(x[..., 0]))

    network = models.from_linen(Net())
    model = fine_tuning.prefix(3, "mix$", gated=False).apply(network)
    variables = drawn(model, X)
    params = variables["params"]["mix"]
    p = variables["params"]["fine_tuning"]["prefix"]["mix"]
    layers = (params[name] for name in ("query", "key", "value"))
    q, k, v = (np.einsum("bti,ihd->bthd", X, layer["kernel"]) + layer["bias"] for layer in layers)
    visible = np.concatenate([np.ones((5, 3), bool), np.tril(np.ones((5, 5), bool))], axis=1)
    y = np.zeros(q.shape)
    for b, h in np.ndindex(2, 2):
        keys, values = (np.concatenate([p[n][:, h], each[b, :, h]]) for n, each in (("key", k), ("value", v)))
        y[b, :, h] = attended(q[b, :, h], keys, values, visible)
    expected = np.einsum("bthd,hdo->bto", y, params["out"]["kernel"]) + params["out"]["bias"]
    np.testing.assert_allclose(model.apply(variables, X)[0], expected, rtol=1e-4, atol=1e-4)
    assert np.isfinite(network.apply({"params": {"mix": params}}, X)[0]).all()  # the layer's own hook is back


class Product(nn.Module):
    @nn.compact
    def __call__(self, query, key, value):
        return nn.Dense(3, name="inner")(query + key + value)


class Around(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Product(name="product")(x, x, x)


def test_a_prefix_refuses_what_it_cannot_reach():
    model = fine_tuning.prefix(3, "Dense").apply(models.from_linen(nn.Sequential([nn.Dense(3)])))
    with pytest.raises(ValueError, match=r"no inner product of attention, called with \(query.* model: none"):
        model.init(jax.random.key(0), X)
    model = fine_tuning.prefix(3, "product$").apply(models.from_linen(Around()))
    with pytest.raises(ValueError, match=r"product \(Product\) has submodules, inner, and cannot be called twice"):
        jax.eval_shape(model.init, jax.random.key(0), X[None])


def test_a_module_that_is_not_called_again_is_not_forgotten():
    class Sometimes(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(4, name="layer")
            return layer(x) if x.shape[0] == 1 else jnp.zeros(x.shape)

    model = fine_tuning.adapter(2, "layer").apply(models.from_linen(Sometimes()))
    with pytest.raises(ValueError, match="the calls of layer were not seen"):
        model.apply(drawn(model, X[:1]), X)
