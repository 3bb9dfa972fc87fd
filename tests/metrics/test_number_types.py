"""Figures do not depend on the types that their numbers come in: the oracle is the same in float64 and int64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from gecko_jax import metrics
from gecko_jax.datasets import balanced, batches, single
from gecko_jax.integer import codes
from gecko_jax.signals import SIGNALS

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
NUMBERS = (*INTEGERS, "float16", "bfloat16", "float32")
MEMBERS = ("bool", *INTEGERS, "float16", "float32")
RNG = np.random.default_rng(0)
N, CLASSES = 300, 270  # more scores and more classes than a byte counts
ROWS = 40
LABELS = RNG.integers(0, 128, ROWS)  # 128 classes, which every type can write
LOGITS = RNG.integers(0, 60, (ROWS, CLASSES))
LOGITS[np.arange(ROWS), LABELS] += RNG.integers(0, 60, ROWS)
PROBS = special.softmax(LOGITS / 10, -1)
SCORES, MEMBER = RNG.integers(0, 100, N), RNG.random(N) < 0.5


def cast(values, dtype):
    return np.asarray(jnp.asarray(values, dtype)) if dtype == "bfloat16" else values.astype(dtype)


OF_CLASSES = {n: one for n, one in SIGNALS.items() if one.read and one.outputs in ("classes", "labels")}
OF_LOGITS = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, **OF_CLASSES}
OF_LOGITS["temperature"] = metrics.fit_temperature
OF_PROBS = {
    name: getattr(metrics, name)
    for name in ("expected_calibration_error", "maximum_calibration_error", "classwise_calibration_error")
    + ("brier_score", "negative_log_likelihood")
}
OF_SCORES = {
    "roc_auc": metrics.roc_auc,
    "roc_curve": metrics.roc_curve,
    "tpr_at_fpr": lambda scores, member: metrics.tpr_at_fpr(scores, member, 0.1),
    "tpr_interval": lambda scores, member: tuple(metrics.tpr_interval_at_fpr(scores, member, 0.1))[:3],
    "advantage": lambda scores, member: metrics.advantage(scores, member, 50),
    "difference": lambda scores, member: tuple(metrics.paired_auc_difference(scores, scores[::-1], member))[:3],
    "one_run": lambda scores, member: metrics.one_run_epsilon_from_scores(scores, member, np.uint8(200)).value,
    "exposure": lambda scores, member: metrics.exposure(scores[:5], scores[5:]),
}


def check_same(function, given_types, wide):
    for one, other in zip(np.atleast_1d(function(*given_types)), np.atleast_1d(function(*wide)), strict=True):
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), rtol=1e-12)


@given(st.sampled_from(sorted(OF_LOGITS)), st.sampled_from(NUMBERS), st.sampled_from(INTEGERS))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_logits_and_labels(name, dtype, of_labels):
    given_types = cast(LOGITS, dtype), cast(LABELS, of_labels)
    check_same(lambda *each: np.ravel(OF_LOGITS[name](*each)), given_types, (LOGITS.astype(float), LABELS))


@pytest.mark.parametrize("name", OF_PROBS)
def test_probabilities_and_labels(name):
    for dtype in INTEGERS:
        check_same(OF_PROBS[name], (PROBS, LABELS.astype(dtype)), (PROBS, LABELS))


@given(st.sampled_from(sorted(OF_SCORES)), st.sampled_from(NUMBERS), st.sampled_from(MEMBERS))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_scores_and_members(name, dtype, of_member):
    def function(*each):
        actual = OF_SCORES[name](*each)
        return np.concatenate([np.ravel(part) for part in (actual if isinstance(actual, tuple) else (actual,))])

    check_same(function, (cast(SCORES, dtype), MEMBER.astype(of_member)), (SCORES.astype(float), MEMBER))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_numbers_of_rows_seeds_and_names(dtype):
    of, ids = np.dtype(dtype).type, np.arange(100)
    member = np.random.default_rng(1).random((3, 300)) < 0.5
    actual, wanted = batches(member, of(7), of(3), of(1), model_ids=np.arange(3, dtype=dtype)), batches(member, 7, 3, 1)
    assert (actual.indices == wanted.indices).all() and (actual.weight == wanted.weight).all()
    assert (single(ids.astype(dtype), of(3), of(50)) == single(ids, 3, 50)).all()
    assert (balanced(ids.astype(dtype), of(4), of(3)) == balanced(ids, 4, 3)).all()


@pytest.mark.parametrize("bits", [1, 2, 7, 8])
def test_packed_levels(bits):
    """1 << np.uint8(8) is 0."""
    levels = np.random.default_rng(2).integers(0, 1 << bits, 300)
    for dtype in INTEGERS[1:]:
        packed = codes.pack_bits(levels.astype(dtype), np.uint8(bits))
        assert (packed == codes.pack_bits(levels, bits)).all()
        assert (codes.unpack_bits(packed, np.uint8(bits), np.int16(300)) == levels).all()
        assert codes.grid(levels.astype(dtype), np.uint8(bits)) == codes.grid(levels, bits)
