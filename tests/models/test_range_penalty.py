"""A range penalty joins whatever loss a model is trained with; nothing else sees it."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from gecko_jax import activations, clippings, losses, models, privacy, quantizers, training
from gecko_jax.types import Batch, Examples

RNG = np.random.default_rng(0)
DATA = Examples(3 * RNG.normal(size=(10, 4)).astype(np.float32), RNG.integers(0, 3, 10).astype(np.int32))
NET = models.create("mlp", 3, hidden=(5, 4))
PILLAR = models.with_range_penalty(NET, activations.pillar(1.5, power=4.0), weight=0.02)
START = jax.tree.map(np.asarray, jax.jit(PILLAR.init)(jax.random.key(0), DATA.x[:1]))
SGD = optax.sgd(0.1)


def by_hand(params, x, y):
    """(loss, penalty) of one example, written out."""
    h, penalty = x, 0.0
    for i in (1, 2):
        z = h @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"]
        penalty, h = penalty + jnp.mean((jnp.abs(z) / 1.5) ** 4), jnp.maximum(z, 0)
    logits = h @ params["logits"]["kernel"] + params["logits"]["bias"]
    return -jax.nn.log_softmax(logits)[y], 0.02 * penalty


@functools.cache
def each_row():
    """(loss, penalty) [10] of each example under START and the gradients of their sum, by one compiled program."""

    def total(params, x, y):
        parts = by_hand(params, x, y)
        return sum(parts), parts

    gradient = jax.vmap(jax.grad(total, has_aux=True), (None, 0, 0))
    slopes, parts = jax.tree.map(np.asarray, jax.jit(gradient)(START["params"], DATA.x, DATA.y))
    return parts, slopes


def one_step(rows):
    return jax.tree.map(lambda p, g: p - 0.1 * g[rows].mean(0), START["params"], each_row()[1])


def assert_close(actual, expected, rtol=1e-4, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), actual, expected)


def test_training_descends_loss_and_penalty_of_the_real_rows():
    member = np.arange(10) < 7  # three slots of the batch are padding
    fitted = training.fit(PILLAR, DATA, member, epochs=1, batch_size=10, optimizer=SGD, init=START)
    assert_close(fitted.variables["params"], one_step(np.arange(7)))
    np.testing.assert_allclose(fitted.loss, [sum(each_row()[0])[:7].mean()], rtol=1e-5)
    logits = training.predict(NET, models.without_penalty_state(START), DATA.x)
    np.testing.assert_allclose(fitted.metrics["accuracy"], [(logits.argmax(-1) == DATA.y)[:7].mean()], rtol=1e-6)


def test_evaluation_knows_no_penalty():
    plain = models.without_penalty_state(START)
    assert set(plain) == {"params"} and set(START) == {"params", "penalty_weight", "penalty_power"}
    np.testing.assert_array_equal(training.predict(PILLAR, START, DATA.x), training.predict(NET, plain, DATA.x))
    expected = -log_softmax(training.predict(NET, plain, DATA.x), -1)[np.arange(10), DATA.y]
    np.testing.assert_allclose(training.evaluate(PILLAR, START, DATA).losses, expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["vmap", "bookkeeping"])
def test_private_gradients_clip_loss_and_penalty_together(method):
    gradients = privacy.private_gradients(
        privacy.example_loss(PILLAR, losses.cross_entropy()), clippings.flat(4.0), 0.0, 10.0, method=method
    )
    batch = Batch(jnp.asarray(DATA.x), jnp.asarray(DATA.y), jnp.ones(10))
    summed, _ = jax.jit(gradients)(START, batch, jax.random.key(0))
    slopes = each_row()[1]
    norms = np.sqrt(sum((g**2).reshape(10, -1).sum(1) for g in jax.tree.leaves(slopes)))
    factors = np.minimum(1.0, 4.0 / norms)
    assert 0 < (factors < 1).sum() < 10
    assert_close(summed, jax.tree.map(lambda g: np.tensordot(factors, g, 1) / 10, slopes), rtol=1e-3)


def widest(variables):
    h, width = DATA.x, 0.0
    for i in (1, 2):
        layer = variables["params"][f"dense{i}"]
        z = h @ layer["kernel"] + layer["bias"]
        width, h = max(width, np.abs(z).max()), np.maximum(z, 0)
    return width


def test_distillation_and_a_recipe_keep_the_values_in_range():
    options = dict(epochs=30, batch_size=10, optimizer=optax.adam(0.05))
    teacher, every = np.eye(3, dtype=np.float32)[DATA.y], np.ones((1, 10), bool)
    outside, extremes = (
        models.with_range_penalty(NET, penalty(2.0), weight=1.0)
        for penalty in (activations.outside, activations.extremes)
    )
    distilled = training.distill(outside, DATA, every, teacher, **options).variables
    repeated = training.Recipe(extremes, DATA, **options)(range(10), jax.random.key(0))
    free = widest(training.fit(NET, DATA, **options).variables)
    assert widest(repeated) < 0.5 * free > widest(jax.tree.map(lambda leaf: leaf[0], distilled))


def test_weight_and_power_are_what_schedules_set():
    settings = dict(epochs=2, batch_size=10, optimizer=SGD, init=START)
    scheduled = {"penalty_power": training.linear(0, 0.5, 4, 10), "penalty_weight": lambda share: 0.02 + share}
    fitted = training.fit(PILLAR, DATA, schedules=scheduled, **settings)
    assert fitted.variables["penalty_power"]["power"] == 10
    np.testing.assert_allclose(fitted.variables["penalty_weight"]["weight"], 0.52)
    assert np.abs(fitted.loss - training.fit(PILLAR, DATA, **settings).loss)[1] > 1e-3
    outside = models.with_range_penalty(NET, activations.outside())
    with pytest.raises(ValueError, match="would change nothing, because the model has no collection 'penalty_power'"):
        training.fit(outside, DATA, schedules=scheduled, epochs=2)


def test_it_composes_with_other_transforms_and_is_saved(tmp_path):
    rules = [("dense1", quantizers.binary(), None)]
    model = training.with_average(models.quantized(PILLAR, rules, ()), 0.9)
    assert np.isfinite(training.fit(model, DATA, epochs=1).loss).all()
    models.save(tmp_path, PILLAR, START, DATA.x)
    saved = models.load(tmp_path)
    assert saved.model.blueprint == PILLAR.blueprint
    pair = [model.apply(START, DATA.x, train=True)[0].penalty for model in (saved.model, PILLAR)]
    np.testing.assert_array_equal(*pair)


def test_gradients_of_the_model_without_its_penalty_are_refused():
    for make in (training.batch_gradients, private):
        with pytest.raises(ValueError, match="has a range penalty, which the gradients do not follow"):
            training.fit(PILLAR, DATA, epochs=1, batch_size=10, gradients=make(NET, losses.cross_entropy()))
        fitted = training.fit(PILLAR, DATA, epochs=1, batch_size=10, gradients=make(PILLAR, losses.cross_entropy()))
        assert np.isfinite(fitted.loss).all()


def private(model, loss):
    return privacy.private_gradients(privacy.example_loss(model, loss), clippings.flat(1.0), 0.0, 10.0)


def test_another_weight_is_another_run(tmp_path):
    training.fit(PILLAR, DATA, epochs=1, folder=tmp_path)
    other = models.with_range_penalty(NET, activations.pillar(1.4, power=4.0), weight=0.02)
    with pytest.raises(ValueError, match="program"):
        training.fit(other, DATA, epochs=1, folder=tmp_path)


def test_a_path_chooses_the_activations():
    first = models.with_range_penalty(NET, activations.pillar(1.5, power=4.0), 0.02, path="block1/")
    z = DATA.x @ START["params"]["dense1"]["kernel"] + START["params"]["dense1"]["bias"]
    penalty = first.apply(START, DATA.x, train=True)[0].penalty
    np.testing.assert_allclose(penalty, 0.02 * ((np.abs(z) / 1.5) ** 4).mean(-1), rtol=1e-4)


def test_a_mixture_is_penalized_once():
    net = models.create("mlp", 3, hidden=(5, 4), activation="mixed_relu")
    model = models.with_range_penalty(net, activations.pillar(1.5, power=4.0), weight=0.02)
    variables = {**START, "mixture": model.init(jax.random.key(0), DATA.x[:1])["mixture"]}  # share 0: ReLU alone
    traced = jax.jit(lambda variables: model.apply(variables, DATA.x, train=True)[0].penalty)(variables)
    np.testing.assert_allclose(traced, each_row()[0][1], rtol=1e-4)


class Remat(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.remat(activations.Relu)()(nn.Dense(4)(x)))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: models.with_range_penalty(NET, "pillar"), "penalty='pillar' must be a RangePenalty"),
        (lambda: models.with_range_penalty(NET, activations.outside(), weight=0.0), "weight=0.0 must be"),
        (lambda: models.with_range_penalty(NET, activations.outside(), path="("), "is not a regular expression"),
        (lambda: models.with_range_penalty(NET, activations.outside(), path="block9"), "'block9' matches, so that"),
        (
            lambda: models.with_range_penalty(models.from_linen(nn.Dense(3)), activations.outside()),
            "calls no activation of gecko_jax.activations",
        ),
        (lambda: models.with_range_penalty(models.from_linen(Remat()), activations.outside()), "runs inside nn.jit"),
        (lambda: models.with_range_penalty(PILLAR, activations.outside()), "'penalty_weight' already"),
    ],
)
def test_a_penalty_that_nothing_reads_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        training.fit(make(), DATA, epochs=1)
