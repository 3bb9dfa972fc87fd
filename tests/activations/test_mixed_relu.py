"""ReLU mixed with another activation: what is left is plain ReLU."""

import jax
import numpy as np
import pytest

from gecko_jax import models, training
from gecko_jax.activations import MixedRelu
from gecko_jax.types import Examples

RNG = np.random.default_rng(0)
DATA = Examples(RNG.normal(size=(12, 4)).astype(np.float32), RNG.integers(0, 3, 12).astype(np.int32))
MIXED = models.create("mlp", 3, hidden=(5,), activation="mixed_relu", activation_options={"other": "identity"})
FADING = {"mixture": training.linear(0.25, 0.75, 1.0, 0.0)}


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_it_lies_between_the_two(share):
    y = MixedRelu("square").apply({"mixture": {"share": np.float32(share)}}, DATA.x)
    np.testing.assert_allclose(y, share * DATA.x**2 + (1 - share) * np.maximum(DATA.x, 0), rtol=1e-6)


def test_plain_relu_is_left_after_training():
    fitted = training.fit(MIXED, DATA, epochs=4, batch_size=12, schedules=FADING)
    plain = models.create("mlp", 3, hidden=(5,))
    deployed = {"params": fitted.variables["params"]}
    np.testing.assert_array_equal(
        training.predict(MIXED, fitted.variables, DATA.x), training.predict(plain, deployed, DATA.x)
    )
    start = jax.tree.map(np.asarray, MIXED.init(jax.random.key(0), DATA.x[:1]))
    linear = models.create("mlp", 3, hidden=(5,), activation="identity")
    first = training.fit(MIXED, DATA, init=start, epochs=4, batch_size=12, schedules=FADING).loss[0]
    alone = training.fit(linear, DATA, init={"params": start["params"]}, epochs=4, batch_size=12).loss[0]
    np.testing.assert_allclose(first, alone, rtol=1e-6)  # in the first epoch the share is 1


@pytest.mark.parametrize(
    "schedules, message",
    [
        (None, "no schedule sets their share 'mixture': plain ReLU would be trained"),
        ({"mixture": training.linear(0.25, 0.75)}, "is 1 in the last of 4 epochs and must be 0"),
    ],
)
def test_a_mixture_that_does_not_fade_is_refused(schedules, message):
    with pytest.raises(ValueError, match=message):
        training.fit(MIXED, DATA, epochs=4, schedules=schedules)


@pytest.mark.parametrize("other", ["quadratic", "herpn"])
def test_what_relu_would_leave_behind_is_refused(other):
    with pytest.raises(ValueError, match=f"other='{other}' has variables of its own"):
        MixedRelu(other).init(jax.random.key(0), DATA.x)
