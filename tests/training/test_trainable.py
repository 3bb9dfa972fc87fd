"""`trainable=`: what it does not name stays as it is, to the bit, and the rest is trained as if it were alone."""

from __future__ import annotations

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from naive_training import assert_close, assert_same_bits, naive_fit, start_of, starts_of

from gecko_jax import clippings, losses, models, privacy, quantizers, training
from gecko_jax.trees import named_leaves
from gecko_jax.types import Batch, Model, Quantizer, StepMetrics

DECAYING = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.2, momentum=0.9))
SETTINGS = dict(epochs=2, batch_size=20)


def moved(before, after):
    """Names of the leaves that differ in a bit."""
    after = dict(named_leaves(after))
    return {name for name, leaf in named_leaves(before) if np.any(np.asarray(leaf) != np.asarray(after[name]))}


def head_of(mlp, start):
    """The model of the last layer alone, the first one's parameters its constants."""
    body = {name: tree for name, tree in start["params"].items() if name != "logits"}

    def apply(variables, x, **options):
        return mlp.apply({"params": {**body, **variables["params"]}}, x, **options)

    return Model(lambda key, x: {"params": {"logits": start["params"]["logits"]}}, apply)


@pytest.mark.parametrize("tx", [DECAYING, optax.adamw(1e-2, weight_decay=0.1)], ids=["momentum", "adamw"])
def test_the_rest_is_trained_as_a_loop_trains_it_alone(pool, mlp, tx):
    start = start_of(mlp, pool.x)
    fitted = training.fit(mlp, pool, init=start, optimizer=tx, trainable=["logits"], **SETTINGS)
    head = {"params": {"logits": start["params"]["logits"]}}
    expected = naive_fit(head_of(mlp, start), pool, np.ones(60, bool), head, tx, **SETTINGS)
    assert_close(fitted.variables["params"]["logits"], expected.variables["params"]["logits"])
    assert_same_bits(fitted.variables["params"]["dense1"], start["params"]["dense1"])
    np.testing.assert_allclose(fitted.loss, expected.loss, rtol=1e-5)


def test_privately_only_what_is_trained_is_clipped_by_numpy(pool, mlp):
    """Every example in every batch and no noise: a descent on clipped gradients of the head, in float64."""
    start, steps = start_of(mlp, pool.x), 4
    run = privacy.private_training(
        mlp, losses.cross_entropy(), clippings.flat(0.3), n=60, batch_size=60, epochs=steps, delta=1e-3,
        noise_multiplier=0.0, trainable=["logits"],
    )  # fmt: skip
    fitted = training.fit(run.model, pool, init=start, optimizer=optax.sgd(0.5), **run.options)
    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), start["params"])
    hidden = np.maximum(pool.x.astype(np.float64) @ tree["dense1"]["kernel"] + tree["dense1"]["bias"], 0)
    hidden = np.column_stack([hidden, np.ones(60)])
    weights = np.vstack([tree["logits"]["kernel"], tree["logits"]["bias"][None]])
    for _ in range(steps):
        logits = hidden @ weights
        posterior = np.exp(logits - logits.max(1, keepdims=True))
        posterior /= posterior.sum(1, keepdims=True)
        each = hidden[:, :, None] * (posterior - np.eye(10)[pool.y])[:, None]
        factors = np.minimum(1, 0.3 / np.sqrt((each**2).sum((1, 2))))
        weights = weights - 0.5 * (each * factors[:, None, None]).sum(0) / 60
    np.testing.assert_allclose(fitted.variables["params"]["logits"]["kernel"], weights[:-1], atol=2e-6)
    assert_same_bits(fitted.variables["params"]["dense1"], start["params"]["dense1"])


class Stopped(nn.Module):
    """A body behind stop_gradient, and a parameter that nothing reads."""

    @nn.compact
    def __call__(self, x):
        self.param("unread", nn.initializers.ones, (3,))
        return nn.Dense(10, name="head")(lax.stop_gradient(nn.relu(nn.Dense(8, name="body")(x))))


@pytest.mark.parametrize("private", [False, True])
def test_neither_weight_decay_nor_noise_moves_what_has_no_gradient_path(pool, private):
    model = models.from_linen(Stopped())
    start, options = start_of(model, pool.x), SETTINGS
    if private:
        options = privacy.private_training(
            model, losses.cross_entropy(), clippings.flat(1.0), n=60, batch_size=20, epochs=2, delta=1e-3,
            noise_multiplier=1.0,
        ).options  # fmt: skip
    fitted = training.fit(model, pool, init=start, optimizer=DECAYING, **options)
    assert moved(start, fitted.variables) == {"params/head/bias", "params/head/kernel"}


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train, name="first")(nn.Dense(6, name="body")(x))
        x = nn.BatchNorm(use_running_average=not train, name="second")(nn.Dense(6, name="middle")(x))
        return nn.Dense(10, name="head")(x)


