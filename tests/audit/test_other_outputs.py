"""Language models and regressions: outputs that are not a classifier's, by saved arrays and by a predict function."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit, metrics, signals
from gecko_jax.types import Examples, Model

N, MODELS = 120, 5
RNG = np.random.default_rng(0)
MEMBER = RNG.random((MODELS, N)) < 0.5
Y = RNG.integers(0, 3, N)


def sequences(leak):
    """(logits [m, n, t, v], tokens [n, t]) of language models that know their members' next tokens better."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 7, (N, 6))
    y[:, 4:][rng.random((N, 2)) < 0.3] = -1
    truth = (np.arange(7) == y[..., None]) * (leak * MEMBER)[..., None, None]
    return rng.normal(size=(MODELS, N, 6, 7)) + truth, y


def test_language_models_are_audited_by_their_sequence_losses():
    logits, y = sequences(1.0)
    report = audit.audit_models(logits, y, MEMBER, outputs="tokens")
    losses, lowest = signals.sequence_loss(logits, y), signals.min_20_probability(logits, y)
    saved = audit.from_signals({"sequence_loss": losses, "min_20_probability": lowest}, MEMBER)
    assert report.rows == saved.rows and {"min_k", "loss", "lira", "rmia", "base"} <= set(report.rows)
    assert report.rows["lira"]["auc"].value > 0.8
    for i in range(MODELS):
        assert report.targets[i]["loss"]["auc"].value == pytest.approx(metrics.roc_auc(-losses[i], MEMBER[i]))
    # What reads a classifier alone is named with what it would need.
    assert report.not_run["gap"] == "it reads 'correct', from a classifier's logits, probabilities or predicted labels"
    assert "shokri" in report.not_run and set(report.rows) | set(report.not_run) == set(attacks.ATTACKS)
    more = [attacks.lira(signal=signals.token_losses), attacks.loss(signals.min_20_probability)]
    named = audit.audit_models(logits, y, MEMBER, more, outputs="tokens")
    assert set(named.rows) == {"lira_token_losses", "loss_min_20_probability"}
    assert named.rows["lira_token_losses"]["auc"].value > 0.65
    with pytest.raises(ValueError, match="'lira' reads 'phi', which is not there.*signal=gecko_jax.signals.sequence_l"):
        audit.audit_models(logits, y, MEMBER, [attacks.lira()], outputs="tokens")


def test_regressions_are_audited_by_their_squared_errors():
    rng = np.random.default_rng(2)
    y = rng.normal(size=N)
    outputs = y[None] + rng.normal(size=(MODELS, N)) * np.where(MEMBER, 0.3, 1.0)
    report = audit.audit_models(outputs, y, MEMBER, outputs="numbers")
    assert any("squared_error is read by" in note and "lira (usually phi)" in note for note in report.notes)
    assert report.rows["rmia"]["auc"].value > 0.65 and report.rows["loss"]["auc"].value > 0.65
    alone = audit.audit_model(outputs[0], y, MEMBER[0], outputs="numbers")
    assert alone.rows["loss"]["auc"].value == pytest.approx(metrics.roc_auc(-((outputs[0] - y) ** 2), MEMBER[0]))
    several = audit.audit_model(np.stack([outputs[0]] * 2, 1), np.stack([y] * 2, 1), MEMBER[0], outputs="numbers")
    assert several.rows["loss"]["auc"] == alone.rows["loss"]["auc"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(outputs="token"), "outputs='token' is not known. Did you mean 'tokens'"),
        (dict(outputs="tokens", classes=["a", "b"]), "classes= names the columns of a classifier"),
        (dict(outputs="tokens", y=Y), "y has shape"),
        (dict(outputs="numbers"), "expected one prediction for each of y"),
        (dict(outputs="tokens", queries=[np.zeros(3)]), r"queries\[0\] has shape"),
        (dict(outputs="tokens", member=MEMBER[0]), "expected as many models as rows of member"),
    ],
)
def test_outputs_that_are_not_what_they_are_said_to_be(change, said):
    logits, y = sequences(0.0)
    arguments = dict(logits=logits, y=y, member=MEMBER) | change
    run = audit.audit_model if np.ndim(arguments["member"]) == 1 else audit.audit_models
    with pytest.raises(ValueError, match=said):
        run(**arguments)


def tables(rows, y, seed):
    """A model that is its records: a table of tokens seen after each token, or the numbers of its members."""
    counts = np.full((7, 7), 0.1)
    for one in y[rows]:
        known = one[one >= 0]
        np.add.at(counts, (known[:-1], known[1:]), 1.0)
    return np.log(counts / counts.sum(1, keepdims=True))


def chains():
    """(x, y): sequences [n, t] of tokens, and the next token of each, negative at the end."""
    _, x = sequences(0.0)
    x = np.abs(x)
    return x, np.concatenate([x[:, 1:], np.full((len(x), 1), -1)], 1)


