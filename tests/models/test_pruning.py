"""Pruning for encrypted inference: which weights go, that they stay away, and that transforms and training compose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import datasets, models, quantizers, training
from gecko_jax.hooks import finish_update
from gecko_jax.models.pruning_groups import group_numbers, kept_groups
from gecko_jax.types import Examples, Quantizer, Rule


@pytest.fixture
def pruned_once(filled):
    """(net, x, *settings) -> model, its variables before and after one run of its hooks."""

    def prune(net, x, share, *settings, **options):
        model = models.pruned(net, share, *settings, **options)
        variables = filled(model, x)
        variables["pruning"]["share"] = np.float32(share)
        return model, variables, jax.jit(lambda variables: finish_update(model, variables, x))(variables)

    return prune


def network():
    return models.create("mlp", 5, hidden=(12, 8), activation="square"), jnp.ones((1, 20))


def diagonals(kernel):
    """{diagonal: [weights]} of a kernel [in, out], by the definition: one loop."""
    count = 1
    while count < min(kernel.shape):
        count *= 2
    lines = {d: [] for d in range(count)}
    for i in range(kernel.shape[0]):
        for o in range(kernel.shape[1]):
            lines[(i - o) % count].append(float(kernel[i, o]))
    return lines


def test_groups_are_diagonals_tiles_or_weights():
    kernel = np.random.default_rng(0).normal(size=(20, 12))
    numbers, count = group_numbers(kernel.shape, "diagonal", 1)
    sums = np.bincount(numbers.ravel(), kernel.ravel(), count)
    np.testing.assert_allclose(sums, [sum(line) for line in diagonals(kernel).values()])
    numbers, count = group_numbers((5, 7), "tile", 4)
    assert numbers[[0, 3, 4, 4], [3, 4, 3, 6]].tolist() == [0, 1, 2, 3] and count == 4
    assert len(np.unique(group_numbers((2, 3, 4), "weight", 1)[0])) == 24


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 0.99])
def test_the_strongest_groups_stay(share):
    random = np.random.default_rng(0)
    energy = random.permutation(16).astype(np.float32)
    stay = max(1, round((1 - share) * 16))
    chosen = np.asarray(kept_groups(jnp.asarray(energy), jnp.ones(16, bool), share, False))
    assert sorted(energy[chosen]) == sorted(energy)[16 - stay :]
    band = np.asarray(kept_groups(jnp.asarray(energy), jnp.ones(16, bool), share, True))
    best = max(range(16), key=lambda start: energy[(start + np.arange(stay)) % 16].sum())
    assert energy[band].sum() == energy[(best + np.arange(stay)) % 16].sum() and band.sum() == stay


@pytest.mark.parametrize("band", [False, True])
def test_no_group_comes_back(band):
    energy = jnp.array([0.0, 5.0, 1.0, 4.0, 0.0, 0.0, 0.0, 9.0])
    mask = jnp.array([False, True, True, True, False, False, False, False])
    for share in (0.5, 0.7, 0.2):
        stay = kept_groups(energy, mask, share, band)
        assert not np.any(stay & ~mask) and np.any(stay)


@pytest.mark.parametrize("granularity, left", [("band", 0.25), ("diagonal", 0.25), ("tile", 0.25), ("weight", 0.25)])
def test_kernels_lose_their_share_and_nothing_else_changes(granularity, left, pruned_once):
    net, x = network()
    model, variables, after = pruned_once(net, x, 0.75, granularity, tile=2)
    for name, layer in after["params"].items():
        before, kernel = variables["params"][name]["kernel"], layer["kernel"]
        stays = np.asarray(kernel != 0)
        np.testing.assert_array_equal(kernel[stays], before[stays])
        assert stays.mean() == pytest.approx(left, abs=0.06)
        np.testing.assert_array_equal(layer["bias"], variables["params"][name]["bias"])
        if granularity in ("band", "diagonal"):
            lines = diagonals(np.asarray(kernel))
            assert sum(any(line) for line in lines.values()) == len(lines) // 4
    plain = models.without_pruning_state(after)
    assert set(plain) == {"params"}
    np.testing.assert_array_equal(model.apply(after, x)[0], net.apply(plain, x)[0])


def test_a_path_chooses_the_kernels(pruned_once):
    *_, after = pruned_once(*network(), 0.5, path="dense2")
    assert [np.all(after["params"][name]["kernel"]) for name in ("dense1", "dense2", "logits")] == [True, False, True]


def test_convolutions_lose_single_weights_alone(pruned_once):
    net, x = models.create("lenet", 3, channels=(2, 4), hidden=8, activation="square"), jnp.ones((1, 8, 8, 1))
    shares = {}
    for granularity in ("band", "weight"):
        params = pruned_once(net, x, 0.5, granularity)[2]["params"]
        shares[granularity] = {name: float(np.mean(params[name]["kernel"] == 0)) for name in ("conv2", "dense")}
    assert shares == {"band": {"conv2": 0.0, "dense": 0.5}, "weight": {"conv2": 0.5, "dense": 0.5}}


def test_training_raises_the_share_and_removed_weights_stay_zero():
    data = datasets.load("digits").train
    data = type(data)(data.x[:64].reshape(64, -1), data.y[:64])
    model = models.pruned(models.create("mlp", 10, hidden=(16,), activation="square"), 0.5)
    schedule = training.linear(0, 0.5, 0.1, 0.75)
    fitted = training.fit(model, data, epochs=4, batch_size=16, schedules={"pruning": schedule})
    lines = diagonals(np.asarray(fitted.variables["params"]["dense1"]["kernel"]))
    assert sum(any(line) for line in lines.values()) == 4
    assert all(all(line) for line in lines.values() if any(line))


def test_it_composes_with_quantized_weights_and_ensembles():
    data = datasets.load("digits").train
    data = type(data)(data.x[:64].reshape(64, -1), data.y[:64])
    net = models.create("mlp", 10, hidden=(16,), activation="square")
    model = models.pruned(
        models.quantized(net, [Rule(path="dense1", weight=quantizers.uniform(8))], float_layers=()), 0.5
    )
    fitted = training.fit_ensemble(model, data, np.ones((2, 64), bool), epochs=2, batch_size=16)
    kernels = fitted.variables["params"]["dense1"]["kernel"]
    assert np.mean(kernels == 0, axis=(1, 2)).tolist() == [0.5, 0.5]
    assert not np.array_equal(kernels[0] != 0, kernels[1] != 0) or not np.array_equal(kernels[0], kernels[1])


def test_a_pruned_model_is_saved_and_loaded(tmp_path, pruned_once):
    net, x = network()
    model, _, variables = pruned_once(net, x, 0.5, "tile", tile=4)
    models.save(tmp_path / "model", model, variables, x)
    saved = models.load(tmp_path / "model")
    np.testing.assert_array_equal(saved.model.apply(saved.variables, x)[0], model.apply(variables, x)[0])
    assert saved.model.blueprint == model.blueprint


@pytest.mark.parametrize(
    "options, message",
    [
        ({"share": 1.0}, "share=1.0 must be at least 0 and below 1"),
        ({"share": -0.1}, "share=-0.1 must be at least 0"),
        ({"share": float("nan")}, "share=nan"),
        ({"granularity": "row"}, "granularity='row' is not known"),
        ({"tile": 0}, "tile=0 must be at least 1"),
        ({"path": "("}, "is not a regular expression"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        models.pruned(network()[0], **options)


def test_a_path_without_kernels_is_refused():
    net, x = network()
    with pytest.raises(ValueError, match="no kernel can be pruned .* path='conv'. Kernels: dense1/kernel"):
        models.pruned(net, path="conv").init(jax.random.key(0), x)


def test_a_frozen_kernel_that_would_never_be_pruned_is_refused():
    data = Examples(np.ones((8, 8), np.float32), np.zeros(8, np.int32))
    model = models.pruned(models.create("mlp", 4, hidden=(8,)), share=0.5)
    fitted = training.fit(model, data, epochs=1, batch_size=4, seed=0)
    assert (fitted.variables["params"]["dense1"]["kernel"] == 0).any()
    with pytest.raises(ValueError, match="'dense1/kernel' is pruned by the model and not trained"):
        training.fit(model, data, epochs=1, batch_size=4, seed=0, trainable=["logits"])
    again = training.fit(model, data, epochs=1, batch_size=4, seed=0, trainable=["logits"], init=fitted.variables)
    np.testing.assert_array_equal(*(one.variables["params"]["dense1"]["kernel"] for one in (again, fitted)))


def test_the_average_of_a_pruned_network_is_pruned():
    data = Examples(*(part[:60] for part in datasets.load("digits").train[:2]))
    net = models.create("mlp", 10, hidden=(8,), activation="square")
    model = training.with_average(models.pruned(net, 0.75, "diagonal"), 0.99)
    variables = training.fit(model, data, epochs=2, batch_size=20).variables
    trained, averaged = (each["params"] for each in (variables, training.averaged(variables)))
    for layer in ("dense1", "logits"):
        remaining = np.asarray(trained[layer]["kernel"]) != 0
        assert 0 < remaining.mean() <= 0.26
        np.testing.assert_array_equal(np.asarray(averaged[layer]["kernel"]) != 0, remaining)
        mean = np.asarray(variables["average"]["params"][layer]["kernel"])
        np.testing.assert_array_equal(np.asarray(averaged[layer]["kernel"])[remaining], mean[remaining])
    assert np.asarray(averaged["dense1"]["bias"]).any()


def test_a_trained_network_is_pruned_at_once_by_share_or_by_deviation():
    net, x = network()
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)
    several = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=(2, *leaf.shape)), jnp.float32), shapes)
    half, by_deviation = models.pruned(net, 0.5, "weight"), models.pruned(net, 0.0, "weight")
    halved = jax.jit(jax.vmap(lambda each: models.prune_once(half, each, x)))(several)
    cut = jax.jit(jax.vmap(lambda each: models.prune_once(by_deviation, each, x, std=0.7)))(several)
    for layer in several["params"]:
        kernels = [each["params"][layer]["kernel"] for each in (several, halved, cut)]
        for before, by_share, by_std in zip(*kernels, strict=True):
            before, size = np.asarray(before, np.float64), np.abs(before)
            np.testing.assert_array_equal(by_share != 0, size >= np.sort(size.ravel())[size.size // 2])
            np.testing.assert_array_equal(by_std != 0, size >= 0.7 * before.std())
    with pytest.raises(ValueError, match="model is not pruned"):
        models.prune_once(net, shapes, x)
    with pytest.raises(ValueError, match=r"the model prunes groups. Take \"weight\""):
        jax.eval_shape(lambda each: models.prune_once(models.pruned(net, 0.0), each, x, std=0.7), shapes)


def test_a_pruned_network_is_pruned_further():
    """Retrained in between, at a larger share: the model's share counts, and no removed weight comes back."""
    net, x = network()
    half, most = (models.pruned(net, share, "weight") for share in (0.5, 0.9))
    first = models.prune_once(half, net.init(jax.random.key(0), x), x)
    second = models.prune_once(most, first, x)
    plain = models.prune_once(most, models.without_pruning_state(first), x)
    for layer, before in first["params"].items():
        before, after = (np.asarray(each["kernel"]) for each in (before, second["params"][layer]))
        stay = round(0.1 * before.size)
        assert np.count_nonzero(after) == stay
        np.testing.assert_array_equal(after != 0, np.abs(before) >= np.sort(np.abs(before).ravel())[-stay])
        np.testing.assert_array_equal(after, plain["params"][layer]["kernel"])
    assert float(second["pruning"]["share"]) == pytest.approx(0.9)


