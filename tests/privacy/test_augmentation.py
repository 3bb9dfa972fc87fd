"""Augmentation multiplicity against a loop: each copy's gradient by itself, their mean clipped, the clipped summed."""

from __future__ import annotations

import collections

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from jax import lax
from scipy import stats
from test_clipped_sum import KEY, check_equal, compiled

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.keys import stream
from gecko_jax.privacy.per_example.microbatch import floats_of_one
from gecko_jax.types import Examples

K = 3


def case_of(name):
    """MLP and CNN of the zoo, and a CNN with dropout through `example_loss`, whose result has an aux."""
    if name != "dropout":
        return zoo.CASES[name]()
    layers = nn.Conv(3, (3, 3)), nn.relu, zoo.flat, nn.Dropout(0.5, deterministic=False)
    return zoo.created(models.from_linen(zoo.chain(*layers)), zoo.rows(6, 6, 1))


def jitter(key, x):
    """Another x for another key, of the same shape."""
    return jnp.roll(x, 1, axis=0) * jax.random.uniform(key, x.shape, minval=0.2)


def by_hand(case, clip_norm):
    """(clipped sum, norms before clipping, results) with a gradient for each copy of each example; float64."""

    def value(params, row, key):
        result = case.loss({**case.variables, "params": params}, row, key)
        return result if isinstance(result, tuple) else (result, jnp.zeros(()))

    one = compiled(jax.value_and_grad(value, has_aux=True))
    change = compiled(lambda key, x: jitter(stream(key, "augment"), x))
    total, norms, results = None, [], []
    for i in range(len(case.batch.y)):
        row = jax.tree.map(lambda leaf: leaf[i], case.batch)  # noqa: B023
        mean, seen = None, []
        for k in range(K):
            key = jax.random.fold_in(jax.random.fold_in(KEY, i), k)
            loss, tree = one(case.variables["params"], row._replace(x=change(key, row.x)), key)
            seen.append(loss)
            tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) / K, tree)
            mean = tree if mean is None else jax.tree.map(np.add, mean, tree)
        norms.append(np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(mean))))
        short = jax.tree.map(lambda leaf: leaf * min(1, clip_norm / norms[-1]), mean)  # noqa: B023
        total = short if total is None else jax.tree.map(np.add, total, short)
        results.append(np.mean(np.asarray(seen), axis=0))
    return total, np.asarray(norms), np.asarray(results)


@pytest.mark.parametrize(
    "name, method, microbatch", [("mlp", "auto", None), ("cnn", "bookkeeping", 2), ("dropout", "vmap", 3)]
)
def test_copies_are_averaged_before_they_are_clipped(name, method, microbatch):
    case = case_of(name)
    clip_norm = float(np.median(by_hand(case, 1.0)[1]))
    wanted, lengths, results = by_hand(case, clip_norm)
    loss = privacy.augmented(case.loss, jitter, K)
    run = privacy.clipped(loss, method, microbatch)
    output = compiled(lambda *args: run(clippings.flat(clip_norm), *args))(case.variables, case.batch, KEY)
    check_equal(output.sum, wanted)
    np.testing.assert_allclose(output.norms, lengths, rtol=1e-5)
    np.testing.assert_allclose(output.results[0], results[:, 0], rtol=1e-5)
    if name == "dropout":  # the share of copies that are right, not whether the plain example is
        np.testing.assert_allclose(output.results[1], results[:, 1], rtol=1e-6)
        assert set(np.round(results[:, 1] * K).tolist()) - {0.0, float(K)}


def test_one_copy_that_is_not_changed_is_the_plain_loss_to_the_bit():
    case = case_of("dropout")
    same = privacy.augmented(case.loss, lambda key, x: x, 1)
    plain, found = (
        compiled(privacy.clipped_sum(loss, clippings.flat(0.5)))(case.variables, case.batch, KEY)
        for loss in (case.loss, same)
    )
    jax.tree.map(np.testing.assert_array_equal, found, plain)


@pytest.mark.parametrize("of_batch", [True, False], ids=["a row of a Batch", "an array"])
def test_copies_and_examples_have_draws_of_their_own(of_batch):
    """Of equal rows: the means over copies differ between examples; the squares' means differ from the means' squares,
    so that the copies of one example differ."""

    def loss(params, example, key):
        x = example.x if of_batch else example
        return jnp.sum(params * x), (x, x**2, jax.random.uniform(key), jax.random.uniform(key) ** 2)

    batch = zoo.rows(2, b=20)
    batch = batch._replace(x=np.ones_like(batch.x))
    drawing = privacy.augmented(loss, lambda key, x: x * jax.random.normal(key, x.shape), 50)
    run = compiled(lambda *args: privacy.clipped(drawing)(clippings.flat(1.0), *args))
    _, (x, squares, own, own_squares) = run(jnp.ones(2), batch if of_batch else batch.x, KEY).results
    for means, of_squares, std in ((x, squares, 1.0), (own[:, None], own_squares[:, None], 12**-0.5)):
        assert len(np.unique(np.asarray(means).round(5))) == means.size
        spread = of_squares - means**2
        np.testing.assert_allclose(np.mean(spread), std**2, rtol=0.15)
        np.testing.assert_allclose(np.std(means), std / 50**0.5, rtol=0.4)


