"""How models are asked: every predictor gets its own finite records, every model of a kind the same program."""

from __future__ import annotations

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import attacks, audit, metrics, models, probes
from gecko_jax.audit.reading import model_reader
from gecko_jax.probes import hopskipjump_walk
from gecko_jax.probes.readers.scale import bounds
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Examples

N, D, CLASSES = 40, 5, 3
RNG = np.random.default_rng(0)
X = RNG.random((N, D)).astype(np.float32)
WEIGHT = RNG.normal(size=(D, CLASSES))
OUTPUTS = (X - 0.5) @ WEIGHT
Y = np.where(RNG.random(N) < 0.65, OUTPUTS.argmax(1), (OUTPUTS.argmax(1) + 1) % CLASSES).astype(np.int32)
KNOWN, UNKNOWN = (Examples(X[rows], Y[rows], np.arange(N)[rows]) for rows in (slice(0, 20), slice(20, N)))


def predict(x):
    return (x - 0.5) @ WEIGHT


def test_boundary_walks_of_a_numpy_model_that_errs():
    """Its misclassified records are among the starts, and never walk from themselves: no row is NaN, and all are 0."""
    asked, distances = [], []

    def watched(x):
        asked.append(np.isfinite(x).all())
        return predict(x)

    def keep(signals):
        return distances.append(signals.target) or signals.target

    stored = attacks.Attack("kept", SIGNALS["boundary_distance"], keep)
    report = audit.audit(watched, KNOWN, UNKNOWN, attacks=[attacks.boundary(), stored])
    right = OUTPUTS.argmax(1) == Y
    assert 0.5 < right.mean() < 0.8 and all(asked) and len(asked) > 100
    margins = OUTPUTS[np.arange(N), Y][:, None] - OUTPUTS
    across = np.linalg.norm(WEIGHT.T[Y][:, :, None] - WEIGHT, axis=1)
    planes = np.where(across > 0, margins / np.where(across > 0, across, 1), np.inf).min(1)
    results = distances[0]
    assert report.rows["boundary"]["auc"].value == pytest.approx(metrics.roc_auc(results, np.arange(N) < 20))
    np.testing.assert_array_equal(results[~right], 0)
    assert (results[right] >= planes[right] * (1 - 1e-4)).all() and (results[right] > 0).all()


def test_boundary_walks_where_the_pool_reaches_further_than_the_audited_records():
    wide = Examples(
        np.concatenate([X, [[-2.0] * D, [3.0] * D]]).astype(np.float32), np.append(Y, [0, 1]), np.arange(42)
    )
    reader = model_reader.ModelReader(predict, False, reference_inputs=X)
    assert bounds(X, X) == (0, 1) and bounds(X, wide.x) == (-2, 3)
    results = reader.read(predict, wide.x[-4:], np.array([0, 1, 0, 1]), [SIGNALS["boundary_distance"]])
    assert np.isfinite(results.values["boundary_distance"]).all()


def test_a_model_that_answers_a_record_in_two_ways_is_asked_of_finite_rows():
    """One that begins its walk at itself, as no model of one answer can."""
    asked = []

    def watched(x):
        asked.append(bool(np.isfinite(x).all()))
        return (x.sum(1) > 2).astype(int)

    x = np.full((2, D), 0.3, np.float32)
    plan = hopskipjump_walk.plan_of(D, 4, 700, 1, 1.0, (0.0, 1.0))
    drawn = jnp.asarray(np.tile(np.eye(D, dtype=np.float32), (200, 1)))
    begin, labels = np.repeat(x[:, None], 2, 1), np.ones((2, 2), int)
    walks = hopskipjump_walk.Walks(None, plan, x, np.zeros(2, np.int32))
    distances = hopskipjump_walk.walk(probes.on_host(watched), (D,), walks, begin, labels, drawn)
    assert all(asked) and np.isfinite(distances).all()


def programs():
    return [f._cache_size() for f in (hopskipjump_walk._at_boundary, hopskipjump_walk._stretch)]


@pytest.mark.parametrize("kind", ["model", "numpy", "numpy with variables"])
def test_boundary_walks_of_all_models_share_their_programs(kind):
    traced = []
    model = models.create("mlp", CLASSES, hidden=(4,))

    def apply(variables, x, **options):
        traced.append(x.shape)
        return model.apply(variables, x, **options)

    if kind == "model":
        targets = [model.init(jax.random.key(i), X[:2]) for i in range(2)]
        reader = model_reader.ModelReader(model._replace(apply=apply), True, reference_inputs=X)
    elif kind == "numpy":
        targets = [lambda x: (x - 0.5) @ WEIGHT, lambda x: (x - 0.5) @ np.roll(WEIGHT, 1, 1)]
        reader = model_reader.ModelReader(targets[0], False, reference_inputs=X)
    else:
        targets = [WEIGHT, np.roll(WEIGHT, 1, 1)]
        reader = model_reader.ModelReader(lambda variables, x: (x - 0.5) @ variables, True, reference_inputs=X)
    results, counts = [], []
    for one in targets:
        y = reader.encoded(one, X[:4]).argmax(1)
        results.append(reader.read(one, X[:4], y, [SIGNALS["boundary_distance"]]).values["boundary_distance"])
        counts.append((programs(), len(traced)))
    assert counts[0] == counts[1]
    assert (results[0] > 0).all() and (results[1] > 0).all()
    if kind != "model":  # the second is the first, labels renamed: had the first been asked, all would be misclassified
        np.testing.assert_allclose(results[0], results[1], rtol=0.05)


