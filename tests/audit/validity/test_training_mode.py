"""A predict function that is in training mode is told, with its two answers; one that rounds is left in peace."""

from __future__ import annotations

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import attacks, audit
from gecko_jax.audit import audit_targets
from gecko_jax.audit.validity.blind_baselines import Baselines
from gecko_jax.types import Examples

N = 120
X = np.random.default_rng(0).normal(size=(N, 12)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, N)
KNOWN, UNKNOWN = (Examples(X[rows], Y[rows], np.arange(N)[rows]) for rows in (slice(0, 60), slice(60, N)))


class Net(nn.Module):
    """Two hidden layers."""

    dropout: float = 0.0
    norm: str = ""
    dtype: object = jnp.float32
    gain: float = 1.0

    @nn.compact
    def __call__(self, x, train):
        for width in (64, 32):
            x = nn.Dense(width, dtype=self.dtype)(x)
            if self.norm == "batch":
                x = nn.BatchNorm(use_running_average=not train, dtype=self.dtype)(x)
            if self.norm == "layer":
                x = nn.LayerNorm(dtype=self.dtype)(x)
            x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
        return self.gain * nn.Dense(4, dtype=self.dtype)(x)


@pytest.fixture(autouse=True)
def no_classifier_of_the_records(monkeypatch):
    """It is not what is tested here, and takes most of an audit's time."""
    monkeypatch.setattr(audit_targets, "_blind", lambda *_: Baselines({}, []))


def predictor(net, train):
    """x -> logits, each call with dropout of its own."""
    variables = net.init(jax.random.key(0), X, False)
    calls = iter(range(10**6))

    @jax.jit
    def apply(x, key):
        return net.apply(variables, x, train, rngs={"dropout": key}, mutable=["batch_stats"])[0]

    return lambda x: apply(x, jax.random.key(next(calls)))


def warned(predict, **options):
    report = audit.audit(predict, KNOWN, UNKNOWN, attacks=[attacks.loss()], **options)
    return [warning for warning in report.warnings if "evaluation mode" in warning]


@pytest.mark.parametrize(("rate", "outputs"), [(0.1, "logits"), (0.5, "probabilities")])
def test_dropout_is_told_with_both_answers(rate, outputs):
    predict = predictor(Net(dropout=rate), True)
    if outputs == "probabilities":
        predict = functools.partial(lambda plain, x: jax.nn.softmax(plain(x)), predict)
    (warning,) = warned(predict, outputs=outputs)
    assert "asked twice" in warning and "dropout" in warning
    both = [tuple(map(float, numbers.split(", "))) for numbers in re.findall(r"\(([\d., ]+)\)", warning)]
    assert len(both) == 2 and both[0] != both[1] and all(abs(sum(one) - 1) < 0.01 for one in both)
    assert not warned(predictor(Net(dropout=rate), False))


@pytest.mark.parametrize("size", [None, 32])
def test_statistics_of_the_batch_are_told(size):
    (warning,) = warned(predictor(Net(norm="batch"), True), batch_size=size)
    assert "asked alone and inside a batch" in warning and "statistics" in warning
    assert not warned(predictor(Net(norm="batch"), False), batch_size=size)


def test_augmentation_and_drawn_labels_are_told():
    draws = np.random.default_rng(0)
    assert "it is random" in warned(lambda x: 3 * (x + 0.5 * draws.normal(size=x.shape))[:, :4])[0]
    (warning,) = [
        w
        for w in audit.audit(lambda x: draws.integers(0, 4, len(x)), KNOWN, UNKNOWN).warnings
        if "evaluation mode" in w
    ]
    assert "asked twice" in warning


@pytest.mark.parametrize(
    ("dtype", "gain"), [(jnp.float32, 1.0), (jnp.bfloat16, 0.1), (jnp.bfloat16, 30.0), (jnp.float16, 1.0)]
)
def test_rounding_in_another_batch_size_is_not_taken_for_training(dtype, gain):
    net = Net(norm="layer", dtype=dtype, gain=gain)
    assert not warned(predictor(net, False))
    plain = predictor(net, False)

    def another_program(x):
        """As an accelerator may: one record by one order of the sums, many by another."""
        logits = np.asarray(plain(x), np.float32)
        return logits * (1 + (len(x) == 1) * float(jnp.finfo(dtype).eps))

    assert not warned(another_program)
    assert not warned(lambda x: np.round(jax.nn.softmax(plain(x).astype(jnp.float32)), 2), outputs="probabilities")


def test_a_shadow_in_training_mode_is_told():
    fine, noisy = predictor(Net(), False), predictor(Net(dropout=0.5), True)
    pool = Examples(X, Y, np.arange(N))
    options = dict(pool=pool, shadows=2, key=0)
    warnings = warned(fine, recipe=lambda rows, key: noisy, **options)
    assert len(warnings) == 1 and warnings[0].startswith("Of a shadow: The model is not in evaluation mode")


def test_a_predict_that_takes_no_single_record_says_how_to_ask_it():
    def fixed(x):
        if len(x) != 16:
            raise RuntimeError("expected 16 rows")
        return x[:, :4]

    with pytest.raises(RuntimeError, match="expected 16 rows") as error:
        warned(fixed)
    assert "batch_size=" in "".join(error.value.__notes__)
    assert not warned(fixed, batch_size=16)
