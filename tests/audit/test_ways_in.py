"""Models and records of every kind come in: one output, labels alone, fixed batches, sparse, dicts, text, objects."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse, special

from gecko_jax import attacks, audit, metrics
from gecko_jax.audit import audit_targets
from gecko_jax.audit.validity.blind_baselines import Baselines
from gecko_jax.types import Examples, Model

N = 80
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 6)).astype(np.float32)
MEMBER = np.arange(N) < N // 2
Y = (X[:, 0] + 0.3 * RNG.normal(size=N) > 0).astype(int)
Z = X[:, 0] + np.where(MEMBER, 1.0, 0.3) * (2 * Y - 1)  # a logit that knows its members' labels
LOSS = np.logaddexp(0, -(2 * Y - 1) * Z)  # by hand: softplus of minus the margin
AUC = metrics.roc_auc(-LOSS, MEMBER)


@pytest.fixture(name="quick")
def without_a_classifier_of_the_records(monkeypatch):
    """It takes most of an audit's time."""
    monkeypatch.setattr(audit_targets, "_blind", lambda *_: Baselines({}, []))


def parts(x, y=Y):
    return [Examples(x[rows], y[rows], np.flatnonzero(rows)) for rows in (MEMBER, ~MEMBER)]


def rows_of(x):
    """Where records stand, by their second feature."""
    return np.array([np.flatnonzero(X[:, 1] == one)[0] for one in np.asarray(x)[:, 1]])


FORMS = {
    "logit [n]": (lambda z: z, "logits"),
    "logit [n, 1]": (lambda z: z[:, None], "logits"),
    "bfloat16 logit": (lambda z: jnp.asarray(z[:, None], jnp.bfloat16), "logits"),
    "sigmoid [n]": (special.expit, "probabilities"),
    "sigmoid [n, 1]": (lambda z: special.expit(z)[:, None], "probabilities"),
    "both logits": (lambda z: np.stack([np.zeros(len(z)), z], 1), "logits"),
}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_one_output_is_the_pair_that_it_means(name, quick, tmp_path):
    form, outputs = FORMS[name]
    tolerance = 0.02 if "bfloat16" in name else 1e-12
    reports = [
        audit.audit(lambda x: form(Z[rows_of(x)]), *parts(X), outputs=outputs),
        audit.audit_model(form(Z), Y, MEMBER, outputs=outputs),
    ]
    if "bfloat16" not in name:
        array = {"logits": "logits", "probabilities": "probs"}[outputs]
        np.savez(tmp_path / "a.npz", **{array: form(Z)}, y=Y, member=MEMBER)
        reports.append(audit.from_predictions(tmp_path / "a.npz"))
    for report in reports:
        assert report.rows["loss"]["auc"].value == pytest.approx(AUC, abs=tolerance)
        assert report.performance["accuracy"]["members"].value == np.mean((Z > 0)[MEMBER] == Y[MEMBER])
    if outputs == "probabilities":
        with pytest.raises(ValueError, match="say outputs='probabilities'"):
            audit.audit_model(form(Z), Y, MEMBER)


@pytest.mark.parametrize("axis", [(), (1,)])
def test_one_output_of_several_models(axis):
    rng = np.random.default_rng(1)
    z, member = rng.normal(size=(5, N)), rng.random((5, N)) < 0.5
    pairs = np.stack([np.zeros_like(z), z], -1)
    wanted = audit.audit_models(pairs, Y, member, [attacks.lira(), attacks.loss()])
    for given, outputs in ((z, "logits"), (special.expit(z), "probabilities")):
        results = audit.audit_models(
            given.reshape(5, N, *axis), Y, member, [attacks.lira(), attacks.loss()], outputs=outputs
        )
        for name in ("lira", "loss"):
            assert results.rows[name]["auc"].value == pytest.approx(wanted.rows[name]["auc"].value)


def test_one_output_is_not_of_three_classes(quick):
    y = np.arange(N) % 3
    for way in (
        lambda: audit.audit_model(Z, y, MEMBER),
        lambda: audit.audit_model(Z[:, None], y, MEMBER),
        lambda: audit.audit(lambda x: x[:, :1], *parts(X, y)),
    ):
        with pytest.raises(ValueError, match="one output for each record, and y runs to 2"):
            way()


@pytest.mark.parametrize(
    "encode",
    [
        lambda p: 100 * p,
        lambda p: np.rint(255 * p),
        lambda p: np.rint(255 * p).astype(np.uint8),
        lambda p: np.rint(100 * p).astype(int)[:, None],
    ],
)
def test_one_output_in_percent_or_bytes_is_neither_logit_nor_label(encode, quick):
    encoded = encode(special.expit(Z))
    for way in (
        lambda: audit.audit_model(encoded, Y, MEMBER),
        lambda: audit.audit(lambda x: encoded[rows_of(x)], *parts(X)),
        lambda: audit.audit_models(np.stack([encoded] * 3), Y, np.random.default_rng(0).random((3, N)) < 0.5),
    ):
        with pytest.raises(ValueError, match="0 and 1|divide them by 100|expected 0..1"):
            way()
    audit.audit_model(special.logit(np.clip(special.expit(Z) / 2 + 0.5, 0, 1 - 1e-6)), Y, MEMBER)  # none is below 0