@pytest.mark.parametrize(
    "queries",
    [
        lambda x: [x + 1, x + 2],
        lambda x: [],
        lambda x: [np.add(x, 1, out=x), x + 1],
    ],
)
def test_queries_begin_with_the_records_themselves(queries):
    with pytest.raises(ValueError, match=r"queries\(x\)\[0\] is not x"):
        audit.audit(predict, KNOWN, UNKNOWN, attacks=[attacks.loss()], queries=queries)


def test_queries_may_round():
    reader = model_reader.ModelReader(predict, False, queries=lambda x: [x.astype(np.float32), x + 1, x + 2])
    assert reader.queries is not None and len(reader.copies(X.astype(np.float64) / 3)) == 2
    assert model_reader.ModelReader(predict, False).copies(X) == []
    reader = model_reader.ModelReader(predict, False, queries=lambda x: [x, x[:, :2]])
    with pytest.raises(ValueError, match="queries has shape"):
        reader.copies(X)


def test_a_predict_that_works_in_place_changes_nothing_else():
    buffer = np.zeros((8, CLASSES))

    def in_place(x):
        x -= 0.5
        np.matmul(x, WEIGHT, out=buffer[: len(x)])
        x *= 0
        return buffer[: len(x)]

    signals = ["sensitivity", "boundary_distance", "label_robustness", "hinge_on_record"]
    read = [SIGNALS[name] for name in signals]
    results, wanted = (
        model_reader.ModelReader(one, False, batch_size=8, reference_inputs=X).read(one, X[:16].copy(), Y[:16], read)
        for one in (in_place_for_walks(in_place), predict)
    )
    np.testing.assert_array_equal(results.logits, wanted.logits)
    for name in signals:
        np.testing.assert_allclose(results.values[name], wanted.values[name], rtol=1e-6)


def in_place_for_walks(function):
    """Blocks of its own size: walks ask more rows at once."""
    return lambda x: (
        np.concatenate([function(x[i : i + 8]).copy() for i in range(0, len(x), 8)]) if len(x) > 8 else function(x)
    )


FIRST = model_reader.ModelReader(predict, False, reference_inputs=X)
OTHERS = {
    "outputs": FIRST._replace(outputs="probabilities"),
    "scale and bounds": FIRST._replace(reference_inputs=2 * X),
    "starts": FIRST._replace(reference_inputs=X[::-1]),
    "queries": FIRST._replace(queries=lambda x: [x, x + 1]),
    "other queries": FIRST._replace(queries=lambda x: [x, -x]),
    "more queries": FIRST._replace(queries=lambda x: [x, x + 1, -x]),
}


def test_a_fingerprint_tells_what_is_asked_apart():
    names = {FIRST.fingerprint(X), *(other.fingerprint(X) for other in OTHERS.values()), FIRST.fingerprint(X[:, ::-1])}
    assert len(names) == len(OTHERS) + 2
    same = FIRST._replace(predict=lambda x: -x, batch_size=7, reference_inputs=X.copy())
    assert same.fingerprint(X.copy()) == FIRST.fingerprint(X)


def test_a_fingerprint_leaves_out_what_is_not_read():
    doubled = OTHERS["scale and bounds"]
    for signals, same in ((["loss"], True), (["label_robustness"], False), (["boundary_distance"], False)):
        read = [SIGNALS[name] for name in signals]
        assert (doubled.fingerprint(X, read) == FIRST.fingerprint(X, read)) == same
    images = RNG.random((6, 4, 4, 1)).astype(np.float32)  # which are shifted, by no scale
    read = [SIGNALS["label_robustness"]]
    names = {
        model_reader.ModelReader(predict, False, reference_inputs=x).fingerprint(images, read)
        for x in (images, 2 * images)
    }
    assert len(names) == 1


def test_a_fingerprint_is_of_contents_alone():
    """Bytes, shapes and types: what Python names afresh in each process (identities, hashes of words) has no part."""
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    few = x[[0, 1, 2, 4]]
    results = hashlib.blake2b(digest_size=8)
    for part in ("logits", few, few + 1):
        part = np.asarray(part if isinstance(part, np.ndarray) else np.atleast_1d(part))
        results.update(f"{part.shape}{part.dtype}".encode() + part.tobytes())
    reader = model_reader.ModelReader(None, False, queries=lambda x: [x, x + 1], reference_inputs=x)
    assert reader.fingerprint(x, []) == results.hexdigest() and len(results.hexdigest()) == 16
