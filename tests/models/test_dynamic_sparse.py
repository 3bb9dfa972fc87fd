"""Dynamic sparse training: constant numbers of weights, what drops, what grows, and what private training may see."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gecko_jax import clippings, compression, costs, integer, losses, models, privacy, quantizers, training
from gecko_jax.hooks import finish_update
from gecko_jax.models.dynamic_sparse import masked_slopes
from gecko_jax.types import Batch, Examples

RANDOM = np.random.default_rng(0)
X = RANDOM.random((24, 6)).astype(np.float32)
DATA = Examples(X, RANDOM.integers(0, 3, 24).astype(np.int32))


def network():
    return models.create("mlp", 3, hidden=(12,))


def masks_of(variables):
    return {name: np.asarray(mask) for name, mask in variables["pruning_masks"].items()}


def check_sparse(variables, start):
    """As many weights in every kernel as at the start, and zeros elsewhere."""
    for name, mask in masks_of(variables).items():
        layer, _, leaf = name.partition("/")
        kernel = np.ravel(variables["params"][layer][leaf])
        assert mask.sum() == start["pruning_masks"][name].sum()
        assert not kernel[~mask].any()


@pytest.fixture(scope="module")
def by_gradient():
    model = models.dynamic_sparse(network(), 0.3, "gradient", interval=2)
    return model, jax.jit(model.init)(jax.random.key(1), X)


def test_the_start_has_the_densities_of_its_distribution(by_gradient):
    shares = compression.erdos_renyi({"dense1/kernel": (6, 12), "logits/kernel": (12, 3)}, 0.3)
    for name, mask in masks_of(by_gradient[1]).items():
        assert mask.sum() == round(shares[name] * mask.size)
    check_sparse(by_gradient[1], by_gradient[1])


def test_a_move_drops_the_weakest_and_grows_where_the_gradient_is_largest(by_gradient):
    """Against a loop: RigL's algorithm 1, where a dropped weight may grow again and then stays as it is."""
    model, start = by_gradient
    growth = {name: RANDOM.normal(size=leaf.shape).astype(np.float32) for name, leaf in start["growth"].items()}
    before = {**start, "growth": growth, "drop": {"share": np.float32(0.4)}}
    waiting = finish_update(model, before, X)
    jax.tree.map(np.testing.assert_array_equal, waiting["params"], start["params"])
    after = finish_update(model, waiting, X)
    check_sparse(after, start)
    for name, mask in masks_of(start).items():
        layer, _, leaf = name.partition("/")
        weights, scores = (np.abs(np.ravel(each)) for each in (start["params"][layer][leaf], growth[name]))
        present = np.flatnonzero(mask)
        stay = set(present[np.argsort(weights[present], kind="stable")][int(0.4 * len(present)) :])
        absent = sorted(set(range(mask.size)) - stay, key=lambda place: -scores[place])
        expected = stay | set(absent[: len(present) - len(stay)])
        assert set(np.flatnonzero(masks_of(after)[name])) == expected
        same_places = [place for place in expected if place in set(present)]
        kernels = [np.ravel(each["params"][layer][leaf]) for each in (start, after)]
        np.testing.assert_array_equal(kernels[0][same_places], kernels[1][same_places])


def test_gradients_of_absent_weights_are_noted_and_not_followed(by_gradient):
    model, start = by_gradient
    batch = Batch(X, DATA.y, None)
    slopes, metrics = training.batch_gradients(model, losses.cross_entropy())(start, batch, None)
    plain = {"params": start["params"]}
    dense, _ = training.batch_gradients(network(), losses.cross_entropy())(plain, batch, None)
    for name, mask in masks_of(start).items():
        layer, _, leaf = name.partition("/")
        np.testing.assert_allclose(metrics.updates["growth"][name], dense[layer][leaf], atol=1e-7)
        expected = np.where(mask.reshape(dense[layer][leaf].shape), dense[layer][leaf], 0)
        np.testing.assert_allclose(slopes[layer][leaf], expected, atol=1e-7)
    running = {**start, "sparse_training": {**start["sparse_training"], "decay": np.float32(0.9)}}
    running["growth"] = {name: jnp.ones_like(leaf) for name, leaf in start["growth"].items()}
    _, growth = masked_slopes(running, dense)
    np.testing.assert_allclose(growth["logits/kernel"], 0.9 + dense["logits"]["kernel"], atol=1e-6)