@pytest.mark.parametrize(
    "trainable, statistics",
    [(["head"], {}), (["second", "head"], {"second"}), (["first/scale"], {"first"}), (["first/mean|head"], {"first"})],
)
def test_statistics_of_frozen_layers_stay(pool, trainable, statistics):
    """A layer's statistics move with its parameters. (`mean` alone is named where no parameter is.)"""
    model = models.from_linen(Normed())
    start = start_of(model, pool.x)
    fitted = training.fit(model, pool, init=start, optimizer=DECAYING, trainable=trainable, **SETTINGS)
    changed = {name.split("/")[1] for name in moved(start, fitted.variables) if name.startswith("batch_stats")}
    assert changed == set(statistics)


def test_learned_states_are_trained_with_the_layer_in_their_path(pool):
    deep = models.create("mlp", 10, hidden=(8, 8, 8))
    learned = Quantizer("learned", 8, lambda w: {"scale": jnp.ones(())}, lambda state, w, key=None: state["scale"] * w)
    model = models.quantized(deep, [("", learned, None)])
    start = jax.tree.map(np.asarray, model.init(jax.random.key(0), pool.x[:1]))
    fitted = training.fit(model, pool, init=start, optimizer=DECAYING, trainable=["dense2"], **SETTINGS)
    states = {"params/quantizers/weight:dense2/kernel/scale"}
    assert moved(start, fitted.variables) == {"params/dense2/bias", "params/dense2/kernel"} | states
    fitted = training.fit(model, pool, init=start, optimizer=DECAYING, trainable=["^quantizers"], **SETTINGS)
    assert moved(start, fitted.variables) == states | {"params/quantizers/weight:dense3/kernel/scale"}


def test_a_projection_leaves_the_frozen_ones_alone(pool):
    """BinaryConnect cuts latent weights to [-1, 1] after each update: not those that no update moves."""
    model = models.quantized(models.create("mlp", 10, hidden=(8, 8, 8)), [("", quantizers.binary_connect(), None)])
    start = start_of(model, pool.x)
    start = jax.tree.map(lambda leaf: 5 * leaf, start)
    options = dict(init=start, optimizer=DECAYING, **SETTINGS)
    frozen = training.fit(model, pool, trainable=["logits"], **options)
    assert moved(start, frozen.variables) == {"params/logits/bias", "params/logits/kernel"}
    assert "params/dense2/kernel" in moved(start, training.fit(model, pool, **options).variables)


def test_the_average_of_a_frozen_parameter_is_that_parameter(pool, mlp):
    model = training.with_average(mlp, 0.9)
    start = {**(plain := start_of(mlp, pool.x)), "average": {"params": plain["params"], "count": np.int32(0)}}
    fitted = training.fit(model, pool, init=start, optimizer=DECAYING, trainable=["logits"], **SETTINGS)
    assert_same_bits(training.averaged(fitted.variables)["params"]["dense1"], start["params"]["dense1"])


def test_an_adaptive_threshold_moves_on(pool, mlp):
    run = privacy.private_training(
        mlp, losses.cross_entropy(), clippings.quantile(1.0), n=60, batch_size=20, epochs=2, delta=1e-3,
        noise_multiplier=1.0, trainable=["logits/kernel"],
    )  # fmt: skip
    start = {**start_of(mlp, pool.x), "clipping": {"threshold": np.float32(1.0)}}
    fitted = training.fit(run.model, pool, init=start, optimizer=DECAYING, **run.options)
    assert moved(start, fitted.variables) == {"params/logits/kernel", "clipping/threshold"}


def test_ensembles_distillation_and_recipes_take_it(pool, mlp):
    starts, member = starts_of(mlp, pool.x, 2), np.ones((2, 60), bool)
    options = dict(optimizer=DECAYING, trainable="logits", **SETTINGS)
    for fitted in (
        training.fit_ensemble(mlp, pool, member, init=starts, **options),
        training.distill(mlp, pool, member, np.zeros((60, 10), np.float32), init=starts, **options),
    ):
        assert moved(starts, fitted.variables) == {"params/logits/bias", "params/logits/kernel"}
    one = start_of(mlp, pool.x)
    variables = training.Recipe(mlp, pool, init=one, **options)(range(60), jax.random.key(0))
    assert moved(one, variables) == {"params/logits/bias", "params/logits/kernel"}


