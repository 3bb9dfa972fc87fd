"""Dropout, L2, label smoothing, early stopping and temperature, each against its own oracle."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from gecko_jax import losses, models, quantizers, training
from gecko_jax.defenses import DEFENSES, early_stopping, l2, temperature
from gecko_jax.defenses.early_stopping import _Best
from gecko_jax.types import Batch

OPTIONS = dict(epochs=3, batch_size=8, seed=0)


def test_smoothed_cross_entropy_is_the_cross_entropy_with_a_mixed_target():
    rng = np.random.default_rng(0)
    logits, y, s = rng.normal(size=(6, 4)), rng.integers(0, 4, 6), 0.3
    target = (1 - s) * np.eye(4)[y] + s / 4
    expected = -(target * log_softmax(logits, axis=-1)).sum(-1)
    loss = losses.smoothed_cross_entropy(s)
    values = [float(loss.apply(one.astype(np.float32), Batch(None, np.int32(label), None)))
              for one, label in zip(logits, y, strict=True)]  # fmt: skip
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert np.isnan(loss.apply(np.zeros(4, np.float32), Batch(None, np.int32(-1), None)))
    with pytest.raises(ValueError, match="smoothing=1 must be at least 0 and below 1"):
        losses.smoothed_cross_entropy(1)


def test_l2_is_the_penalty_s_gradient_in_one_step(network, rows, members):
    options = dict(epochs=1, batch_size=16, optimizer=optax.sgd(0.1), seed=0)
    member = members[1:]  # 16 rows, one step
    start = jax.tree.map(np.asarray, training.fit_ensemble(network, rows, member, **options | dict(
        optimizer=optax.sgd(0.0))).variables)  # fmt: skip
    plain = training.fit_ensemble(network, rows, member, **options).variables
    decayed = l2(0.5).train(network, rows, member, **options).variables
    for name in ("dense1", "logits"):
        before, without = start["params"][name], plain["params"][name]
        with_decay = decayed["params"][name]
        np.testing.assert_allclose(
            with_decay["kernel"], without["kernel"] - 0.1 * 0.5 * before["kernel"], rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(with_decay["bias"], without["bias"], rtol=1e-5, atol=1e-7)


def test_dropout_drops_a_share_of_the_units(filled):
    model = models.create("mlp", 2, hidden=(400,))
    x = np.ones((1, 3), np.float32)
    variables = filled(model, x)
    # The output layer adds its inputs, so that the output is their sum.
    variables["params"]["logits"] = {"kernel": np.ones((400, 2), np.float32), "bias": np.zeros(2, np.float32)}
    variables["params"]["dense1"] = {"kernel": np.ones((3, 400), np.float32), "bias": np.zeros(400, np.float32)}
    apply = jax.jit(lambda key: models.with_dropout(model, 0.25).apply(variables, x, key=key, train=True)[0][0, 0])
    units = np.array([float(apply(jax.random.key(i))) for i in range(40)]) * 0.75 / 3  # number of units that are left
    np.testing.assert_allclose(units, units.round(), atol=1e-3)
    assert abs(units.mean() - 300) < 4 * np.sqrt(400 * 0.25 * 0.75 / 40) and len(set(units.round())) > 5


def test_dropout_leaves_quantized_inputs_and_the_first_layer_out(filled):
    x = np.ones((2, 3), np.float32)
    binary = models.quantized(
        models.create("mlp", 2, hidden=(4, 4)), [("", quantizers.binary(), quantizers.binary())], float_layers=()
    )
    with pytest.raises(ValueError, match=r"would drop nothing: of the layers \['dense1', 'dense2', 'logits'\]"):
        models.with_dropout(binary).apply(filled(binary, x), x, key=jax.random.key(0), train=True)
    with pytest.raises(ValueError, match=r"path='dense1\$' would drop nothing"):
        network = models.create("mlp", 2, hidden=(4,))
        models.with_dropout(network, path="dense1$").apply(filled(network, x), x, key=jax.random.key(0), train=True)
    with pytest.raises(ValueError, match="rate=1 must be above 0 and below 1"):
        models.with_dropout(binary, 1)


def test_early_stopping_takes_each_model_s_best_epoch(network, rows, members, reference):
    states = {}
    options = OPTIONS | dict(epochs=6, optimizer=training.optimizer("adam", 0.3))
    plain = training.fit_ensemble(network, rows, members, observe=states.__setitem__, **options)
    fitted = early_stopping().train(network, rows, members, reference=reference, **options)
    expected = np.stack(
        [training.evaluate_ensemble(network, states[epoch], reference).losses.mean(1) for epoch in range(1, 7)]
    )
    np.testing.assert_array_equal(fitted.metrics["reference_loss"], expected)
    best = expected.argmin(0)
    assert (best < 5).any() and np.array_equal(plain.loss, fitted.loss)
    for model, epoch in enumerate(best):
        for leaf, wanted in zip(*map(jax.tree.leaves, (fitted.variables, states[epoch + 1])), strict=True):
            np.testing.assert_array_equal(leaf[model], wanted[model])


def test_early_stopping_continues_and_knows_its_rows(network, rows, members, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", 0.0)
    options = OPTIONS | dict(epochs=6, optimizer=training.optimizer("adam", 0.3))
    whole_run = early_stopping().train(network, rows, members, reference=reference, **options)

    def crash(epoch, variables):
        if epoch == 4:
            raise KeyboardInterrupt

    options["folder"] = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        early_stopping().train(network, rows, members, reference=reference, observe=crash, **options)
    resumed = early_stopping().train(network, rows, members, reference=reference, **options)
    for one, other in zip(*map(jax.tree.leaves, (whole_run, resumed)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="holds the best epochs on other reference rows"):
        early_stopping().train(network, rows, members, reference=reference._replace(y=reference.y[::-1]), **options)
    options["folder"] = tmp_path / "plain"
    training.fit_ensemble(network, rows, members, **options)
    with pytest.raises(ValueError, match="none of epochs 1, 2, 3, 4, 5 and 1 more, which were trained without"):
        early_stopping().train(network, rows, members, reference=reference, **options)


def test_early_stopping_chooses_among_networks_that_may_be_deployed(reference):
    """A network with fewer zeros, before the end of a schedule, is not an earlier epoch of the pruned one."""
    shares, losses = (0.0, 0.4, 0.8, 0.8, 0.8), ([1, 1], [0, 2], [9, 4], [8, 6], [np.nan, 5])
    epochs = [
        ({"params": {"w": np.full((2, 1), i)}, "pruning": {"share": np.full(2, share)}}, np.array(loss, float))
        for i, (share, loss) in enumerate(zip(shares, losses, strict=True), 1)
    ]
    for scheduled, chosen in (({"pruning"}, [4, 3]), (set(), [2, 1])):
        best = _Best(reference, None, scheduled)
        for epoch, (variables, loss) in enumerate(epochs, 1):
            best.see(epoch, loss, variables)
        assert best.variables(epochs[0][0])["params"]["w"][:, 0].tolist() == chosen == best.epoch.tolist()
    first = _Best(reference, None, set())
    for epoch, loss in ((1, np.nan), (2, 3.0)):  # a loss that is not a number gives way to any that is
        first.see(epoch, np.array([loss]), {"w": np.full((1, 1), epoch)})
    assert first.epoch.tolist() == [2]


def test_temperature_divides_the_logits():
    logits = np.random.default_rng(0).normal(size=(7, 4))
    np.testing.assert_allclose(
        temperature(5.0).answer(logits, np.arange(7)), log_softmax(logits / 5, axis=-1), rtol=1e-12
    )
    with pytest.raises(ValueError, match="temperature=0 must be a finite number above 0"):
        temperature(0)


@pytest.mark.parametrize("name", ["early_stopping", "safe_compress"])
def test_reference_rows_that_the_loss_cannot_read_are_named_before_training(name, network, rows, members, reference):
    def train(**options):
        started = lambda *_: pytest.fail("the training has begun")  # noqa: E731
        optimizer = optax.GradientTransformation(started, started)
        DEFENSES[name]().train(network, rows, members, **{"reference": reference, "optimizer": optimizer} | options)

    with pytest.raises(ValueError, match=r"^reference\.y holds labels 0 to 3; the model has logits for 0 to 2"):
        train(reference=reference._replace(y=np.where(reference.y == 2, 3, reference.y)))
    with pytest.raises(ValueError, match=r"^reference\.x has shape \(1, 7\), which the variables were not made for"):
        train(reference=reference._replace(x=np.zeros((16, 7), np.float32)))
    with pytest.raises(ValueError, match="reads extra.*teacher"):
        train(loss=losses.kullback_leibler())


def test_a_loss_without_an_accuracy_is_refused_before_a_sparse_network_is_trained(network, rows, members, reference):
    loss = losses.cross_entropy()._replace(metric=losses.macro_f1())
    with pytest.raises(ValueError, match="safe_compress reads accuracies, and the loss reports 'macro_f1'"):
        DEFENSES["safe_compress"]().train(network, rows, members, reference=reference, loss=loss)
