"""A private run from one call: its parts agree with each other and with those made by hand."""

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


def test_truncated_batches_are_priced_as_such():
    plain = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, **SIZES)
    cut = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, cap=24, **SIZES)
    assert cut.sampling.kind == "truncated_poisson" and cut.sampling.cap == 24
    assert float(cut.epsilon) > float(plain.epsilon)


def test_the_fit_is_that_of_the_parts(pool):
    run = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.0, **SIZES)
    optimizer = training.optimizer("adam", 1e-2)
    found = training.fit(run.model, pool, optimizer=optimizer, seed=3, **run.options)
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
        found.variables["params"]["logits"]["kernel"], by_hand.variables["params"]["logits"]["kernel"]
    )


def test_an_adaptive_rule_pays_for_its_count(pool):
    rule = clippings.quantile(1.0)
    run = privacy.private_training(MODEL, LOSS, rule, noise_multiplier=1.5, **SIZES)
    fixed = privacy.private_training(MODEL, LOSS, FLAT, noise_multiplier=1.5, **SIZES)
    assert float(run.epsilon) > float(fixed.epsilon)
    assert run.epsilon.phases[0].count_noise_multiplier == 1.0  # 20 / 20, as Andrew et al. take it
    found = training.fit(run.model, pool, **run.options)
    assert found.variables["clipping"]["threshold"] != 1.0


@pytest.mark.parametrize("both", [{}, dict(noise_multiplier=1.0, target_epsilon=1.0)])
def test_one_of_noise_and_budget_is_asked_for(both):
    with pytest.raises(ValueError, match="target_epsilon=.* and noise_multiplier=.*: give one of the two"):
        privacy.private_training(MODEL, LOSS, FLAT, **both, **SIZES)
