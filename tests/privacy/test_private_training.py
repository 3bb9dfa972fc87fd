"""A private run from one call: its parts agree with each other and with those made by hand."""

import functools
import json
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings, datasets, losses, models, privacy, training

MODEL, LOSS, FLAT = models.create("mlp", 10, hidden=(8,)), losses.cross_entropy(), clippings.flat(1.0)
SIZES = dict(n=200, batch_size=20, epochs=2, delta=1e-4)


@pytest.fixture(scope="module")
def pool():
    data = datasets.load("digits").train
    return type(data)(data.x[:200], data.y[:200], data.id[:200])


def test_noise_sampling_and_epsilon_are_of_one_run():
    run = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, **SIZES)
    assert run.sampling == privacy.poisson(200, 20, steps=20)
    assert float(run.epsilon) == float(privacy.epsilon(run.sampling, 1.5, 1e-4))
    assert set(run.options) == {"gradients", "sampling", "epochs"} and run.epochs == 2


def test_a_budget_is_met_and_nearly_spent():
    run = privacy.private_training(MODEL, LOSS, FLAT, target_epsilon=3.0, **SIZES)
    assert 0.99 * 3 <= float(run.epsilon) <= 3
    assert float(privacy.epsilon(run.sampling, run.noise_multiplier, 1e-4)) == float(run.epsilon)


def test_two_runs_are_paid_for_together():
    """A teacher's and a student's: by dp_accounting, two mechanisms of one noise composed."""
    from dp_accounting import dp_event
    from dp_accounting.pld import pld_privacy_accountant

    both = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, runs=2, **SIZES)
    assert both.sampling == both.gradients.settings.sampling == privacy.poisson(200, 20, steps=20)
    run = dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(0.1, dp_event.GaussianDpEvent(1.5)), 20)
    composed = pld_privacy_accountant.PLDAccountant().compose(run).compose(run).get_epsilon(1e-4)
    assert float(both.epsilon) == pytest.approx(composed, rel=1e-4)
    met = privacy.private_training(MODEL, LOSS, FLAT, target_epsilon=3.0, runs=2, **SIZES)
    assert 0.99 * 3 <= float(met.epsilon) <= 3 and met.noise_multiplier > 1
    with pytest.raises(ValueError, match="runs=0"):
        privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, runs=0, **SIZES)


@pytest.mark.parametrize("noise_multiplier", [1.5, 0.0])
def test_a_guarantee_comes_back_from_json(noise_multiplier):
    rule = clippings.quantile(1.0) if noise_multiplier else FLAT
    spent = privacy.private_training(MODEL, LOSS, rule, noise_multiplier=noise_multiplier, **SIZES).epsilon
    fields = json.loads(json.dumps(spent.to_json(), allow_nan=False))
    back = privacy.Epsilon.from_json(fields)
    assert back == spent and str(back) == str(spent)
    for damaged in ({}, fields | {"phases": [3]}, fields | {"more": 1}, fields | {"value": [1]}):
        with pytest.raises(ValueError, match="is not a guarantee that Epsilon.to_json wrote"):
            privacy.Epsilon.from_json(damaged)
    with pytest.raises(ValueError, match="accountant='pdl' is not known. Did you mean 'pld'"):
        privacy.Epsilon.from_json(fields | {"accountant": "pdl"})


def test_truncated_batches_are_priced_as_such():
    plain = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, **SIZES)
    cut = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, cap=24, **SIZES)
    assert cut.sampling.kind == "truncated_poisson" and cut.sampling.cap == 24
    assert float(cut.epsilon) > float(plain.epsilon)


def test_a_suggestion_is_a_run_within_its_budget():
    """Against `private_training` on the same numbers, and the budget that it is given."""
    start = privacy.suggest(n=205, target_epsilon=4.0)
    assert (start.batch_size, start.epochs, start.learning_rate) == (20, 30, 0.01) and start.delta == 1 / 2050
    run = privacy.private_training(MODEL, LOSS, **start.options)
    assert 0.99 * 4 <= float(run.epsilon) == float(start.epsilon) <= 4
    assert run.sampling == privacy.poisson(205, 20, steps=300)
    wider = privacy.suggest(n=205, target_epsilon=4.0, delta=1e-3, epochs=20, fine_tuning="lora")
    assert wider.learning_rate < start.learning_rate
    assert wider.epsilon.delta == 1e-3 and wider.noise_multiplier < start.noise_multiplier