def test_what_is_no_trained_network_is_not_pruned_at_once():
    net, x = models.create("mlp", 3, hidden=(6,), normalize=True), jnp.ones((2, 4))
    model, trained = models.pruned(net, 0.5, "weight"), net.init(jax.random.key(0), x)
    wider = models.create("mlp", 3, hidden=(7,), normalize=True).init(jax.random.key(0), x)
    for variables, message in [
        ({}, "variables lack batch_stats/.*, params/"),
        ({"params": trained["params"]}, "variables lack batch_stats/.*mean, .*var, which would start afresh"),
        (wider, r"has shape \(7,\); expected \(6\)"),
        ({**trained, "more": {"w": x}}, "variables hold more/w, which the model does not have"),
    ]:
        with pytest.raises(ValueError, match=message):
            models.prune_once(model, variables, x)
    for std in (-0.1, float("nan")):
        with pytest.raises(ValueError, match=f"std={std} must lie between 0"):
            models.prune_once(model, trained, x, std=std)


def test_what_a_quantizer_learns_survives_pruning_at_once():
    net, x = network()
    learning = Quantizer(
        "learning", 8, init=lambda w: {"step": jnp.ones(3)}, apply=lambda state, w, key=None: w * state["step"][0]
    )
    rules = [Rule(path="dense1", weight=learning)]
    model = models.quantized(models.pruned(net, 0.5, "weight"), rules, float_layers=())
    start = models.prune_once(model, net.init(jax.random.key(0), x), x)
    np.testing.assert_array_equal(start["params"]["quantizers"]["weight:dense1/kernel"]["step"], np.ones(3))