def sides(x, y, member=MEMBER[0]):
    return [Examples(x[rows], y[rows], np.flatnonzero(rows)) for rows in (member, ~member)]


def test_a_predict_function_of_tokens_with_shadows_and_a_folder(tmp_path):
    x, y = chains()
    trained = []

    def recipe(rows, seed):
        table = tables(rows, np.concatenate([x[:, :1], y], 1), seed)
        trained.append(len(rows))
        return lambda tokens: table[tokens]

    target = recipe(np.flatnonzero(MEMBER[0]), 0)
    run = dict(recipe=recipe, pool=Examples(x, y, np.arange(N)), shadows=4, key=0, outputs="tokens", folder=tmp_path)
    report = audit.audit(target, *sides(x, y), **run)
    assert {"loss", "lira", "rmia", "base"} <= set(report.rows) and "gap" in report.not_run
    both = [np.concatenate([a, b]) for a, b in zip(*sides(x, y), strict=True)]
    losses = signals.sequence_loss(target(both[0]), both[1])
    inside = np.arange(N) < MEMBER[0].sum()
    assert report.rows["loss"]["auc"].value == pytest.approx(metrics.roc_auc(-losses, inside))
    assert report.rows["lira"]["auc"].value > 0.6 and not report.slices
    assert audit.audit(target, *sides(x, y), **run).to_json() == report.to_json() and len(trained) == 5
    with pytest.raises(ValueError, match="say outputs='tokens'"):
        audit.audit(target, *sides(x, y))
    with pytest.raises(ValueError, match="classes= names the columns of a classifier"):
        audit.audit(target, *sides(x, y), outputs="tokens", classes=list("abcdefg"))


def test_an_ensemble_of_language_models():
    x, y = chains()
    full = np.concatenate([x[:, :1], y], 1)
    tables_of_models = np.stack([tables(np.flatnonzero(row), full, 0) for row in MEMBER]).astype(np.float32)
    model = Model(lambda key, x: {}, lambda variables, x, **_: (variables["params"]["table"][x], {}))
    variables = {"params": {"table": tables_of_models}}
    report = audit.audit_ensemble(model, variables, Examples(x, y, np.arange(N)), MEMBER, outputs="tokens")
    saved = audit.audit_models(np.stack([table[x] for table in tables_of_models]), y, MEMBER, outputs="tokens")
    assert report.rows == saved.rows and report.rows["rmia"]["auc"].value > 0.6


def test_a_predict_function_of_numbers_with_shadows():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(N, 3)).astype(np.float32), rng.integers(0, 50, N)
    place = {one: i for i, one in enumerate(x[:, 0].tolist())}

    def recipe(rows, seed):
        known = np.zeros(N, bool)
        known[rows] = True
        noise = np.random.default_rng(seed).normal(size=N) * np.where(known, 1.0, 2.0)
        return lambda x: np.array([y[place[one]] + noise[place[one]] for one in x[:, 0].tolist()])

    target = recipe(np.flatnonzero(MEMBER[0]), 1)
    pool = Examples(x, y, np.arange(N))
    report = audit.audit(target, *sides(x, y), recipe, pool, shadows=4, key=0, outputs="numbers", population=None)
    wanted = -((target(np.concatenate([part.x for part in sides(x, y)])) - np.concatenate([p.y for p in sides(x, y)]))
               ** 2)  # fmt: skip
    inside = np.arange(N) < MEMBER[0].sum()
    assert report.rows["loss"]["auc"].value == pytest.approx(metrics.roc_auc(wanted, inside))
    assert report.rows["lira"]["auc"].value > 0.6 and not report.slices  # integers are not classes here
    with pytest.raises(ValueError, match="say outputs='numbers'"):
        audit.audit(target, *sides(x, y.astype(float)))


@pytest.mark.parametrize("kind", ["tokens", "numbers"])
def test_training_mode_is_seen_of_other_outputs(kind):
    x, y = chains()
    draws = np.random.default_rng(4)

    def dropout(x):
        shape = (*x.shape, 7) if kind == "tokens" else x.shape[:1]
        return draws.normal(size=shape)

    labels = y if kind == "tokens" else draws.normal(size=N)
    report = audit.audit(dropout, *sides(x, labels), outputs=kind)
    assert any("not in evaluation mode: asked twice" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [("numbers", r"outputs have shape \(1, 3\) and y \(1,\)"), ("tokens", r"\(1, 3\)")],
)
def test_outputs_that_do_not_fit_their_labels_are_refused_by_the_first_record(outputs, message):
    asked = []
    ids = np.arange(18).reshape(2, 9)
    parts = (Examples(np.ones((9, 2)) * rows[:, None], rows.astype(float), rows) for rows in ids)
    with pytest.raises(ValueError, match=message):
        audit.audit(lambda x: asked.append(len(x)) or x @ np.ones((2, 3)), *parts, outputs=outputs)
    assert asked == [1]