@pytest.mark.parametrize(
    "change, words",
    [
        ({"n": 9}, "n=9 must be at least 10"),
        ({"target_epsilon": 0}, "target_epsilon=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"delta": 1.0}, "delta=1.0"),
        ({"fine_tuning": "lorra"}, "Did you mean 'lora'"),
    ],
)
def test_a_suggestion_names_what_is_wrong(change, words):
    with pytest.raises(ValueError, match=words):
        privacy.suggest(**{"n": 200, "target_epsilon": 4.0, **change})


class Sequence(nn.Module):
    """Takes what no usual input is: [b, t, 5], and normalizes over the batch."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(10)(nn.BatchNorm(use_running_average=not train)(x + jnp.ones((1, 1, 5))).mean(1))


def test_statistics_over_the_batch_are_refused_before_the_noise_is_calibrated(monkeypatch):
    module = sys.modules["gecko_jax.privacy.private_training"]  # the package shows its function of that name
    monkeypatch.setattr(module, "calibrate_noise", lambda *_, **__: pytest.fail("calibrated"))
    for name in ("mlp", "lenet"):
        with pytest.raises(ValueError, match=r"BatchNorm_0'.*keep statistics.*models.without_batch_norm"):
            privacy.private_training(models.create(name, 10, normalize=True), LOSS, FLAT, target_epsilon=3.0, **SIZES)
    unusual = models.from_linen(Sequence())
    with pytest.raises(ValueError, match="keep statistics"):
        privacy.private_training(unusual, LOSS, FLAT, target_epsilon=3.0, x=np.zeros((2, 7, 5)), **SIZES)
    with pytest.raises(pytest.fail.Exception, match="calibrated"):  # not judged without x, but when it is trained
        privacy.private_training(unusual, LOSS, FLAT, target_epsilon=3.0, **SIZES)


def test_a_wrapper_that_loses_what_the_gradients_know_is_refused(pool):
    run = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, **SIZES)

    def halved(variables, batch, key):
        gradients, metrics = run.gradients(variables, batch, key)
        return jax.tree.map(lambda leaf: leaf / 2, gradients), metrics

    for lost in (halved, lambda *given: jax.jit(halved)(*given)):
        with pytest.raises(ValueError, match="have lost what these know.*functools.wraps"):
            training.fit(run.model, pool, **{**run.options, "gradients": lost})
    carried = functools.wraps(run.gradients)(halved)
    training.fit(run.model, pool, **{**run.options, "gradients": carried})
    with pytest.raises(ValueError, match="private gradients were made for"):
        training.fit(run.model, pool, gradients=carried, sampling=privacy.poisson(200, 40, 20), epochs=2)


def test_the_fit_is_that_of_the_parts(pool):
    run = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.0, **SIZES)
    optimizer = training.optimizer("adam", 1e-2)
    fitted = training.fit(run.model, pool, optimizer=optimizer, seed=3, **run.options)
    by_hand = training.fit(
        MODEL,
        pool,
        optimizer=optimizer,
        gradients=privacy.private_gradients(privacy.example_loss(MODEL, LOSS), FLAT, 1.0, 20),
        sampling=privacy.poisson(200, 20, steps=20),
        epochs=2,
        seed=3,
    )
    np.testing.assert_array_equal(
        fitted.variables["params"]["logits"]["kernel"], by_hand.variables["params"]["logits"]["kernel"]
    )


def test_an_adaptive_rule_pays_for_its_count(pool):
    rule = clippings.quantile(1.0)
    run = privacy.private_training(MODEL, LOSS, rule, noise_multiplier=1.5, **SIZES)
    fixed = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, **SIZES)
    assert float(run.epsilon) > float(fixed.epsilon)
    assert run.epsilon.phases[0].count_noise_multiplier == 1.0  # 20 / 20, as Andrew et al. take it
    fitted = training.fit(run.model, pool, **run.options)
    assert fitted.variables["clipping"]["threshold"] != 1.0


@pytest.mark.parametrize("both", [{}, dict(noise_multiplier=1.0, target_epsilon=1.0)])
def test_one_of_noise_and_budget_is_asked_for(both):
    with pytest.raises(ValueError, match="target_epsilon=.* and noise_multiplier=.*: give one of the two"):
        privacy.private_training(MODEL, LOSS, FLAT, **both, **SIZES)
