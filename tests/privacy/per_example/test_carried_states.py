"""What layers change in the forward pass: refused, carried or dropped by whether it depends on the example.

The oracle of what is carried is plain training: without noise and clipping, over the whole data, it takes equal steps.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.privacy import augmentation, gradients
from gecko_jax.types import Batch, Examples

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 4)).astype(np.float32), RNG.integers(0, 3, 6).astype(np.int32)


class Frozen(nn.Module):
    """A frozen matrix, as LoRA's base, and a BatchNorm that only reads its statistics."""

    @nn.compact
    def __call__(self, x, train):
        x = x @ self.variable("base", "w", jnp.ones, (4, 4)).value
        return nn.Dense(4)(nn.BatchNorm(use_running_average=True)(x))


class Spectral(nn.Module):
    """Its state is a power iteration on the weights."""

    @nn.compact
    def __call__(self, x, train):
        return nn.SpectralNorm(nn.Dense(4))(x, update_stats=train)


class Counted(nn.Module):
    """The state of a schedule: how many steps were taken."""

    @nn.compact
    def __call__(self, x, train):
        steps = self.variable("schedule", "steps", lambda: jnp.zeros((), jnp.int32))
        if train:
            steps.value += 1
        return nn.Dense(4)(x) * (1 - 0.5 ** (steps.value + 1.0))


class Sown(nn.Module):
    """What layers note down: by appending, by adding up, and in Flax's own collection."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(4)(x)
        self.sow("intermediates", "hidden", x)
        self.sow("notes", "hidden", x)
        self.sow("penalties", "l2", jnp.sum(x**2), reduce_fn=jnp.add, init_fn=lambda: jnp.zeros(()))
        return x


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))


class Centered(nn.Module):
    """A statistic written by hand."""

    @nn.compact
    def __call__(self, x, train):
        mean = self.variable("seen", "mean", jnp.zeros, (4,))
        if train and not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * jnp.mean(x, axis=0)
        return nn.Dense(4)(x - mean.value[None])


class Always(nn.Module):
    """One that cannot even be evaluated without being changed."""

    @nn.compact
    def __call__(self, x, train):
        mean = self.variable("seen", "mean", jnp.zeros, (4,))
        if not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * jnp.mean(x, axis=0)
        return nn.Dense(4)(x - jnp.mean(x, axis=0, keepdims=True))


class Lifted(nn.Module):
    """A block as it is, or lifted."""

    block: type[nn.Module]
    how: str

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(self.lifted(x, train))

    def lifted(self, x, train):
        lift = dict(variable_axes={True: 0}, split_rngs={True: True})
        if self.how == "scan":
            return nn.scan(lambda block, x, _: (block(x, train), None), length=2, **lift)(self.block(), x, None)[0]
        if self.how == "vmap":
            return nn.vmap(lambda block, x: block(x, train), in_axes=None, axis_size=2, **lift)(self.block(), x).sum(0)
        wrapper = {"plain": lambda block, **_: block, "remat": nn.remat, "jit": nn.jit}[self.how]
        return wrapper(self.block, static_argnums=(2,))()(x, train)


def step_of(module, **options):
    """(model, shapes of its variables, private gradient function without noise or clipping, plain one)."""
    model, loss = models.from_linen(module), losses.cross_entropy()
    of_one = privacy.example_loss(model, loss)
    private = gradients.private_gradients(of_one, clippings.flat(1e6), 0.0, len(X), **options)
    return model, jax.eval_shape(model.init, jax.random.key(0), X[:1]), private, training.batch_gradients(model, loss)


def traced_updates(private, variables):
    batch = Batch(X, Y, np.ones(len(X), np.float32))
    return jax.eval_shape(private, variables, batch, jax.random.key(1))[1].updates


HOWS = ("plain", "remat", "jit", "scan", "vmap")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("block", [Frozen, Spectral, Counted, Sown])
def test_what_does_not_depend_on_the_example_is_accepted(block, how):
    _, variables, private, _ = step_of(Lifted(block, how))
    updates = traced_updates(private, variables)
    # A training step scans over its state: what is carried must look as it did.
    before = {name: variables[name] for name in updates}
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, before)
    assert (block in (Spectral, Counted)) <= bool(updates) and not {"penalties", "params"} & set(updates)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("block", [Normalized, Centered, Always])
def test_a_statistic_over_the_batch_is_refused_by_its_layer(block, how):
    _, variables, private, _ = step_of(Lifted(block, how))
    layer = f"{block.__name__}_0" + ("/BatchNorm_0" if block is Normalized else "")
    with pytest.raises(ValueError, match=rf"layers \['(Checkpoint|Jit)?{layer}'\] keep statistics over the batch"):
        traced_updates(private, variables)


SGD = optax.sgd(0.5)


@pytest.mark.parametrize("block, how", [(Spectral, "plain"), (Spectral, "scan"), (Counted, "remat"), (Frozen, "jit")])
def test_what_is_carried_is_what_plain_training_carries(block, how):
    model, _, private, _ = step_of(Lifted(block, how), microbatch=4 if how == "plain" else None)
    init = jax.device_get(jax.jit(model.init)(jax.random.key(0), X[:1]))
    options = dict(optimizer=SGD, epochs=3, batch_size=len(X), init=init)
    data = Examples(X, Y, np.arange(len(X)))
    plain = training.fit(model, data, **options)
    fitted = training.fit(model, data, gradients=private, **options)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), fitted.variables, plain.variables)
    first = lambda variables, name: jax.tree.leaves(variables[name])[0]  # noqa: E731
    moved = {name for name in init if not np.array_equal(first(init, name), first(fitted.variables, name))}
    assert moved == {Spectral: {"params", "batch_stats"}, Counted: {"params", "schedule"}, Frozen: {"params"}}[block]


def test_augmentation_and_adaptive_rules_carry_them_too():
    model, rule = models.from_linen(Lifted(Counted, "plain")), clippings.quantile(1.0)
    adaptive = gradients.with_threshold(model, rule)
    of_one = augmentation.augmented(privacy.example_loss(adaptive, losses.cross_entropy()), lambda key, x: x, 2)
    private = gradients.private_gradients(of_one, rule, 1.0, 6.0)
    updates = traced_updates(private, jax.eval_shape(adaptive.init, jax.random.key(0), X[:1]))
    assert sorted(updates) == ["clipping", "schedule"] and updates["schedule"]["Counted_0"]["steps"].dtype == jnp.int32
