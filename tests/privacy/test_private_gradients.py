"""The private step against closed forms: what is noised, how much, what it is divided by, what moves the threshold."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from test_clipped_sum import KEY, check_equal, compiled

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.privacy import gradients, sampling
from gecko_jax.privacy.accounting import epsilon as accounting
from gecko_jax.privacy.noise import gaussian
from gecko_jax.privacy.per_example.clipped import clipped_sum
from gecko_jax.types import Batch, Examples, Loss

EXPECTED = 7.3  # no integer, and not the size of any batch here
SIGMA = 1.7
RARE = 1e-8  # how often each statistical check may fail where nothing is wrong; keys are fixed, so it never will
SHAPES = {"a": (60, 50), "b": (60, 50)}
RULES = {"flat": clippings.flat(5.0), "per_layer": clippings.per_layer({"a": 3.0, "b": 4.0})}
QUANTILE = clippings.quantile(1.0, quantile=0.3, learning_rate=0.25)


def loss_of_rows(params, row, key):
    """A few rows of each parameter have gradients: x, times 1 and times 2."""
    return row.x @ params["a"][0] + 2 * row.x @ params["b"][1]


def variables_at(threshold=None):
    zeros = {"params": {name: jnp.zeros(shape) for name, shape in SHAPES.items()}}
    return zeros if threshold is None else {**zeros, "clipping": {"threshold": jnp.float32(threshold)}}


def rows(weight=(1, 1, 0, 1, 1), scale=1.0):
    x = np.random.default_rng(8).normal(size=(len(weight), 50)).astype(np.float32) * np.float32(scale)
    return Batch(x, np.zeros(len(weight), np.int32), np.asarray(weight, np.float32))


def step(rule, noise_multiplier=SIGMA, **options):
    """A compiled private step of `loss_of_rows`."""

    def loss(variables, row, key):
        return loss_of_rows(variables["params"], row, key)

    return compiled(gradients.private_gradients(loss, rule, noise_multiplier, EXPECTED, **options))


def the_sum(rule, batch):
    """The clipped sum with nothing on it, by closed form: the gradients are x and 2 x."""
    total = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for x, weight in zip(batch.x.astype(np.float64), batch.weight, strict=True):
        length = np.linalg.norm(x)
        if rule.groups:
            factors = min(1, 3 / length), min(1, 4 / (2 * length))
        else:
            factors = (min(1, 5 / (np.sqrt(5) * length)),) * 2
        total["a"][0] += weight * factors[0] * x
        total["b"][1] += weight * factors[1] * 2 * x
    return total


def check_spread(values, std, mean=0.0):
    """Whether values are normal of a mean and a standard deviation, by chi-square and z, to both sides."""
    values = np.asarray(values, np.float64).ravel() - mean
    n = values.size
    squares = np.sum((values / std) ** 2)
    low, high = stats.chi2.ppf(RARE, n), stats.chi2.isf(RARE, n)
    assert low < squares < high, f"std {np.sqrt(squares / n) * std:.4g}, not {std:.4g}"
    assert abs(values.mean()) < stats.norm.isf(RARE) * std / np.sqrt(n), f"mean {values.mean():.3g}"


def check_unrelated(one, other):
    one, other = np.ravel(one).astype(np.float64), np.ravel(other).astype(np.float64)
    assert abs(np.corrcoef(one, other)[0, 1]) < stats.norm.isf(RARE) / np.sqrt(one.size)


def check_noise(kind="flat", microbatch=None):
    """Noise stands on the sum, its standard deviation is multiplier * sensitivity, and each leaf has its own."""
    batch = rows()
    gradients, _ = step(RULES[kind], microbatch=microbatch)(variables_at(), batch, KEY)
    noise = jax.tree.map(lambda got, total: got * EXPECTED - total, gradients, the_sum(RULES[kind], batch))
    for leaf in noise.values():
        check_spread(leaf, SIGMA * 5.0)
    check_unrelated(noise["a"], noise["b"])


@pytest.mark.parametrize("kind, microbatch", [("flat", None), ("flat", 2), ("per_layer", None)])
def test_noise_is_on_the_sum(kind, microbatch):
    check_noise(kind, microbatch)


def check_divisor():
    """The expected batch size divides, whatever the size of the batch that was drawn."""
    for weight in ((1, 1, 0, 1, 1), (1, 0, 0, 0, 0)):
        batch = rows(weight)
        gradients, metrics = step(RULES["flat"], noise_multiplier=0.0)(variables_at(), batch, KEY)
        check_equal(gradients, jax.tree.map(lambda total: total / EXPECTED, the_sum(RULES["flat"], batch)))
        assert metrics.count == sum(weight)


def test_the_expected_batch_size_divides():
    check_divisor()


def check_empty_batch():
    """Nobody was drawn: noise alone, of the same size, and no NaN in the metrics."""
    batch = rows((0, 0, 0))
    gradients, metrics = step(RULES["flat"])(variables_at(), batch._replace(x=batch.x * np.nan), KEY)
    for leaf in gradients.values():
        check_spread(leaf, SIGMA * 5.0 / EXPECTED)
    assert metrics.loss == 0 and metrics.count == 0 and metrics.metric == 0


def test_an_empty_batch_gives_noise_alone():
    check_empty_batch()


def check_keys():
    """Equal keys give equal noise, others another."""
    private = step(RULES["flat"])
    one, again, other = (private(variables_at(), rows((0,) * 5), jax.random.key(k))[0] for k in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    for name in SHAPES:
        check_unrelated(one[name], other[name])


def test_two_keys_give_different_noise():
    check_keys()


def test_a_source_of_noise_can_be_given():
    seen = []

    def noise(key, tree, std):
        seen.append((float(std), jax.tree.map(jnp.shape, tree)))
        return gaussian(jax.random.fold_in(key, 1), tree, std)

    gradients, _ = step(RULES["flat"], noise=noise)(variables_at(), rows((0, 0)), KEY)
    assert seen[-1] == (SIGMA * 5.0, SHAPES)
    check_spread(gradients["b"], SIGMA * 5.0 / EXPECTED)
    usual, _ = step(RULES["flat"])(variables_at(), rows((0, 0)), KEY)
    check_unrelated(gradients["b"], usual["b"])


def check_noise_of_each_step():
    """Over a run of `training.fit` without gradients the noises add up as independent ones do."""
    steps, model = 6, models.from_linen(nn.Dense(10))
    data = Examples(np.ones((20, 300), np.float32), np.zeros(20, np.int32), np.arange(20))
    zeros = {"params": {"kernel": np.zeros((300, 10), np.float32), "bias": np.zeros(10, np.float32)}}
    nothing = Loss("nothing", lambda logits, example: 0.0 * jnp.sum(logits))
    private = gradients.private_gradients(privacy.example_loss(model, nothing), RULES["flat"], SIGMA, 10)
    fitted = training.fit(
        model, data, gradients=private, optimizer=optax.sgd(1.0), epochs=3, batch_size=10, init=zeros
    )
    check_spread(fitted.variables["params"]["kernel"], np.sqrt(steps) * SIGMA * 5.0 / 10)


def test_each_step_of_a_run_has_noise_of_its_own():
    check_noise_of_each_step()


def check_replace_one():
    """Replacing an example moves the sum by twice the sensitivity, and the accountant charges for that."""
    total = compiled(clipped_sum(loss_of_rows, RULES["flat"]))
    batch = rows((1, 1, 1), scale=1e3)
    other = batch._replace(x=np.concatenate([-batch.x[:1], batch.x[1:]]))
    sums = [total(variables_at()["params"], each)[0] for each in (batch, other)]
    moved = np.linalg.norm([np.linalg.norm(a - b) for a, b in zip(*map(jax.tree.leaves, sums), strict=True)])
    np.testing.assert_allclose(moved, 2 * 5.0, rtol=1e-5)
    full = sampling.poisson(10, 10, 3)
    told = accounting.epsilon(full, SIGMA, 1e-3, "rdp", "replace_one")
    worth = accounting.epsilon(full, SIGMA * 5.0 / moved, 1e-3, "rdp", "add_or_remove")
    np.testing.assert_allclose(float(told), float(worth), rtol=1e-5)


def test_replace_one_is_charged_twice_the_sensitivity():
    check_replace_one()


def check_threshold_sets_the_noise():
    """An adaptive rule's noise follows the threshold in the variables, not the one it started from."""
    gradients, _ = step(QUANTILE)(variables_at(8.0), rows((0,) * 5), KEY)
    for leaf in gradients.values():
        check_spread(leaf, SIGMA * 8.0 / EXPECTED)


