"""Outputs are what they are in any encoding: probabilities are never taken for logits, however they were rounded."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from gecko_jax import attacks, audit, metrics, probes
from gecko_jax.metrics.calibration import sum_tolerance
from gecko_jax.probes.outputs import as_logits
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Examples

M, N = 9, 600
ENCODINGS = {
    "float64": lambda p: p,
    "float32": lambda p: p.astype(np.float32),
    "float16": lambda p: p.astype(np.float16),
    "bfloat16": lambda p: p.astype(ml_dtypes.bfloat16),
    "8 bits": lambda p: np.rint(p * 255) / 255,
    "8 bits, cut": lambda p: np.floor(p * 255) / 255,
    "two digits": lambda p: np.round(p, 2),
    "a rounding below 0": lambda p: p - 1e-8,
    "three digits": lambda p: np.round(p, 3).astype(np.float32),
}
BEYOND = {
    "percent": lambda p: 100 * p,
    "whole percent": lambda p: np.rint(100 * p).astype(int),
    "bytes": lambda p: np.rint(255 * p).astype(np.uint8),
    "votes of 37 trees": lambda p: (
        np.eye(p.shape[-1], dtype=int)[np.argsort(-p)][..., :2, :].sum(-2) * 5
        + 27 * np.eye(p.shape[-1], dtype=int)[p.argmax(-1)]
    ),
    "votes as floats": lambda p: (
        np.floor(50 * p) + np.eye(p.shape[-1])[p.argmax(-1)] * (50 - np.floor(50 * p).sum(-1, keepdims=True))
    ),
    "37 times": lambda p: 37 * p,
    "in -1..1": lambda p: 2 * p - 1,
    "with the other sign": lambda p: -p,
    "top 2": lambda p: np.where(p >= np.sort(p)[..., -2:-1], p, 0) * 0.9,
    "independent sigmoids": lambda p: np.sqrt(p),
    "negative logarithms": lambda p: -np.log(p),
    "logarithms to the base 2": lambda p: np.log2(p),
    "logarithms to the base 10": lambda p: np.log10(p).astype(np.float32),
    "bytes with a sign": lambda p: (np.rint(255 * p) - 128).astype(np.int8),
}


@functools.cache
def models(classes=10):
    """(probabilities [m, n, c], labels, members) of models that are surer of their members."""
    rng = np.random.default_rng(classes)
    member, y, hard = rng.random((M, N)) < 0.5, rng.integers(0, classes, N), 1.5 * rng.normal(size=N)
    sure = 2 + hard + 1.5 * member + 0.8 * rng.normal(size=(M, N))
    logits = rng.normal(size=(M, N, classes)) + sure[..., None] * np.eye(classes)[y]
    return special.softmax(logits, -1), y, member


def lira(phi, member):
    """AUC of the first model: the ratio of normal densities of phi = log p / (1 - p), one variance for all records."""
    phi = np.clip(phi, phi[np.isfinite(phi)].min(), phi[np.isfinite(phi)].max())
    densities = []
    for side in (member[1:], ~member[1:]):
        values = [phi[1:, i][side[:, i]] for i in range(N)]
        known = np.array([v.mean() if len(v) else np.nan for v in values])
        mean = np.where(np.isnan(known), np.concatenate(values).mean(), known)
        squares = sum(((v - v.mean()) ** 2).sum() for v in values if len(v))
        variance = squares / sum(max(len(v) - 1, 0) for v in values)
        densities.append(-((phi[0] - mean) ** 2) / (2 * variance) - np.log(variance) / 2)
    score = densities[0] - densities[1]
    a, b = score[member[0]], score[~member[0]]
    return (np.mean(a[:, None] > b[None]) + np.mean(a[:, None] >= b[None])) / 2


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_declared_probabilities_leak_as_much_in_any_encoding(name):
    p, y, member = models()
    label_probability = p[:, np.arange(N), y]
    exact = lira(np.log(label_probability) - np.log1p(-label_probability), member)
    report = audit.audit_models(ENCODINGS[name](p), y, member, [attacks.lira()], outputs="probabilities")
    assert report.targets[0]["lira"]["auc"].value == pytest.approx(exact, abs=0.01) and exact > 0.7
    with pytest.raises(ValueError, match="are probabilities, .*say outputs='probabilities'") as refused:
        audit.audit_models(ENCODINGS[name](p), y, member)
    assert "as logits" not in str(refused.value) and "outputs='logits'" not in str(refused.value)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 12), st.integers(0, 2**16), st.floats(0.2, 4), st.sampled_from(sorted(ENCODINGS)))
def test_no_random_encoding_is_a_logit(classes, seed, scale, name):
    rng = np.random.default_rng(seed)
    p = special.softmax(scale * rng.normal(size=(30, classes)), -1)
    encoded = ENCODINGS[name](p)
    with pytest.raises(ValueError, match="probabilities"):
        as_logits("logits", encoded)
    if np.abs(np.asarray(encoded, float).sum(-1) - 1).max() <= sum_tolerance(classes):
        results = as_logits("probs", encoded, "probabilities")
        np.testing.assert_allclose(special.logsumexp(results, -1), 0, atol=1e-9)  # renormalized
        np.testing.assert_allclose(np.exp(results), p, atol=0.005 * classes + 0.01)
    else:
        with pytest.raises(ValueError, match="does not hold probabilities"):
            as_logits("probs", encoded, "probabilities")


@pytest.mark.parametrize("name", sorted(BEYOND))
def test_what_is_more_than_a_rounding_is_refused_declared_or_not(name):
    p, y, member = models()
    encoded = BEYOND[name](p)
    for outputs in ("logits", "probabilities"):
        with pytest.raises(ValueError, match="probabilit") as refused:
            audit.audit_models(encoded, y, member, outputs=outputs)
        assert "as logits" not in str(refused.value)
        with pytest.raises(ValueError, match="probabilit"):
            audit.audit_model(encoded[0], y, member[0], outputs=outputs)


@pytest.mark.parametrize("name", ["bfloat16", "two digits", "percent", "top 2"])
def test_every_way_in_refuses_alike(name, tmp_path):
    p, y, member = models()
    encoded = np.asarray({**ENCODINGS, **BEYOND}[name](p[0]), np.float32)
    np.savez(tmp_path / "outputs.npz", logits=encoded, y=y, member=member[0])
    x = np.arange(N, dtype=np.float32)[:, None]
    parts = (Examples(x[rows], y[rows], np.flatnonzero(rows)) for rows in (member[0], ~member[0]))
    ways = (
        lambda: audit.from_predictions(tmp_path / "outputs.npz"),
        lambda: audit.audit(lambda x: encoded[x[:, 0].astype(int)], *parts),
        lambda: probes.sensitivity(lambda x: encoded[x[:, 0].astype(int)], x, 0),
        lambda: audit.audit_model(np.log(p[0]), y, member[0], queries=[encoded]),
    )
    for way in ways:
        with pytest.raises(ValueError, match="are probabilities"):
            way()


@pytest.mark.parametrize(
    "logits",
    [
        lambda p: np.log(p),  # log probabilities are logits
        lambda p: np.log(p) - np.log(p).max(),
        lambda p: np.log(p) - np.log(p).max(-1, keepdims=True),
        lambda p: 5 * (np.log(p) - np.log(p).max(-1, keepdims=True)),
        lambda p: special.log_softmax(50 * np.log(p), -1),
        lambda p: np.rint(8 * np.log(p)).astype(np.int8),
        lambda p: np.maximum(np.log(p) + 5, 0),  # behind a rectifier
        lambda p: np.zeros_like(p),
    ],
)
def test_logits_stay_what_they_are(logits):
    p, y, member = models()
    raw_logits = logits(p)
    np.testing.assert_array_equal(as_logits("logits", raw_logits), raw_logits)
    assert np.array_equal(as_logits("logits", np.array([[0.2, 0.4]]), known=True), [[0.2, 0.4]])


def test_a_single_record_in_0_to_1_makes_no_probabilities_of_logits():
    """The audit asks one record first, and probes ask in batches; what outputs are is told from all of them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 3, 60)
    x[[0, 59]] = [0.1, 0.2, 0.3], [0.9, 0.2, 0.3]
    parts = (Examples(x[rows], y[rows], np.arange(60)[rows]) for rows in (slice(0, 30), slice(30, 60)))
    chosen = [attacks.loss()]
    report = audit.audit(lambda x: x, *parts, attacks=chosen, batch_size=59)
    loss = SIGNALS["loss"](x, y)
    assert report.rows["loss"]["auc"].value == pytest.approx(metrics.roc_auc(-loss, np.arange(60) < 30))
    assert probes.sensitivity(lambda x: x, x, 0, batch_size=59).shape == (60, 3)


def test_rounding_has_one_tolerance():
    for classes in (2, 5, 10, 1000):
        p = np.full((3, classes), 1 / classes)
        for miss, passes in ((0.9 * sum_tolerance(classes), True), (1.1 * sum_tolerance(classes), False)):
            for sign in (-1, 1):
                for taken in (
                    lambda p: as_logits("p", p, "probabilities"),
                    lambda p: metrics.brier_score(p, np.zeros(3, int)),
                ):
                    if passes:
                        taken(p * (1 + sign * miss))
                    else:
                        with pytest.raises(ValueError, match="does not hold probabilities"):
                            taken(p * (1 + sign * miss))
