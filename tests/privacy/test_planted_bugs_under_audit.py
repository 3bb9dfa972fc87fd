"""The library's private training under audit: what it promises holds, and each planted fault of a guarantee is seen.

Nobody names the fault to the auditor: it looks at the same statistics of every run.
"""

import numpy as np
import pytest
from planting import plant

from experiments.self_audit.measure import shown
from experiments.self_audit.scenarios import PART, SCENARIOS, Settings, one_run
from gecko_jax import clippings
from gecko_jax.privacy import gradients
from gecko_jax.training import batch_plan, run_identity, seeds, step

# A bound above its account would be seen by chance in one of 10,000 games.
SETTINGS = Settings(canaries=4000, delta=1e-8, seed=1, confidence=0.9999)

SOUND = [
    "Poisson batches", "truncated batches", "DP-Adam", "per-layer clipping", "quantile clipping", "microbatches",
    "noise from the operating system", "two phases", "two models of an ensemble", "stopped and resumed", "many runs",
]  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_no_more_is_shown_than_was_accounted_for(name):
    outcome = SCENARIOS[name](SETTINGS, 4.0)
    assert 0 < shown(outcome) <= outcome.accounted


def test_of_a_full_batch_nearly_all_is_shown():
    outcome = one_run(SETTINGS._replace(confidence=0.95), 4.0, canaries=20_000)
    assert 0.75 * outcome.accounted <= shown(outcome) <= outcome.accounted


def full(clip_norm=1.0, epsilon=4.0, **options):
    return one_run(SETTINGS, epsilon, clippings.flat(clip_norm), **options)


RESEEDED = (
    run_identity, "private_seeds", "keys.derived_seed(seed, run=shared, model=model_id, start=start, data=content)",
)  # fmt: skip
# name -> (what is planted: module, function, line, planted; the game)
BUGS = {
    "noise without the sensitivity": (
        [(gradients, "private_gradients", "noise_multiplier * rule.sensitivity", "noise_multiplier")],
        lambda: full(8.0),
    ),
    "half the noise": (
        [(gradients, "private_gradients", "noise_multiplier * rule.sensitivity", "0.5 * noise_multiplier")], full,
    ),
    "nothing is clipped": (
        [(gradients, "private_gradients", "summed.sum, drawn", "jax.tree.map(lambda s: 9 * s, summed.sum), drawn")],
        full,
    ),
    "one key for all steps": (
        [(step, "make_step", "jax.random.fold_in(wrap_key(epoch.key), drawn)", "wrap_key(epoch.key)"),
         (batch_plan, "_model_keys", "wrap_key(root), epoch", "wrap_key(root), 0 * epoch")],
        lambda: full(epsilon=1.0, **PART),
    ),
    "the same key at every call": (
        [(gradients, "private_gradients", "noise(of_noise,", "noise(jax.random.key(0),")],
        lambda: full(epsilon=1.0, **PART),
    ),
    "releases on neighbors share their noise": (
        [(*RESEEDED, "int(seed)")], lambda: SCENARIOS["two releases"](SETTINGS, 4.0),
    ),
    "phases share their noise": ([(*RESEEDED, "int(seed)")], lambda: SCENARIOS["two phases"](SETTINGS, 4.0)),
    "models share their noise": (
        [(*RESEEDED, "int(seed)"), (batch_plan, "_model_keys", "jax.random.fold_in(key, model_id)", "key")],
        lambda: SCENARIOS["two models of an ensemble"](SETTINGS, 4.0),
    ),
    "a run that goes on draws other noise": (
        [(seeds, "resolve", "return keys.checked_seed(seed)", "return keys.secret_seed()")],
        lambda: SCENARIOS["stopped and resumed"](SETTINGS._replace(canaries=20_000), 4.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_fault_of_the_guarantee_is_seen(bug, monkeypatch):
    planted, game = BUGS[bug]
    for module, name, line, other in planted:
        plant(monkeypatch, module, name, line, other)
    outcome = game()
    assert shown(outcome) > outcome.accounted


def test_a_bound_by_signals_is_valid_and_tight():
    """Of 1,000 audits of a Gaussian mechanism with mu = 1, 5 % may show more than it has, and most show nearly it."""
    from gecko_jax import metrics

    rng, true = np.random.default_rng(0), metrics.gaussian_epsilon(1.0, 1e-5)
    bounds = []
    for _ in range(1000):
        member = rng.random(500) < 0.5
        bounds.append(metrics.gaussian_signals_epsilon(rng.normal(size=500) + member, member, 1e-5).value)
    assert (np.array(bounds) > true).sum() <= 50 + 3 * np.sqrt(47.5)  # three standard deviations of a fair 5 %
    assert np.median(bounds) > 0.8 * true