def test_a_gradient_of_ones_own_is_held_to_it(pool, mlp):
    def gradients(variables, batch, key):
        ones = jax.tree.map(jnp.ones_like, variables["params"])
        return ones, StepMetrics(jnp.float32(0), jnp.float32(0), jnp.float32(len(batch.y)), {})

    start = start_of(mlp, pool.x)
    fitted = training.fit(mlp, pool, init=start, gradients=gradients, trainable=["dense1/bias"], **SETTINGS)
    assert moved(start, fitted.variables) == {"params/dense1/bias"}


BAD = {
    "a typo": (["logit_"], "trainable: 'logit_' is found in no parameter's path.*are: dense1/bias, dense1/kernel"),
    "one typo of two": (["logits", "dense9"], "trainable: 'dense9' is found in no parameter's path"),
    "nothing": ([], r"trainable=\[\] trains nothing"),
    "a broken expression": (["["], r"trainable: '\[' is not a regular expression"),
    "a number": ([1], "trainable holds 1; expected regular expressions"),
}


@pytest.mark.parametrize("trainable, says", BAD.values(), ids=BAD)
def test_expressions_that_train_nothing_are_refused_before_a_folder_is_claimed(pool, mlp, tmp_path, trainable, says):
    folder, options = tmp_path / "run", dict(trainable=trainable, **SETTINGS)
    for init in (None, start_of(mlp, pool.x)):
        with pytest.raises(ValueError, match=says):
            training.fit(mlp, pool, init=init, folder=folder, **options)
    assert not folder.exists()
    private = dict(n=60, batch_size=20, epochs=1, delta=1e-3, noise_multiplier=1.0, trainable=trainable)
    with pytest.raises(ValueError, match=says):
        run = privacy.private_training(mlp, losses.cross_entropy(), clippings.flat(1.0), **private)
        training.fit(run.model, pool, **run.options)


def test_only_frozen_parameters_named_is_refused_with_the_paths(pool):
    says = r"every parameter is frozen.*trainable=\('body',\) names only.*head/kernel, unread"
    with pytest.raises(ValueError, match=says):
        training.fit(models.from_linen(Stopped()), pool, trainable=["body"], **SETTINGS)


def test_private_gradients_and_fit_agree_on_it(pool, mlp):
    loss = privacy.example_loss(mlp, losses.cross_entropy())
    private = privacy.private_gradients(loss, clippings.flat(1.0), 1.0, 20, trainable=["logits"])
    with pytest.raises(ValueError, match=r"trainable=\('dense1',\), but the private gradients were made .*'logits'"):
        training.fit(mlp, pool, gradients=private, trainable=["dense1"], **SETTINGS)
    everything = privacy.private_gradients(loss, clippings.flat(1.0), 1.0, 20)
    with pytest.raises(ValueError, match="trainable=None: they clip the norm"):
        training.fit(mlp, pool, gradients=everything, trainable=["logits"], **SETTINGS)
    start = start_of(mlp, pool.x)
    fitted = training.fit(mlp, pool, gradients=private, init=start, optimizer=DECAYING, **SETTINGS)
    assert moved(start, fitted.variables) == {"params/logits/bias", "params/logits/kernel"}


def test_a_folder_knows_what_was_trained(pool, mlp, tmp_path):
    options = dict(init=start_of(mlp, pool.x), folder=tmp_path / "run", **SETTINGS)
    first = training.fit(mlp, pool, trainable=["logits"], **options)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["trainable"] == ["logits"]
    assert_same_bits(training.fit(mlp, pool, trainable=["logits"], **options).variables, first.variables)
    for other in (None, ["logits/kernel"]):
        with pytest.raises(ValueError, match=r"holds another run .*trainable was \['logits'\], is"):
            training.fit(mlp, pool, trainable=other, **options)


def test_the_optimizer_holds_no_state_of_the_frozen_ones(pool, mlp):
    """Momentum and moments are those of the head alone, which is what a checkpoint of a large backbone stores."""
    from gecko_jax.training.start import start_states
    from gecko_jax.training.step import UpdateRule

    starts = starts_of(mlp, pool.x, 1)
    state = start_states(UpdateRule(mlp, None, optax.adam(1e-3), ("logits",)), pool.x[:1], 0, (0,), starts)
    shapes = {leaf.shape for leaf in jax.tree.leaves(state.optimizer)}
    assert shapes == {(1,), (1, 10), (1, 8, 10)}


def test_a_plain_gradient_of_a_frozen_leaf_is_zero(pool, mlp):
    gradients = training.batch_gradients(mlp, losses.cross_entropy(), trainable=["logits"])
    batch = Batch(pool.x[:5], pool.y[:5], np.ones(5, np.float32))
    slopes, _ = gradients(start_of(mlp, pool.x), batch, jax.random.key(0))
    assert not np.any(slopes["dense1"]["kernel"]) and np.any(slopes["logits"]["kernel"])
