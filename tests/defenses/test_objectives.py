"""Defenses with an objective of the whole batch, each against its formula in NumPy or a loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, rel_entr, softmax

from gecko_jax import losses, models, quantizers, training
from gecko_jax.defenses import DEFENSES, adversarial_regularization, relaxloss
from gecko_jax.defenses.adversarial_regularization import ATTACKER, _trained, attacker_loss
from gecko_jax.defenses.mixup_mmd import _trained as mixup_trained
from gecko_jax.defenses.mixup_mmd import squared_mmd
from gecko_jax.defenses.neuguard import MEANS, class_means, imbalance
from gecko_jax.defenses.objective import REFERENCE, pair_rows
from gecko_jax.defenses.ppb import pair_divergence
from gecko_jax.defenses.relaxloss import flattened_cross_entropy
from gecko_jax.types import Batch, Examples

RNG = np.random.default_rng(0)
LOGITS, Y = RNG.normal(size=(8, 4)).astype(np.float32), RNG.integers(0, 4, 8)
REAL = np.array([True] * 5 + [False] * 3)


def test_flattened_targets_leave_the_label_its_probability_up_to_a_bound():
    ours = np.asarray(flattened_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(Y), 0.4))
    for logits, label, value in zip(LOGITS.astype(float), Y, ours, strict=True):
        bounded = min(softmax(logits)[label], 0.4)
        target = np.full(4, (1 - bounded) / 3)
        target[label] = bounded
        assert value == pytest.approx(-(target * log_softmax(logits)).sum(), rel=1e-5)


def test_relaxloss_holds_the_loss_near_alpha(network, rows):
    member, options = np.ones((1, 24), bool), dict(epochs=60, batch_size=24, optimizer=training.optimizer("adam", 0.05))
    plain = training.evaluate_ensemble(
        network, DEFENSES["undefended"]().train(network, rows, member, **options).variables, rows
    ).losses.mean()
    relaxed = training.evaluate_ensemble(
        network, relaxloss(alpha=0.7).train(network, rows, member, **options).variables, rows
    ).losses.mean()
    assert plain < 0.1 and 0.55 < relaxed < 0.85
    with pytest.raises(ValueError, match="upper=1.5 must be above 0 and at most 1"):
        relaxloss(upper=1.5)


def test_squared_mmd_is_the_biased_estimate_over_real_rows():
    p, q = softmax(LOGITS, axis=1), softmax(LOGITS[::-1] * 2, axis=1)
    a, b = p[REAL].astype(float), q[REAL].astype(float)
    kernels = [np.exp(-cdist(u, v, "sqeuclidean") / (2 * 0.5**2)).mean() for u, v in ((a, a), (b, b), (a, b))]
    expected = kernels[0] + kernels[1] - 2 * kernels[2]
    ours = squared_mmd(jnp.asarray(p), jnp.asarray(q), jnp.asarray(REAL), 0.5)
    assert float(ours) == pytest.approx(expected, rel=1e-4)


def test_mixup_reads_nothing_of_padding(network, rows, reference, filled):
    build = mixup_trained((1.0, 1.0, 1.0), network, losses.cross_entropy(), None)
    paired = jax.tree.map(lambda leaf: leaf[:8], pair_rows(reference, rows, by_class=True))

    def slopes(padding):
        x = np.where(REAL[:, None], rows.x[:8], padding).astype(np.float32)
        batch = jax.tree.map(jnp.asarray, Batch(x, rows.y[:8], REAL.astype(np.float32), {REFERENCE: paired}))
        return build.gradients(filled(network, rows.x[:1]), batch, jax.random.key(0))[0]

    one, other = jax.jit(lambda: (slopes(0.0), slopes(50.0)))()
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def test_pair_divergence_is_that_of_sorted_posteriors_of_real_pairs():
    p = np.sort(softmax(LOGITS.astype(float), axis=1), axis=1)
    for real in (REAL, np.arange(8) < 4, np.ones(8, bool)):  # padding, however much, takes no pair away
        rows = p[real]
        half = len(rows) // 2
        expected = np.mean([rel_entr(rows[half + i], rows[i]).sum() for i in range(half)])
        assert float(pair_divergence(jnp.asarray(LOGITS), jnp.asarray(real))) == pytest.approx(expected, rel=1e-4)
    assert float(pair_divergence(jnp.asarray(LOGITS[:1]), jnp.asarray(REAL[:1]))) == 0


def test_imbalance_is_the_difference_of_the_halves():
    dense = RNG.normal(size=(2, 6))
    expected = (dense[:, :3].sum(1) - dense[:, 3:].sum(1)) ** 2 / 6
    np.testing.assert_allclose(imbalance(jnp.asarray(dense, jnp.float32)), expected, rtol=1e-4)
    image = RNG.normal(size=(2, 3, 3, 4))
    expected = (image[..., :2].sum((1, 2, 3)) - image[..., 2:].sum((1, 2, 3))) ** 2 / 36
    np.testing.assert_allclose(imbalance(jnp.asarray(image, jnp.float32)), expected, rtol=1e-4)


def test_class_means_run_over_real_rows():
    state = {"mean": jnp.asarray(RNG.random((4, 4)), jnp.float32), "seen": jnp.array([1.0, 0.0, 1.0, 0.0])}
    p = softmax(LOGITS, axis=1)
    moved = class_means(state, jnp.asarray(p), jnp.asarray(Y), jnp.asarray(REAL))
    for label in range(4):
        there = REAL & (label == Y)
        before, seen = np.asarray(state["mean"])[label], bool(state["seen"][label])
        expected = before if not there.any() else 0.9 * before + 0.1 * p[there].mean(0) if seen else p[there].mean(0)
        np.testing.assert_allclose(moved["mean"][label], expected, rtol=1e-5)
        assert bool(moved["seen"][label]) == (seen or there.any())


def test_attacker_loss_is_the_log_loss_of_members_and_others():
    a, b = (RNG.normal(size=8) for _ in range(2))
    expected = (np.log1p(np.exp(-a)) + np.log1p(np.exp(b)))[REAL].mean()
    assert float(attacker_loss(*map(jnp.asarray, (a, b, REAL)))) == pytest.approx(expected, rel=1e-4)


def test_reference_rows_are_paired_evenly_and_by_ids():
    data = Examples(RNG.normal(size=(12, 2)), np.arange(12) % 3, np.arange(12))
    reference = Examples(np.arange(5.0)[:, None], np.array([0, 1, 2, 0, 1]), np.arange(100, 105))
    paired = pair_rows(reference, data)
    assert sorted(np.bincount(paired["x"][:, 0].astype(int))) == [2, 2, 2, 3, 3]
    order = RNG.permutation(12)
    shuffled = pair_rows(reference, Examples(data.x[order], data.y[order], data.id[order]))
    np.testing.assert_array_equal(shuffled["x"], paired["x"][order])
    np.testing.assert_array_equal(pair_rows(reference, data, by_class=True)["y"], data.y)
    with pytest.raises(ValueError, match="reference has no row of class 2, and every class of the pool needs one"):
        pair_rows(Examples(reference.x[:2], reference.y[:2], reference.id[:2]), data, by_class=True)


def test_the_classifier_descends_its_loss_and_the_gain_of_its_members(network, rows, reference, filled):
    """The gradient is that of the loss plus strength times another one, which the strength does not change."""
    paired = pair_rows(reference, rows)
    batch = Batch(*jax.tree.map(lambda leaf: leaf[:8], (rows.x, rows.y)), None,
                  {REFERENCE: jax.tree.map(lambda leaf: leaf[:8], paired)})  # fmt: skip
    params = filled(network, rows.x[:1])

    def slopes(strength):
        trained = _trained((strength, 2, (4,), 1e-2, 3), network, losses.cross_entropy(), None)
        attacker = trained.starts["attacker"]({})
        gradient, metrics = trained.gradients({**params, "attacker": attacker}, batch, None)
        return gradient, attacker["params"], metrics.updates["attacker"]["params"]

    def plain():
        gradients = training.batch_gradients(network, losses.cross_entropy())
        return gradients(params, Batch(batch.x, batch.y, None), None)[0]

    (one, before, after), (two, *_), zero = jax.jit(lambda: (slopes(1.0), slopes(2.0), plain()))()
    for once, twice, none in zip(*map(jax.tree.leaves, (one, two, zero)), strict=True):
        np.testing.assert_allclose(twice - none, 2 * (once - none), rtol=1e-3, atol=1e-6)
        assert np.abs(once - none).max() > 1e-6
    assert all(np.abs(x - y).max() > 1e-3 for x, y in zip(*map(jax.tree.leaves, (before, after)), strict=True))


def test_it_composes_with_a_quantized_and_pruned_network_and_a_start(rows, members, reference, filled):
    network = models.create("mlp", 3, hidden=(5,))
    ternary = models.quantized(network, [("logits", quantizers.ternary())], ())
    model = models.pruned(ternary, 0.5, "weight", path="dense1")
    start = jax.tree.map(
        lambda leaf: np.stack([leaf, -leaf if leaf.dtype != bool else leaf]), filled(model, rows.x[:1])
    )
    start["pruning"] = {"share": np.full(2, 0.5, np.float32)}
    fitted = adversarial_regularization(widths=(4,), attacker_steps=1).train(
        model, rows, members, reference=reference, init=start, epochs=1, batch_size=8
    )
    kernel = fitted.variables["params"]["dense1"]["kernel"]
    assert set(fitted.variables) == set(start) and ((kernel == 0).sum((1, 2)) >= 15).all()


def test_what_they_cannot_read_is_refused_by_name(network, rows, members, reference):
    options = dict(reference=reference, epochs=1)
    tokens = rows._replace(x=(rows.x > 0).astype(np.int32))
    with pytest.raises(ValueError, match=r"data.x has dtype int32, and mixup adds shares of two rows"):
        of_tokens = reference._replace(x=(reference.x > 0).astype(np.int32))
        DEFENSES["mixup_mmd"]().train(network, tokens, members, reference=of_tokens, epochs=1)
    with pytest.raises(ValueError, match="the network has no hidden layer, and NeuGuard balances those"):
        DEFENSES["neuguard"]().train(models.create("mlp", 3, hidden=()), rows, members, **options)
    with pytest.raises(ValueError, match=r"outputs of shape \(1, 1\); expected logits \(rows, classes\) of two"):
        DEFENSES["relaxloss"]().train(models.create("mlp", 1, hidden=()), rows, members, **options)
    with pytest.raises(ValueError, match="batch_size=1 must be at least 2"):
        DEFENSES["ppb"]().train(network, rows, members, batch_size=1, **options)
    for label in (np.full(16, -1), reference.y + 0.5, reference.y + 1):
        with pytest.raises(ValueError, match=r"reference.y has dtype .* expected class numbers, 0 to 2"):
            unlabeled = options | {"reference": reference._replace(y=label)}
            DEFENSES["adversarial_regularization"]().train(network, rows, members, **unlabeled)
    with pytest.raises(ValueError, match="extra_per_model=True does not go with defense 'adversarial_regularization'"):
        DEFENSES["adversarial_regularization"]().train(
            network, rows, members, extra={"a": np.ones((2, 24))}, extra_per_model=True, **options
        )


@pytest.mark.parametrize(
    ("name", "collection"),
    [("relaxloss", "relaxloss_phase"), ("neuguard", MEANS), ("adversarial_regularization", ATTACKER)],
)
def test_what_a_defense_sets_beside_the_parameters_is_refused(name, collection, network, rows, members, reference):
    for option in ("schedules", "init"):
        options = {option: {collection: lambda share: 0.0}}
        with pytest.raises(ValueError, match=f"{option} holds '{collection}', which '{name}' sets itself"):
            DEFENSES[name]().train(network, rows, members, reference=reference, **options)


def test_an_extra_of_the_reference_rows_name_is_refused(network, rows, members, reference):
    with pytest.raises(ValueError, match="extra holds 'reference', which defense 'mixup_mmd' sets itself"):
        DEFENSES["mixup_mmd"]().train(network, rows, members, reference=reference, extra={REFERENCE: rows.y})