def test_a_jax_model_of_one_output(quick):
    """Its loss has no classes to differentiate, which leaves attacks by gradients out."""
    model = Model(lambda key, x: {"params": {}}, lambda variables, x, **_: (x @ variables["params"]["w"], {}))
    variables = {"params": {"w": jnp.eye(6)[:, :1]}}
    report = audit.audit(model, *parts(X), variables=variables)
    loss = np.logaddexp(0, -(2 * Y - 1) * X[:, 0])
    assert report.rows["loss"]["auc"].value == pytest.approx(metrics.roc_auc(-loss, MEMBER))
    assert any("small_gradient" in note for note in report.notes)


GUESS = (Z > 0).astype(int)
WORDS = np.array(["no", "yes"])


@pytest.mark.parametrize(
    ("give", "y", "options"),
    [
        (lambda g: g, Y, {}),
        (lambda g: g.astype(bool), Y, {}),
        (lambda g: g[:, None], Y, {}),
        (lambda g: g.astype(float), Y, {"outputs": "labels"}),
        (lambda g: WORDS[g], WORDS[Y], {"classes": WORDS}),
        (lambda g: WORDS[g].astype(object), WORDS[Y].astype(object), {"classes": WORDS[::-1]}),
    ],
)
def test_labels_alone_are_attacked_by_labels(give, y, options, quick):
    predict = lambda x: give((x[:, 0] > 0).astype(int))  # noqa: E731
    report = audit.audit(predict, *parts(X, y), **options)
    right = ((X[:, 0] > 0) == Y).astype(float)
    assert set(report.rows) == {"gap"} and report.rows["gap"]["auc"].value == metrics.roc_auc(right, MEMBER)
    assert any("labels alone" in note and "loss" in note for note in report.notes)
    moving = [attacks.label_only(), attacks.boundary()]
    asked = audit.audit(predict, *parts(X, y), attacks=moving, **options)
    logits = audit.audit(lambda x: np.stack([-x[:, 0], x[:, 0]], 1), *parts(X), attacks=moving)
    assert asked.rows == logits.rows  # which read no more of logits than their labels
    with pytest.raises(ValueError, match="attack 'loss' reads 'loss', and predict gives labels alone"):
        audit.audit(predict, *parts(X, y), attacks=[attacks.loss()], **options)
    saved = audit.audit_model(give((X[:, 0] > 0).astype(int)), y, MEMBER, **options)
    assert saved.rows == report.rows


def test_labels_alone_in_a_file_and_of_several_models(tmp_path):
    member = np.random.default_rng(2).random((4, N)) < 0.5
    np.savez(tmp_path / "a.npz", predicted=np.tile(GUESS, (4, 1)), y=Y, member=member)
    report = audit.from_predictions(tmp_path / "a.npz")
    assert set(report.rows) == {"gap"} and any("lira" in note for note in report.notes)
    np.savez(tmp_path / "b.npz", predicted=WORDS[GUESS], y=WORDS[Y], member=MEMBER, classes=WORDS)
    assert set(audit.from_predictions(tmp_path / "b.npz").rows) == {"gap"}
    with pytest.raises(ValueError, match="attack 'loss' reads 'loss', and the model gives labels alone"):
        audit.audit_model(GUESS, Y, MEMBER, [attacks.loss()])
    with pytest.raises(ValueError, match="labels that run from 5 to 5; expected 0..1"):
        audit.audit(lambda x: np.full(len(x), 5 * (len(x) > 1)), *parts(X))


def test_words_without_classes_are_named(quick):
    for way in (
        lambda: audit.audit_model(WORDS[GUESS], WORDS[Y], MEMBER),
        lambda: audit.audit(lambda x: WORDS[(x[:, 0] > 0).astype(int)], *parts(X, WORDS[Y])),
    ):
        with pytest.raises(ValueError, match="y has dtype <U3; expected class numbers, or classes="):
            way()


