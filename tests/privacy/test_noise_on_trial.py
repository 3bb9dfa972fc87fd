"""A noise function of one's own is tried before anything is priced: planted faults are refused, right ones pass."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings, losses, models, privacy
from gecko_jax.privacy.noise_trial import try_noise

STD = 1.5


def leafwise(draw):
    """draw(key, shape) for each leaf, with a key of its own."""

    def noise(key, tree, std):
        leaves, structure = jax.tree.flatten(tree)
        keys = jax.random.split(key, len(leaves))
        return structure.unflatten([std * draw(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)])

    return noise


def changed(function):
    """gaussian noise with every leaf changed."""
    return lambda key, tree, std: jax.tree.map(function, privacy.gaussian(key, tree, std))


MEMORY = np.random.default_rng(0).normal(size=10_000).astype(np.float32)

BAD = {
    "of kernels, repeated over their space": (
        leafwise(lambda key, shape: jnp.broadcast_to(jax.random.normal(key, shape[-2:]), shape)), "independent",
    ),
    "none for kernels": (
        leafwise(lambda key, shape: jax.random.normal(key, shape) * (len(shape) < 3)), "root mean square"
    ),
    "none for one number": (leafwise(lambda key, shape: jax.random.normal(key, shape) * (shape != (1,))), "one leaf"),
    "cut tails": (leafwise(lambda key, shape: jnp.clip(jax.random.normal(key, shape), -3, 3)), "tails are cut"),
    "none": (lambda key, tree, std: jax.tree.map(jnp.zeros_like, tree), "gives 0 "),
    "a constant": (lambda key, tree, std: jax.tree.map(lambda leaf: jnp.full(leaf.shape, std), tree), "a mean of"),
    "half of it": (lambda key, tree, std: privacy.gaussian(key, tree, std / 2), "root mean square"),
    "the variance for the deviation": (lambda key, tree, std: privacy.gaussian(key, tree, std**2), "root mean square"),
    "whatever is asked for": (lambda key, tree, std: privacy.gaussian(key, tree, STD), "root mean square"),
    "a shifted mean": (changed(lambda leaf: leaf + 0.3), "a mean of"),
    "on the sum already": (
        lambda key, tree, std: jax.tree.map(jnp.add, tree, privacy.gaussian(key, tree, std)), "root mean square"
    ),
    "one key for all calls": (
        lambda key, tree, std: privacy.gaussian(jax.random.key(3), tree, std), "same noise for two different keys"
    ),
    "drawn while tracing": (
        lambda key, tree, std: jax.tree.map(lambda x: std * np.random.normal(size=x.shape).astype(np.float32), tree),
        "same noise for two different keys",
    ),
    "remembered": (
        lambda key, tree, std: jax.tree.map(lambda x: std * MEMORY[: x.size].reshape(x.shape), tree),
        "different values|same noise for two",
    ),
    "one key for all leaves": (
        lambda key, tree, std: jax.tree.map(lambda x: std * jax.random.normal(key, x.shape), tree),
        "different values|not independent",
    ),
    "one number a row": (changed(lambda x: jnp.broadcast_to(x[..., :1], x.shape) if x.ndim else x), "independent|mean"),
    "a piece repeated": (leafwise(lambda k, shape: jnp.resize(jax.random.normal(k, (500,)), shape)), "independent"),
    "uniform": (leafwise(lambda k, shape: 12**0.5 * (jax.random.uniform(k, shape) - 0.5)), "not normally distributed"),
    "Laplace": (leafwise(lambda k, shape: jax.random.laplace(k, shape) / 2**0.5), "not normally distributed"),
    "signs": (leafwise(lambda k, shape: jax.random.rademacher(k, shape, jnp.float32)), "not normally distributed"),
    "cut off": (changed(lambda x: jnp.clip(x, -2 * STD, 2 * STD)), "root mean square"),
    "half precision": (changed(lambda x: x.astype(jnp.bfloat16)), "dtype bfloat16"),
    "integers": (changed(lambda x: jnp.round(x).astype(jnp.int32)), "dtype int32"),
    "another shape": (changed(lambda x: x[None]), r"shape \(1, 120, 50\) for one of \(120, 50\)"),
    "another tree": (lambda key, tree, std: jax.tree.leaves(privacy.gaussian(key, tree, std)), "a tree PyTreeDef"),
    "NaN": (changed(lambda x: jnp.where(x > 3, jnp.nan, x)), "NaN or infinite"),
    "a callback without the key": (
        lambda key, tree, std: privacy.secure_gaussian(lambda count: np.full(count, 12345, np.uint32))(key, tree, std),
        "root mean square",
    ),
    "one callback for all models": (
        lambda key, tree, std: jax.tree.map(
            lambda x: std * jax.experimental.io_callback(
                lambda: np.random.default_rng().normal(size=x.shape).astype(np.float32),
                jax.ShapeDtypeStruct(x.shape, jnp.float32),
            ),
            tree,
        ),
        "two models that are trained side by side",
    ),
}  # fmt: skip


@pytest.mark.parametrize("noise, says", BAD.values(), ids=BAD)
def test_noise_that_is_not_what_is_priced_is_refused(noise, says):
    with pytest.raises(ValueError, match=f"noise: asked for standard deviation .*{says}"):
        try_noise(noise, STD)


GOOD = {
    "split by leaf": (leafwise(jax.random.normal), False),
    "of another generator": (
        lambda key, tree, std: privacy.gaussian(jax.random.key(jax.random.bits(key), impl="rbg"), tree, std), False,
    ),
    "a traced deviation": (leafwise(jax.random.normal), True),
    "the operating system's": (privacy.secure_gaussian(privacy.os_words), False),
    "AES, traced": (privacy.secure_gaussian(privacy.aes_words()), True),
}  # fmt: skip


@pytest.mark.parametrize("noise, traced", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("std", [1e-3, 40.0])
def test_right_noise_passes(noise, traced, std):
    try_noise(noise, std, traced)


def test_bad_noise_enters_no_private_gradients_and_nothing_is_priced_before():
    model, loss, rule = models.create("mlp", 3, hidden=(4,)), losses.cross_entropy(), clippings.flat(1.0)
    bad = BAD["half of it"][0]
    with pytest.raises(ValueError, match="noise: asked for standard deviation 2, this function gives 0.99"):
        privacy.private_gradients(privacy.example_loss(model, loss), rule, 2.0, 10, noise=bad)
    run = dict(n=100, batch_size=10, epochs=1, delta=1e-4, noise=bad)
    with pytest.raises(ValueError, match="noise: asked for"):
        privacy.private_training(model, loss, rule, target_epsilon=-1.0, **run)  # the budget is looked at later
    with pytest.raises(ValueError, match="noise: asked for"):
        privacy.private_training(model, loss, clippings.quantile(1.0), noise_multiplier=1.0, **run)
    privacy.private_gradients(privacy.example_loss(model, loss), rule, 0.0, 10, noise=bad)  # nothing is private
    with pytest.raises(ValueError, match=r"noise=None must be a function \(key, tree, std\) -> noise"):
        privacy.private_training(model, loss, rule, noise_multiplier=1.0, **{**run, "noise": None})


def test_noise_is_tried_once():
    calls = []

    def noise(key, tree, std):
        calls.append(std)
        return privacy.gaussian(jax.random.fold_in(key, 5), tree, std)

    loss = privacy.example_loss(models.create("mlp", 3, hidden=(4,)), losses.cross_entropy())
    privacy.private_gradients(loss, clippings.flat(1.0), 1.0, 10, noise=noise)
    count = len(calls)
    privacy.private_gradients(loss, clippings.flat(1.0), 1.0, 10, noise=noise)
    assert count > 0 and len(calls) == count