def check_count():
    """R exp(-eta (b - gamma)), b counted from the middle: over the expected size, padding and NaN as nobody or no."""
    batch = rows((1, 1, 0, 1, 1), scale=np.asarray([[0.01], [10.0], [10.0], [0.02], [np.nan]]))
    _, metrics = step(QUANTILE, count_noise=0.0)(variables_at(2.0), batch, KEY)
    centered = (0.5 - 0.5 + 0.5 - 0.5) / EXPECTED + 0.5  # below, above, (padding), below, NaN
    wanted = 2.0 * np.exp(-0.25 * (centered - 0.3))
    np.testing.assert_allclose(metrics.updates["clipping"]["threshold"], wanted, rtol=1e-5)
    shorter = batch._replace(weight=np.asarray([1, 0, 1, 1, 0], np.float32))
    _, metrics = step(QUANTILE, count_noise=0.0)(variables_at(2.0), shorter, KEY)
    wanted = 2.0 * np.exp(-0.25 * (0.5 / EXPECTED + 0.5 - 0.3))
    np.testing.assert_allclose(metrics.updates["clipping"]["threshold"], wanted, rtol=1e-5)


def check_count_noise(count_noise=None):
    """The threshold's logarithm is normal: -eta * count_noise / expected, a twentieth of the latter by default."""
    std = (EXPECTED / 20 if count_noise is None else count_noise) / EXPECTED
    batch = rows((1, 0), scale=0.01)

    def loss(variables, row, key):
        return row.x[:3] @ variables["params"]

    private = gradients.private_gradients(loss, QUANTILE, SIGMA, EXPECTED, count_noise=count_noise)
    variables = {"params": jnp.zeros(3), "clipping": {"threshold": jnp.float32(2.0)}}
    keys = jax.random.split(KEY, 2000)
    updates, metrics = compiled(jax.vmap(private, in_axes=(None, None, 0)))(variables, batch, keys)
    counted = 0.3 - np.log(np.asarray(metrics.updates["clipping"]["threshold"], np.float64) / 2.0) / 0.25
    check_spread(counted, std, mean=0.5 / EXPECTED + 0.5)
    check_unrelated(counted, np.asarray(updates)[:, 0])


