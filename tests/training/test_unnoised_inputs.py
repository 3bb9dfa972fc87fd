"""In a private run nothing but noised gradients carries the inputs' values into the variables."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.types import Examples

ROWS = 16
DATA = Examples(np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32), np.arange(ROWS, dtype=np.int32) % 2)
MLP = models.create("mlp", 2, hidden=())


def moved(amount):
    return lambda variables, x: {**variables, "params": jax.tree.map(lambda p: p + amount(x), variables["params"])}


def scaled(amount):
    return lambda variables, x: jax.tree.map(lambda p: jnp.ones_like(p) * amount(x), variables["params"])


class Initialized(nn.Module):
    """A layer whose start is made of the inputs that it first sees, as data-dependent initializations are."""

    reads: bool

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", lambda _: jnp.std(x) if self.reads else jnp.float32(x.shape[-1]))
        return nn.Dense(2)(x / scale)


def counted(size):
    return models.with_collection(MLP, "seen", lambda _: jnp.zeros(4), lambda seen, variables, x: seen + size(x))


READS = {
    "hook": MLP._replace(after_update=(moved(jnp.mean),)),
    "hook behind a branch": MLP._replace(
        after_update=(moved(lambda x: jax.lax.cond(x[0, 0] > 0, lambda: 1.0, lambda: 0.0)),)
    ),
    "second hook": MLP._replace(after_update=(moved(len), moved(lambda x: jax.lax.stop_gradient(x[0, 0])))),
    "rates": MLP._replace(rates=(scaled(jnp.std),)),
    "collection": counted(lambda x: x.mean(0)),
    "init": models.from_linen(Initialized(True)),
}
SHAPES = {
    "hook": MLP._replace(after_update=(moved(lambda x: 0.001 * x.shape[0]),)),
    "rates": MLP._replace(rates=(scaled(lambda x: 1 / x.shape[1]),)),
    "collection": counted(len),
    "init": models.from_linen(Initialized(False)),
}


def private(model, noise_multiplier=1.0):
    gradients = privacy.private_gradients(
        privacy.example_loss(model, losses.cross_entropy()), clippings.flat(1.0), noise_multiplier, 8.0
    )
    return dict(gradients=gradients, sampling=privacy.poisson(ROWS, 8, steps=2), epochs=1, seed=0)


def without_gradients(model, x):
    """What the variables become on inputs x if every gradient is 0: the oracle, by values and not by the program."""
    variables = model.init(jax.random.key(0), x[:1])
    updates = jax.tree.map(jnp.ones_like, variables["params"])
    for rates in model.rates:
        updates = jax.tree.map(jnp.multiply, updates, rates(variables, x))
    for hook in model.after_update:
        variables = hook(variables, x)
    return jax.tree.leaves((variables, updates))


def depends(model):
    one, other = without_gradients(model, DATA.x[:8]), without_gradients(model, -2 * DATA.x[:8])
    return any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", READS)
def test_values_of_inputs_that_go_around_the_noise_are_refused(name):
    model = READS[name]
    assert depends(model)
    with pytest.raises(ValueError, match=r"computes .* from the values of x, .* not be private"):
        training.fit(model, DATA, **private(model))


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_of_inputs_are_public(name):
    model = SHAPES[name]
    assert not depends(model)
    training.fit(model, DATA, **private(model))


@pytest.mark.parametrize("name", ["hook", "init"])
def test_a_run_without_noise_may_read_its_inputs(name):
    training.fit(READS[name], DATA, epochs=1)
    training.fit(READS[name], DATA, **private(READS[name], noise_multiplier=0.0))


def test_a_start_from_public_inputs_is_accepted():
    model = READS["init"]
    start = model.init(jax.random.key(0), np.eye(4, dtype=np.float32))
    training.fit(model, DATA, init=start, **private(model))