def test_small_weights_of_float16_are_told_apart():
    """Their squares are 0 in float16, below 2.4e-4."""
    random = np.random.default_rng(4)
    net, x = network()
    trained = jax.tree.map(lambda leaf: jnp.asarray(random.normal(0, 1e-4, leaf.shape), jnp.float16),
                           net.init(jax.random.key(0), x))  # fmt: skip
    start = models.prune_once(models.pruned(net, 0.5, "weight"), trained, x)
    for layer, after in start["params"].items():
        size = np.abs(np.asarray(trained["params"][layer]["kernel"], np.float64))
        stay = np.asarray(after["kernel"]) != 0
        assert size[stay].min() >= size[~stay].max() and after["kernel"].dtype == jnp.float16
    banded = models.prune_once(models.pruned(net, 0.5, "diagonal"), trained, x)
    before, after = (diagonals(np.asarray(each["params"]["dense1"]["kernel"], float)) for each in (trained, banded))
    lines, left = {d: np.sum(np.square(before[d])) for d in before}, {d for d in after if any(after[d])}
    assert left == set(sorted(lines, key=lines.get)[len(lines) // 2 :])


@pytest.mark.parametrize("remove", [lambda net: models.pruned(net, 0.5, "weight"), models.dynamic_sparse])
def test_no_centroid_of_shared_weights_is_removed(remove):
    net, x = network()
    shared = models.shared_weights(net, 2)
    with pytest.raises(ValueError, match="the weights of dense1/kernel, .* are shared: .* start_shared"):
        jax.eval_shape(remove(shared).init, jax.random.key(0), x)
    with pytest.raises(ValueError, match="shares weights .* remove filters from the network itself"):
        models.remove_filters(shared, jax.eval_shape(shared.init, jax.random.key(0), x), x, 0.5)