@pytest.mark.parametrize("count_noise", [None, 2.0])
def test_the_count_is_noised(count_noise):
    check_count_noise(count_noise)


def test_the_count_is_centered_and_divided_by_the_expected_size():
    check_count()


def test_the_noise_follows_the_threshold():
    check_threshold_sets_the_noise()


SGD = optax.sgd(1e-3)


@pytest.mark.parametrize("rule", [QUANTILE, clippings.global_adapt(0.5, threshold=2.0)], ids=lambda rule: rule.name)
def test_fit_moves_the_threshold_towards_the_norms(rule):
    """In its right direction, from far below all norms and from far above, and it is kept among the variables."""
    rng = np.random.default_rng(9)
    data = Examples(rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 3, 40), np.arange(40))
    plain = models.create("mlp", 3, hidden=(4,))
    model = gradients.with_threshold(plain, rule)
    private = gradients.private_gradients(privacy.example_loss(model, losses.cross_entropy()), rule, 0.5, 20)
    start = jax.tree.map(np.asarray, model.init(jax.random.key(0), data.x[:1]))
    assert float(start["clipping"]["threshold"]) == rule.start
    low, high = 0.5 if rule.name == "global_adapt" else 1e-3, 1e4
    for threshold, grows in ((low, True), (high, False)):
        init = {**start, "clipping": {"threshold": np.float32(threshold)}}
        options = dict(gradients=private, optimizer=SGD, epochs=2, batch_size=20, init=init, seed=0)
        after = float(training.fit(model, data, **options).variables["clipping"]["threshold"])
        assert (after > threshold * 1.05) if grows else (after < threshold * 0.95), (threshold, after)


def test_a_network_with_batch_statistics_is_refused_by_name():
    model = models.create("mlp", 10, normalize=True, hidden=(4,))
    batch = rows()
    private = gradients.private_gradients(privacy.example_loss(model, losses.cross_entropy()), RULES["flat"], 1.0, 5)
    variables = jax.eval_shape(model.init, jax.random.key(0), batch.x)
    with pytest.raises(ValueError, match=r"block1/BatchNorm_0'.* over the batch \(batch_stats\).*normalize=.group.\)"):
        jax.eval_shape(private, variables, batch, KEY)


class Frozen(nn.Module):
    """A frozen matrix beside the parameters."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x @ self.variable("base", "w", jnp.ones, (50, 4)).value)


def test_frozen_weights_beside_the_parameters_are_no_statistics():
    model, batch = models.from_linen(Frozen()), rows()
    private = gradients.private_gradients(privacy.example_loss(model, losses.cross_entropy()), RULES["flat"], 1.0, 5)
    variables = jax.eval_shape(model.init, jax.random.key(0), batch.x)
    update, metrics = jax.eval_shape(private, variables, batch, KEY)
    assert jax.tree.map(jnp.shape, update) == jax.tree.map(jnp.shape, variables["params"]) and metrics.updates == {}


def test_what_cannot_be_private_is_refused():
    def loss(variables, row, key):
        return row.x @ variables["params"]["a"].T

    for none in (None, 1.0, "flat"):
        with pytest.raises(ValueError, match="clipping=.* is not a rule of gecko_jax.clippings. Noise protects"):
            gradients.private_gradients(loss, none, 1.0, 5)
    with pytest.raises(ValueError, match="noise_multiplier=-1.0 must be at least 0"):
        gradients.private_gradients(loss, RULES["flat"], -1.0, 5)
    with pytest.raises(ValueError, match="expected_batch_size=0 must be a finite number above 0"):
        gradients.private_gradients(loss, RULES["flat"], 1.0, 0)
    with pytest.raises(ValueError, match="count_noise=1.0 needs an adaptive rule; 'flat' counts nothing"):
        gradients.private_gradients(loss, RULES["flat"], 1.0, 5, count_noise=1.0)
    with pytest.raises(ValueError, match=r"loss gave an array of shape \(60,\) for one example; expected a scalar"):
        gradients.private_gradients(loss, RULES["flat"], 1.0, 5)(variables_at(), rows(), KEY)
    with pytest.raises(ValueError, match="no group for the parameter 'b': its groups are"):
        step(clippings.per_layer({"a": 1.0}))(variables_at(), rows(), KEY)
    with pytest.raises(ValueError, match="variables has no collection 'clipping'.*'quantile'.*with_threshold"):
        step(QUANTILE)(variables_at(), rows(), KEY)