@pytest.mark.parametrize("method", ["bookkeeping", "vmap"])
def test_an_example_with_all_its_copies_stays_below_the_bound(method):
    """Each example alone adds at most the sensitivity, and nothing to another's share."""
    case, bound = case_of("mlp"), 0.7
    loss = privacy.augmented(case.loss, lambda key, x: 1e3 * jitter(key, x), 4)
    one = privacy.clipped_sum(loss, clippings.flat(bound), method)
    total = compiled(jax.vmap(lambda w: one(case.variables, case.batch, KEY, w)[0]))
    alone = total(np.eye(5, dtype=np.float32))
    flat = np.concatenate([np.asarray(leaf, np.float64).reshape(5, -1) for leaf in jax.tree.leaves(alone)], axis=1)
    lengths = np.linalg.norm(flat, axis=1)
    assert (lengths <= bound * (1 + 1e-5)).all() and lengths.max() > bound * 0.999
    together = total(np.ones((1, 5), np.float32))
    check_equal(jax.tree.map(lambda leaf: leaf[0], together), jax.tree.map(lambda leaf: np.sum(leaf, 0), alone))


def test_the_microbatch_counts_the_copies():
    """Three images [6, 6, 2] of one example under a 3x3 kernel: outputs, their sum, cotangents, windows of 9 * 2."""

    def loss(params, images):
        numbers = ("NHWC", "HWIO", "NHWC")
        return (jnp.sum(lax.conv_general_dilated(images, params, (1, 1), "VALID", dimension_numbers=numbers)),)

    floats = floats_of_one(loss, jnp.ones((3, 3, 2, 5)), jnp.ones((4, 3, 6, 6, 2)))
    assert floats.count == 3 * 16 * 5 + 1 + 3 * 16 * 5 + 3 * 16 * 18


def drawn(augment, image, count=4000):
    """Results for many keys."""
    return np.asarray(jax.jit(jax.vmap(lambda key: augment(key, image)))(jax.random.split(KEY, count)))


def check_uniform(numbers):
    assert stats.chisquare(list(numbers)).pvalue > 1e-4


def test_a_shift_is_a_window_of_the_reflected_image_at_a_uniform_place():
    image = np.arange(4 * 5 * 2, dtype=np.float32).reshape(4, 5, 2)
    wide = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    windows = [wide[i : i + 4, j : j + 5].tobytes() for i in range(5) for j in range(5)]
    assert len(set(windows)) == 25
    seen = collections.Counter(each.tobytes() for each in drawn(privacy.shift(2), image))
    assert set(seen) == set(windows)
    check_uniform(seen.values())


def test_a_flip_turns_every_other_image_left_to_right():
    image = np.arange(3 * 4 * 1, dtype=np.float32).reshape(3, 4, 1)
    seen = collections.Counter(each.tobytes() for each in drawn(privacy.flip(), image))
    assert set(seen) == {image.tobytes(), image[:, ::-1].tobytes()}
    check_uniform(seen.values())


def test_chained_augmentations_draw_independently():
    """Two flips give every image back half of the time; with one draw for both they would always."""
    image = np.arange(3 * 4 * 1, dtype=np.float32).reshape(3, 4, 1)
    seen = collections.Counter(each.tobytes() for each in drawn(privacy.chained(privacy.flip(), privacy.flip()), image))
    check_uniform(seen.values())
    added = privacy.chained(lambda key, x: x + 1, lambda key, x: x * 2)
    np.testing.assert_array_equal(added(KEY, image), (image + 1) * 2)


# Without noise the accountant has nothing to do: it sees the same record with copies and without.
SIZES = dict(n=20, batch_size=5, epochs=1, delta=1e-2, noise_multiplier=0.0)


def test_a_private_run_takes_augmentations():
    """`private_training` gives what its parts give, and a fit goes through."""
    model, loss, flat = models.create("mlp", 3, hidden=(4,)), losses.cross_entropy(), clippings.flat(1.0)
    augment = privacy.flip()
    run = privacy.private_training(model, loss, flat, augment=augment, multiplicity=2, **SIZES)
    parts = privacy.private_gradients(privacy.augmented(privacy.example_loss(model, loss), augment, 2), flat, 0.0, 5)
    batch = zoo.rows(2, 2, 1)
    variables = zoo.drawn(model.init, batch)
    gradients, wanted = (compiled(each)(variables, batch, KEY)[0] for each in (run.gradients, parts))
    jax.tree.map(np.testing.assert_array_equal, gradients, wanted)
    assert run.sampling == privacy.private_training(model, loss, flat, **SIZES).sampling
    pool = Examples(np.tile(batch.x, (4, 1, 1, 1)), np.tile(batch.y, 4), np.arange(20))
    assert np.isfinite(training.fit(run.model, pool, **run.options).loss).all()


def test_what_cannot_be_augmented_is_refused():
    with pytest.raises(ValueError, match="multiplicity=0 must be at least 1"):
        privacy.augmented(lambda *_: 0.0, jitter, 0)
    with pytest.raises(ValueError, match="multiplicity=2.0 must be an integer"):
        privacy.augmented(lambda *_: 0.0, jitter, 2.0)
    with pytest.raises(ValueError, match="key=None: an augmented loss draws its copies; pass a key"):
        loss = privacy.augmented(lambda w, x, key: w @ x, jitter, 2)
        privacy.clipped_sum(loss, clippings.flat(1.0))(jnp.ones(2), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="max_pixels=0 must be at least 1"):
        privacy.shift(0)
    with pytest.raises(ValueError, match=r"max_pixels=4 must be below height and width of x, whose shape is \(9, 4, 1"):
        privacy.shift(4)(KEY, jnp.ones((9, 4, 1)))
    for augment in (privacy.shift(1), privacy.flip()):
        with pytest.raises(ValueError, match=r"takes one image \[height, width, channels\]; x has shape \(64,\)"):
            augment(KEY, jnp.ones(64))
    with pytest.raises(ValueError, match="multiplicity=4 needs augment="):
        privacy.private_training(
            models.create("mlp", 10), losses.cross_entropy(), clippings.flat(1.0), multiplicity=4, **SIZES
        )