def test_an_ensemble_trains_as_sparse_as_it_began(by_gradient):
    model = by_gradient[0]
    options = dict(epochs=4, batch_size=8, schedules={"drop": compression.cosine_drop(0.5, 0.8)})
    fitted = training.fit_ensemble(model, DATA, np.ones((2, 24), bool), seed=3, **options)
    start = jax.eval_shape(model.init, jax.random.key(0), X)
    for number in range(2):
        one = jax.tree.map(lambda leaf, number=number: leaf[number], fitted.variables)
        shares = compression.erdos_renyi({"dense1/kernel": (6, 12), "logits/kernel": (12, 3)}, 0.3)
        for name, mask in masks_of(one).items():
            layer, _, leaf = name.partition("/")
            assert mask.sum() == round(shares[name] * start["pruning_masks"][name].size)
            assert not np.ravel(one["params"][layer][leaf])[~mask].any()
    first, second = (np.asarray(fitted.variables["pruning_masks"]["dense1/kernel"])[i] for i in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(fitted.variables["sparse_training"]["step"], [12, 12])


def test_an_optimizer_forgets_what_was_dropped():
    """Momentum by hand: once absent, a weight has none, whatever it was moved by before."""
    inner = optax.sgd(0.1, momentum=0.9)
    optimizer = training.masked_momentum(inner)
    assert training.masked_momentum(inner) is optimizer
    params, slopes = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([1.0, 1.0])}
    state = optimizer.init(params)
    updates, state = optimizer.update(slopes, state, params)
    np.testing.assert_allclose(updates["w"], [-0.1, -0.1])
    updates, state = optimizer.update({"w": jnp.array([0.0, 0.0])}, state, {"w": jnp.array([0.0, 2.0])})
    np.testing.assert_allclose(updates["w"], [0.0, -0.09], rtol=1e-6)
    updates, _ = optimizer.update({"w": jnp.array([1.0, 0.0])}, state, {"w": jnp.array([0.0, 2.0])})  # it grows again
    np.testing.assert_allclose(updates["w"], [-0.1, -0.081], rtol=1e-6)


def test_private_training_grows_at_random_or_not_at_all(by_gradient):
    net = models.dynamic_sparse(network(), 0.3, interval=1)
    loss, options = losses.cross_entropy(), dict(n=24, batch_size=8, epochs=2, delta=1e-3, noise_multiplier=1.0)
    run = privacy.private_training(net, loss, clippings.flat(1.0), **options)
    fitted = training.fit(run.model, DATA, **run.options, seed=0).variables
    check_sparse(fitted, jax.jit(net.init)(jax.random.key(0), X))
    refused = privacy.private_training(by_gradient[0], loss, clippings.flat(1.0), **options)
    with pytest.raises(ValueError, match='gradients are private, and growth="gradient"'):
        training.fit(refused.model, DATA, **refused.options, seed=0)
    with pytest.raises(ValueError, match="gradients do not measure those of absent weights"):
        hidden = training.batch_gradients(by_gradient[0], loss)
        training.fit(by_gradient[0], DATA, gradients=lambda *each: hidden(*each), epochs=1, batch_size=8)


def test_it_composes_is_saved_and_is_stored_sparse(by_gradient, tmp_path):
    net, (model, start) = network(), by_gradient
    np.testing.assert_array_equal(model.apply(start, X)[0], net.apply(models.without_pruning_state(start), X)[0])
    models.save(tmp_path / "net", model, start, X)
    assert models.load(tmp_path / "net").model.blueprint == model.blueprint
    stored = integer.write(tmp_path / "packed", integer.pack(model, start, X))
    assert stored.total == (tmp_path / "packed").stat().st_size == costs.cost(model, start, X).stored_bytes.value
    assert stored.index_bytes > 0
    back = integer.read(tmp_path / "packed")
    jax.tree.map(np.testing.assert_array_equal, back, models.without_pruning_state(start))
    coded = models.dynamic_sparse(models.quantized(net, [("", quantizers.uniform(4), None)], float_layers=()), 0.2)
    variables = coded.init(jax.random.key(0), X)
    packed = integer.unpack(integer.pack(coded, variables, X))
    np.testing.assert_allclose(net.apply(packed, X)[0], coded.apply(variables, X)[0], rtol=1e-5)


def test_settings_are_checked():
    for options, message in [
        (dict(density=0.0), "density=0.0 must be a finite number above 0"),
        (dict(density=1.1), "density=1.1 must lie between 0 and 1"),
        (dict(growth="gradients"), "growth='gradients' is not known. Did you mean 'gradient'"),
        (dict(interval=0), "interval=0"),
        (dict(distribution="er"), "distribution='er' is not known"),
        (dict(path="("), "is not a regular expression"),
    ]:
        with pytest.raises(ValueError, match=message):
            models.dynamic_sparse(network(), **options)
    with pytest.raises(ValueError, match="path='conv' is found in no kernel's path"):
        models.dynamic_sparse(network(), path="conv").init(jax.random.key(0), X)
    binary = [("dense1", quantizers.binary(), None)]
    for model in (
        models.dynamic_sparse(models.quantized(network(), binary, float_layers=())),
        models.quantized(models.dynamic_sparse(network()), binary, float_layers=()),
        models.pruned(models.quantized(network(), binary, float_layers=()), 0.5, "weight"),
    ):
        with pytest.raises(ValueError, match="removed from dense1/kernel would not be zero in use: .* 'binary'"):
            model.init(jax.random.key(0), X)
    ternary = models.quantized(models.pruned(network(), 0.5), [("dense1", quantizers.ternary(), None)], float_layers=())
    assert "pruning_masks" in ternary.init(jax.random.key(0), X)
