"""Chains of hooks: who runs when, that none is lost, and a collection that the model's own functions never see."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gecko_jax import models, quantizers, training
from gecko_jax.hooks import finish_update, with_collection
from gecko_jax.quantizers import straight_through
from gecko_jax.types import Examples, Model, Quantizer

KEY = jax.random.key(0)
DENSE = models.from_linen(nn.Dense(3, use_bias=False))
RNG = np.random.default_rng(0)
POOL = Examples(RNG.normal(size=(20, 4)).astype(np.float32), RNG.integers(0, 3, 20).astype(np.int32), np.arange(20))
MASK = RNG.random((4, 3)) < 0.5
START = np.where(MASK, RNG.uniform(-1, 1, (4, 3)), 0).astype(np.float32)
RULES = [(".*", quantizers.binary_connect(), None)]


def kernel_of(variables):
    return variables["params"]["kernel"]


def masked(model):
    """A toy pruning transform: weights outside of MASK are 0 after each update."""

    def hook(variables, x):
        return {**variables, "params": {**variables["params"], "kernel": kernel_of(variables) * MASK}}

    return model._replace(after_update=(*model.after_update, hook))


def slowed(model):
    """A toy transform of the rates: the first row of the weight learns at a tenth."""

    def rates(variables, x):
        factors = jax.tree.map(lambda leaf: 1.0, variables["params"])
        return {**factors, "kernel": jnp.ones((4, 1)).at[0].set(0.1)}

    return model._replace(rates=(*model.rates, rates))


def pushed(model):
    """A hook that does not commute with a clip: it adds 0.75."""

    def hook(variables, x):
        return jax.tree.map(lambda leaf: leaf + 0.75, variables)

    return model._replace(after_update=(*model.after_update, hook))


def under_binary_connect(model):
    return models.quantized(model, RULES, float_layers=())


@pytest.mark.parametrize("transforms", list(itertools.permutations([masked, slowed, under_binary_connect])))
def test_a_mask_a_rate_and_binary_connect_s_clip_hold_in_every_nesting(transforms):
    """Against a loop by hand: update times both rates, clip, mask."""
    model = DENSE
    for transform in transforms:
        model = transform(model)
    start = {"params": {"kernel": START}}
    settings = dict(optimizer=optax.sgd(0.5), epochs=3, batch_size=20)
    fitted = training.fit(model, POOL, init=start, **settings)

    w = jnp.asarray(start["params"]["kernel"])
    rate = np.sqrt((4 + 3) / 1.5) * np.asarray([[0.1], [1], [1], [1]], np.float32)
    for _ in range(3):
        signs = jnp.where(w >= 0, 1.0, -1.0)
        loss = lambda s: optax.softmax_cross_entropy_with_integer_labels(POOL.x @ s, POOL.y).mean()  # noqa: E731
        w = MASK * jnp.clip(w - 0.5 * rate * jax.grad(loss)(signs), -1, 1)
    np.testing.assert_allclose(kernel_of(fitted.variables), w, rtol=1e-4, atol=1e-6)
    assert np.abs(kernel_of(fitted.variables)).max() <= 1 and not kernel_of(fitted.variables)[~MASK].any()
    assert (kernel_of(fitted.variables)[MASK] != kernel_of(start)[MASK]).any()


def test_the_clip_comes_first_and_the_model_s_own_hooks_have_the_last_word():
    far = {"params": {"kernel": jnp.full((4, 3), 5.0)}}
    for model in (under_binary_connect(pushed(DENSE)), pushed(under_binary_connect(DENSE))):
        assert (kernel_of(finish_update(model, far, POOL.x)) == 1.75).all()


def test_a_hook_does_not_see_what_quantizers_learn_and_does_not_lose_it():
    def apply(state, w, key=None):
        return straight_through(jnp.sign(w), w) * state["s"]

    step = Quantizer("step", 4, lambda w: {"s": jnp.ones(())}, apply)
    model = models.quantized(masked(slowed(DENSE)), [(".*", step, None)], float_layers=())
    variables = model.init(KEY, POOL.x)
    after = finish_update(model, variables, POOL.x)
    assert jax.tree.structure(after) == jax.tree.structure(variables) and len(jax.tree.leaves(after)) == 2
    assert jax.tree.structure(model.rates[0](variables, POOL.x)) == jax.tree.structure(variables["params"])
    assert not kernel_of(after)[~MASK].any()


def test_a_collection_is_hidden_from_the_model_and_its_hooks():
    asked = []

    def see(result):
        return lambda variables, *rest, **options: asked.append(set(variables)) or result(variables)

    model = Model(
        lambda key, x: {"params": jnp.zeros(2)},
        see(lambda variables: (variables["params"], {})),
        skipped=see(lambda variables: frozenset()),
        weights=see(lambda variables: {}),
        after_update=(see(lambda variables: {"params": variables["params"] + 1}),) * 2,
        rates=(see(lambda variables: {"params": 2.0}),),
    )
    add = lambda count, variables, x: count + variables["params"][0]  # noqa: E731
    counted = with_collection(model, "count", lambda variables: 10, add)
    both = with_collection(counted, "constant", lambda variables: dict(variables))
    variables = both.init(KEY, None)
    assert variables["count"] == 10 and set(variables["constant"]) == {"params", "count"}
    both.apply(variables, None, train=True)
    for function in (both.skipped, both.weights, *both.rates):
        function(variables, None)
    after = finish_update(both, variables, None)
    assert asked == [{"params"}] * 6
    assert after["params"].tolist() == [2, 2] and after["count"] == 12 and after["constant"] == variables["constant"]


def test_a_collection_of_a_name_that_is_taken_is_refused():
    twice = with_collection(with_collection(DENSE, "mask", lambda _: {}), "mask", lambda _: {})
    with pytest.raises(ValueError, match="collection 'mask' already: put the transform that adds it on once"):
        twice.init(KEY, POOL.x)