@pytest.mark.parametrize("size", [7, 64, 200])
def test_a_fixed_batch_size_is_kept_in_every_call(size, quick):
    sizes = []

    def fixed(x):
        sizes.append(len(x))
        return np.stack([-x[:, 0], x[:, 0]], 1)

    chosen = [attacks.loss(), attacks.label_only(), attacks.quantile_regression()]
    chosen += [attacks.boundary()] if size == 64 else []  # many calls
    population = Examples(X + 9, Y, np.arange(N) + 1000)
    report = audit.audit(fixed, *parts(X), batch_size=size, attacks=chosen, population=population)
    assert set(sizes) == {size}
    plain = audit.audit(fixed, *parts(X), attacks=chosen, population=population)
    assert {name: row["auc"] for name, row in report.rows.items()} == {
        name: row["auc"] for name, row in plain.rows.items()
    }


CONTAINERS = {
    "csr": (sparse.csr_array, lambda x: x.toarray()),
    "coo matrix": (sparse.coo_matrix, lambda x: x.toarray()),
    "dok matrix, which is a dict as well": (sparse.dok_matrix, lambda x: x.toarray()),
    "dict": (lambda x: {"b": x[:, 3:], "a": x[:, :3]}, lambda x: np.hstack([x["a"], x["b"]])),
    "dict of sparse": (
        lambda x: {"a": sparse.csr_matrix(x[:, :3]), "b": x[:, 3:]},
        lambda x: np.hstack([x["a"].toarray(), x["b"]]),
    ),
    "objects": (lambda x: objects([{"row": row} for row in x]), lambda x: np.stack([one["row"] for one in x])),
    "text": (lambda x: np.array([" ".join(map(repr, row.tolist())) for row in x]),
             lambda x: np.array([one.split() for one in x], float)),
    "lists of unequal length": (lambda x: [[*row, 0][: 6 + i % 2] for i, row in enumerate(x.tolist())],
                                lambda x: np.array([one[:6] for one in x])),
}  # fmt: skip


def objects(rows):
    """An array of one object for each row."""
    contents = np.empty(len(rows), object)
    contents[:] = rows
    return contents


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_records_of_every_kind(name):
    pack, unpack = CONTAINERS[name]
    half = N // 2
    sides = [Examples(pack(X[rows]), Y[rows], np.arange(N)[rows]) for rows in (slice(0, half), slice(half, N))]
    pool = Examples(pack(X), Y, np.arange(N))

    def predict(x):
        rows = unpack(x)[:, 0]
        return np.stack([-rows, rows], 1)

    sparse_text = name in ("objects", "text", "lists of unequal length")
    report = audit.audit(predict, *sides, population=None, batch_size=30)
    plain = audit.audit_model(np.stack([-X[:, 0], X[:, 0]], 1), Y, MEMBER)
    assert report.rows["loss"]["auc"].value == pytest.approx(plain.rows["loss"]["auc"].value)
    assert ("records" in report.baselines) != sparse_text
    assert any("No classifier of the records" in warning for warning in report.warnings) == sparse_text

    def recipe(rows, key):
        return lambda x: predict(x) * (1 + 0.01 * len(rows))

    options = dict(recipe=recipe, pool=pool, key=0)
    shadowed = audit.audit(predict, *sides, shadows=3, attacks=[attacks.lira(), attacks.loss()], **options)
    assert set(shadowed.rows) == {"lira", "loss"}
    twin = sides[1]._replace(x=pack(np.concatenate([X[:7], X[half + 7 :]])))
    with pytest.raises(ValueError, match="of the nonmembers are among the members by content"):
        audit.audit(predict, sides[0], twin)


def test_a_dict_reaches_a_jax_model():
    def apply(variables, x, **_):
        return jnp.concatenate([-x["a"][:, :1], x["a"][:, :1]], 1) * variables["params"]["w"], {}

    model = Model(lambda key, x: {"params": {}}, apply)
    sides = [
        Examples({"a": X[rows, :3], "b": X[rows, 3:]}, Y[rows], np.flatnonzero(rows)) for rows in (MEMBER, ~MEMBER)
    ]
    report = audit.audit(model, *sides, variables={"params": {"w": jnp.float32(1)}})
    plain = audit.audit_model(np.stack([-X[:, 0], X[:, 0]], 1), Y, MEMBER)
    assert report.rows["loss"]["auc"].value == pytest.approx(plain.rows["loss"]["auc"].value)
    with pytest.raises(ValueError, match="parts of .* rows"):
        audit.audit(model, sides[0]._replace(x={"a": X[:40], "b": X[:30]}), sides[1], variables={})


def test_labels_alone_of_shadows():
    """Losses of 0 and infinity are on either side of every threshold, and overflow nowhere."""

    def recipe(rows, seed):
        return lambda x: (x[:, 0] + 0.01 * (seed % 50) * x[:, 2] > 0).astype(int)

    report = audit.audit(
        lambda x: (x[:, 0] > 0).astype(int), *parts(X), recipe, Examples(X, Y, np.arange(N)), shadows=3, key=0
    )
    assert set(report.rows) == {"gap"} and "3 shadow models" in report.threshold
    assert any("lira" in note and "labels alone" in note for note in report.notes)
