"""LoRA on every kind of layer against products in NumPy, merged and not; what it cannot serve is refused by name."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import costs, models, quantizers
from gecko_jax.models import fine_tuning
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Rule

IMAGES = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)
TOKENS = np.random.default_rng(1).integers(0, 7, (2, 4))


class Kinds(nn.Module):
    """One layer of every kind that has factors, some of them twice."""

    @nn.compact
    def __call__(self, x):
        embed = nn.Embed(7, 6, name="embed")
        h = nn.Conv(4, (3, 2), strides=2, kernel_dilation=(1, 2), padding="SAME", name="conv")(x["image"])
        h = nn.DenseGeneral((2, 3), axis=(1, -1), name="general")(h)  # [b, width, 2, 3]
        h = nn.tanh(h).mean(1).reshape(-1, 1, 6) + embed(x["tokens"])
        dense = nn.Dense(6, name="dense")
        return embed.attend(jnp.tanh(dense(jnp.tanh(dense(h)))))


X = {"image": IMAGES, "tokens": TOKENS}
EVERY = fine_tuning.lora(rank=2, alpha=3.0, paths=("conv", "general", "embed", "dense"))


def drawn(model, x, seed=0):
    draws = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: 0.5 * draws.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def test_factors_add_their_product_to_the_weight_of_every_kind():
    network = models.from_linen(Kinds())
    model = EVERY.apply(network)
    variables = drawn(model, X)
    assert not np.any(jax.jit(model.init)(jax.random.key(0), X)["params"]["fine_tuning"]["lora"]["conv"]["b"]["kernel"])
    params = dict(variables["params"])
    factors = params.pop("fine_tuning")["lora"]
    shapes = {name: tuple(part["kernel"].shape for part in each.values() if "kernel" in part)
              for name, each in factors.items()}  # fmt: skip
    assert shapes == {"conv": ((3, 2, 3, 2), (2, 4)), "general": ((3, 4, 2), (2, 2, 3)), "embed": ((2, 6),),
                      "dense": ((6, 2), (2, 6))}  # fmt: skip

    products = {
        "conv/kernel": np.einsum("hwir,ro->hwio", factors["conv"]["a"]["kernel"], factors["conv"]["b"]["kernel"]),
        "general/kernel": np.einsum("hir,rab->hiab", *(factors["general"][n]["kernel"] for n in "ab")),
        "embed/embedding": factors["embed"]["a"]["embedding"] @ factors["embed"]["b"]["kernel"],
        "dense/kernel": factors["dense"]["a"]["kernel"] @ factors["dense"]["b"]["kernel"],
    }
    by_hand = map_named(lambda name, leaf: leaf + 1.5 * products.get(name, 0), params)
    run = jax.jit(lambda model, variables: model.apply(variables, X)[0], static_argnums=0)
    expected = run(network, {"params": by_hand})
    assert np.abs(expected - run(network, {"params": params})).max() > 0.1
    np.testing.assert_allclose(run(model, variables), expected, rtol=1e-5, atol=1e-5)
    merged = fine_tuning.merge(EVERY, model, variables)
    assert [name for name, _ in named_leaves(merged)] == [name for name, _ in named_leaves({"params": params})]
    np.testing.assert_allclose(run(network, merged), expected, rtol=1e-5, atol=1e-5)
    several = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), variables)  # as many models as the rank
    with pytest.raises(ValueError, match="they are of several models. Merge each by itself"):
        fine_tuning.merge(EVERY, model, several)
    both = jax.vmap(lambda each: fine_tuning.merge(EVERY, model, each))(several)
    np.testing.assert_array_equal(both["params"]["embed"]["embedding"][1], merged["params"]["embed"]["embedding"])
    with pytest.raises(ValueError, match="no parameters of 'lora'.*merged before"):
        fine_tuning.merge(EVERY, model, merged)
    other = fine_tuning.lora(rank=2, alpha=4.0, paths=("conv", "general", "embed", "dense"))
    for method, tuned in ((other, model), (EVERY, network)):
        with pytest.raises(ValueError, match="model was built by .* and not by .*: pass the tuned model"):
            fine_tuning.merge(method, tuned, variables)


class Programs(nn.Module):
    """Layers in programs of their own."""

    @nn.compact
    def __call__(self, x):
        return nn.remat(nn.Dense)(3, name="again")(nn.jit(nn.Dense)(3, name="kept")(x))


def test_layers_that_keep_their_program_read_the_factors_of_each_call():
    model, x = fine_tuning.lora(1, paths=".").apply(models.from_linen(Programs())), jnp.ones((2, 3))
    for seed in range(2):
        variables = drawn(model, x, seed)
        params, h = variables["params"], np.ones((2, 3))
        for name in ("kept", "again"):
            a, b = (params["fine_tuning"]["lora"][name][n]["kernel"] for n in "ab")
            h = h @ (params[name]["kernel"] + a @ b) + params[name]["bias"]
        np.testing.assert_allclose(model.apply(variables, x)[0], h, rtol=1e-5, atol=1e-5)
    slope = jax.jit(jax.grad(lambda v: model.apply(v, x)[0].sum()))(variables)["params"]["fine_tuning"]["lora"]
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(slope))


def stacked(split):
    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            step = nn.scan(lambda layer, x, _: (layer(x), None), {"params": 0} if split else {},
                           variable_broadcast=False if split else "params",
                           split_rngs={"params": split}, length=3)  # fmt: skip
            return step(nn.Dense(4, name="layer"), x, None)[0]

    return Stack()


class Transposed(nn.Module):
    @nn.compact
    def __call__(self, x):
        swap = lambda tree: jax.tree.map(lambda leaf: leaf.T, tree)  # noqa: E731
        return nn.map_variables(nn.Dense, "params", swap, swap, init=True)(4, use_bias=False, name="layer")(x)


class Doubled(nn.Dense):
    def __call__(self, x):
        return 2 * super().__call__(x)


@pytest.mark.parametrize("layer, message", [
    (nn.ConvTranspose(4, (3,)), r"\(top\) \(ConvTranspose\) is none of nn.Dense"),
    (Doubled(4), r"\(Doubled\) is none of nn.Dense"),
    (nn.DenseGeneral(4, batch_dims=(0,)), r"has batch_dims=\(0,\): a weight for each index"),
    (nn.Conv(4, (3,), feature_group_count=2), "feature_group_count=2; two layers cannot"),
    (stacked(True), "layer/.*nn.scan or nn.vmap stacks these layers"),
    (Transposed(), "layer reads its weights in another arrangement"),
])  # fmt: skip
def test_what_has_no_factors_is_refused_by_name(layer, message):
    model = fine_tuning.lora(paths="").apply(models.from_linen(layer))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), np.ones((2, 4, 4), np.float32))


def test_bad_arguments_are_refused():
    model = fine_tuning.lora().apply(models.from_linen(Kinds()))
    with pytest.raises(ValueError, match=r"found in the path of no layer with a kernel. Those of the model: conv "):
        jax.eval_shape(model.init, jax.random.key(0), X)
    with pytest.raises(ValueError, match="variables hold no parameters of 'lora'.*fine_tuning.start"):
        EVERY.apply(models.from_linen(Kinds())).apply(drawn(models.from_linen(Kinds()), X), X)
    for options, message in [
        ({"rank": 0}, "rank=0"), ({"alpha": 0}, "alpha=0"), ({"paths": ()}, "names no path"),
        ({"paths": "("}, "not a regular expression"), ({"paths": [3]}, "not a regular expression"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            fine_tuning.lora(**options)


def test_a_quantized_base_stays_quantized_under_factors_in_float(tmp_path):
    network, x = models.create("mlp", 3, hidden=(6, 6)), np.ones((4, 5), np.float32)
    method = fine_tuning.lora(rank=2, paths="dense")
    base = models.quantized(network, [Rule("", quantizers.uniform(4))], float_layers=())
    model = method.apply(base)
    variables = drawn(model, x)
    params = variables["params"]
    h = x
    for name in ("dense1", "dense2", "logits"):
        codes = quantizers.uniform(4).codes((), params[name]["kernel"])
        h = h @ np.asarray(codes.values * codes.scale) + params[name]["bias"] + (
            h @ params["fine_tuning"]["lora"][name]["a"]["kernel"] @ params["fine_tuning"]["lora"][name]["b"]["kernel"]
            if name != "logits" else 0
        )  # fmt: skip
        h = np.maximum(h, 0) if name != "logits" else h
    np.testing.assert_allclose(jax.jit(model.apply)(variables, x)[0], h, rtol=1e-4, atol=1e-5)
    spent = costs.cost(model, variables, x)
    assert {bits: int(count.value) for bits, count in spent.parameters.items()} == {32: 15 + 22 + 24, 4: 30 + 36 + 18}
    with pytest.raises(ValueError, match="model is quantized: its merged weights would be rounded"):
        fine_tuning.merge(method, model, variables)
    models.save(tmp_path, model, variables, x)
    assert models.load(tmp_path).model.blueprint == model.blueprint  # load itself compares the outputs


def test_a_pruned_base_keeps_its_zeros():
    network, x = models.create("mlp", 3, hidden=(6,)), np.ones((4, 5), np.float32)
    method, pruned = fine_tuning.lora(rank=2, paths="dense"), models.pruned(network, 0.5, "weight")
    model = method.apply(pruned)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    after = models.finish_update(model, variables, x)
    assert np.mean(np.asarray(after["params"]["dense1"]["kernel"]) == 0) == pytest.approx(0.5)
    np.testing.assert_array_equal(*(np.asarray(each["params"]["fine_tuning"]["lora"]["dense1"]["a"]["kernel"])
                                    for each in (after, variables)))  # fmt: skip
    with pytest.raises(ValueError, match="model is pruned: a merge fills the zeros"):
        fine_tuning.merge(method, model, after)


@pytest.mark.parametrize("norm", [nn.WeightNorm, lambda layer: nn.SpectralNorm(layer, collection_name="norms")])
def test_a_merge_into_a_normalized_weight_is_refused(norm):
    class Normalized(nn.Module):
        @nn.compact
        def __call__(self, x):
            around = norm(nn.Dense(3, name="inner"))
            return around(x, update_stats=False) if isinstance(around, nn.SpectralNorm) else around(x)

    method, x = fine_tuning.lora(rank=2, paths="inner"), np.ones((2, 4), np.float32)
    model = method.apply(models.from_linen(Normalized()))
    with pytest.raises(ValueError, match="inner: its weight is normalized"):
        fine_tuning.merge(method, model, drawn(model, x))
