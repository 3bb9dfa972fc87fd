"""A Sampling made by hand, or changed by `_replace`, is checked where it is drawn from, priced or trained with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.privacy import Sampling
from gecko_jax.training.agreement import resolve_trainable
from gecko_jax.types import Examples

POISSON = privacy.poisson(100, 10, steps=8)
CUT, SHUFFLED = privacy.truncated_poisson(100, 10, 8, cap=12), privacy.shuffled(100, 10, epochs=2)
BAD = {
    "too few slots": (POISSON._replace(cap=12), "sampling.cap=12 must be at least 3."),
    "slots for another rate": (POISSON._replace(batch_size=30.0), "must be at least .*privacy.poisson"),
    "no slots": (CUT._replace(cap=0), "sampling.cap=0 must be at least 1"),
    "half a slot": (CUT._replace(cap=12.5), "sampling.cap=12.5 must be an integer"),
    "an unknown kind": (POISSON._replace(kind="poison"), "sampling.kind='poison' is not known. Did you mean 'poisson'"),
    "a batch of more than there are": (CUT._replace(batch_size=101.0), "sampling.batch_size=101.0 must be at most"),
    "an empty batch": (CUT._replace(batch_size=0.0), "sampling.batch_size=0.0 must be a finite number above 0"),
    "a batch of NaN": (CUT._replace(batch_size=math.nan), "sampling.batch_size=nan must be"),
    "a batch as text": (CUT._replace(batch_size="10"), "sampling.batch_size='10' must be a number"),
    "no examples": (Sampling("truncated_poisson", 0, 1.0, 8, 12), "sampling.n=0 must be at least 1"),
    "half an example": (CUT._replace(n=99.5), "sampling.n=99.5 must be an integer"),
    "no steps": (CUT._replace(steps=0), "sampling.steps=0 must be at least 1"),
    "half a step": (POISSON._replace(steps=2.5), "sampling.steps=2.5 must be an integer"),
    "shuffled batches that are not full": (SHUFFLED._replace(batch_size=5.0), "must be sampling.cap=10 if kind"),
    "another type": (("poisson", 100, 10.0, 8, 40), "must be a Sampling"),
}  # fmt: skip
MODEL = models.create("mlp", 3, hidden=())
DATA = Examples(np.ones((100, 4), np.float32), np.arange(100) % 3, np.arange(100))


@pytest.mark.parametrize("sampling, says", BAD.values(), ids=BAD)
def test_a_record_that_no_function_makes_is_refused_everywhere(sampling, says):
    with pytest.raises(ValueError, match=says):
        privacy.draw(sampling, 0, 0, 1)
    with pytest.raises(ValueError, match=says):
        privacy.epsilon([sampling], 1.0, 1e-5)
    with pytest.raises(ValueError, match=says):
        privacy.calibrate_noise([sampling], 1.0, 1e-5)
    with pytest.raises(ValueError, match=says):
        training.fit(MODEL, DATA, sampling=sampling, epochs=1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.data())
def test_what_the_functions_make_passes(data):
    n = data.draw(st.integers(1, 10_000))
    batch_size = data.draw(st.floats(0.01, n))
    steps = data.draw(st.integers(1, 1000))
    privacy.draw(privacy.poisson(n, batch_size, steps), 0, 0, 1)
    privacy.draw(privacy.truncated_poisson(n, batch_size, steps, data.draw(st.integers(1, 2 * n))), 0, 0, 1)
    batch_rows = data.draw(st.integers(1, n))
    privacy.draw(privacy.shuffled(n, batch_rows, 2), 0, 0, 1)
    fewer = privacy.poisson(n, batch_size, steps)._replace(steps=max(1, steps // 2))
    privacy.draw(fewer, 0, 0, 1)


RUN = privacy.private_training(
    MODEL, losses.cross_entropy(), clippings.flat(1.0), n=100, batch_size=10, epochs=2, delta=1e-3, noise_multiplier=1.0
)
OTHER = {
    "none, so shuffled epochs": (dict(sampling=None, batch_size=10), "sampling=None, but these private gradients were"),
    "more steps": (dict(sampling=privacy.poisson(100, 10, 22)), "epsilon covers these batches, or fewer of them"),
    "a larger rate": (dict(sampling=privacy.poisson(100, 20, 20)), "epsilon covers these batches"),
    "shuffled": (dict(sampling=privacy.shuffled(100, 10, 2)), "epsilon covers these batches"),
    "truncated": (dict(sampling=privacy.truncated_poisson(100, 10, 20, 12)), "epsilon covers these batches"),
}


@pytest.mark.parametrize("options, says", OTHER.values(), ids=OTHER)
def test_private_gradients_take_the_batches_that_their_epsilon_covers(options, says):
    with pytest.raises(ValueError, match=says):
        training.fit(RUN.model, DATA, **{**RUN.options, **options})


def test_fewer_steps_of_a_priced_run_are_covered():
    resolve_trainable(RUN.gradients, None, RUN.sampling._replace(steps=10))


@pytest.mark.parametrize("expected", [1.0, 9.0, 100.0])
def test_the_divisor_is_the_sampling_s_batch_size(expected):
    loss = privacy.example_loss(MODEL, losses.cross_entropy())
    gradients = privacy.private_gradients(loss, clippings.flat(1.0), 1.0, expected)
    with pytest.raises(ValueError, match=f"expected_batch_size={expected:g} .* disagrees with sampling.batch_size=10"):
        training.fit(MODEL, DATA, gradients=gradients, sampling=POISSON, epochs=1)


def test_a_shuffled_epoch_may_be_divided_by_its_mean_batch():
    loss, sampling = privacy.example_loss(MODEL, losses.cross_entropy()), privacy.shuffled(100, 30, 1)
    for expected in (25, 30):
        resolve_trainable(privacy.private_gradients(loss, clippings.flat(1.0), 1.0, expected), None, sampling)


def test_full_batches_are_the_same_without_a_sampling():
    """At rate 1 every example takes part in every step; half of them in a step is another run."""
    full = privacy.private_training(
        MODEL, losses.cross_entropy(), clippings.flat(1.0), n=100, batch_size=100, epochs=2, delta=1e-3,
        noise_multiplier=1.0,
    )  # fmt: skip
    resolve_trainable(full.gradients, None, None, full_batches=2)
    with pytest.raises(ValueError, match="epsilon covers these batches, or fewer of them"):
        resolve_trainable(full.gradients, None, None, full_batches=3)
    for options in (dict(batch_size=50, epochs=2), dict(batch_size=100, epochs=3)):
        with pytest.raises(ValueError, match="private gradients were made for"):
            training.fit(full.model, DATA, gradients=full.gradients, **options)
