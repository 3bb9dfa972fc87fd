"""Ensembles audited by themselves: against a naive loop, on nothing, and on a planted leak."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from gecko_jax import attacks, audit
from gecko_jax.attacks import Attack
from gecko_jax.audit.scoring import thresholds
from gecko_jax.audit.validity import inputs
from gecko_jax.signals import SIGNALS

ONE_FOR_ALL = ("confidence", "entropy", "gap", "loss")


def ensemble(seed, models=4, n=200, leak=0.0, classes=3):
    """Records of different hardness, members `leak` surer of their label; members drawn by coins."""
    rng = np.random.default_rng(seed)
    member = rng.random((models, n)) < 0.5
    y = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + rng.normal(size=(models, n, classes))
    logits += (1.0 + leak * member)[..., None] * np.eye(classes)[y]
    return logits, y, member


def naive(logits, y, member, per_class):
    """Attack accuracies of thresholds on the loss (one or per class), by plain loops over records and thresholds."""
    models, n, _ = logits.shape
    score = [[logits[k, i, y[i]] - np.log(np.exp(logits[k, i]).sum()) for i in range(n)] for k in range(models)]

    def accuracy(cases, limit):
        answers = {True: [], False: []}
        for value, truth, label in cases:
            answers[truth].append(value >= limit(label))
        return (np.mean(answers[True]) + 1 - np.mean(answers[False])) / 2

    result = []
    for target in range(models):
        seen = [(score[k][i], bool(member[k, i]), y[i]) for k in range(models) if k != target for i in range(n)]
        limits = {}
        for label in set(y):
            mine = [case for case in seen if case[2] == label or not per_class]
            options = sorted({value for value, _, _ in mine}, reverse=True)
            limits[label] = options[int(np.argmax([accuracy(mine, lambda _, t=t: t) for t in options]))]
        triples = [(score[target][i], bool(member[target, i]), y[i]) for i in range(n)]
        result.append(accuracy(triples, limits.get))
    return result


@pytest.mark.parametrize("per_class", [False, True])
def test_a_naive_loop_agrees(per_class):
    logits, y, member = ensemble(0, models=3, n=30, leak=1.0)
    attack = Attack("mine", SIGNALS["loss"], lambda signals: -signals.target, per_class=per_class)
    report = audit.audit_models(logits, y, member, [attack])
    results = [row["mine"]["attack_accuracy"].value for row in report.targets]
    np.testing.assert_allclose(results, naive(logits, y, member, per_class))
    mean = report.rows["mine"]["attack_accuracy"]
    assert (mean.value, mean.n, mean.kind) == (pytest.approx(np.mean(results)), 3, "measured")


def test_a_threshold_never_sees_the_targets_members():
    logits, y, member = ensemble(1, leak=1.0)
    before = audit.audit_models(logits, y, member)
    for target in range(4):
        flipped = member.copy()
        flipped[target] ^= True
        after = audit.audit_models(logits, y, flipped)
        for name in set(before.rows) - {"yeom"}:  # whose attacker is told the mean loss of the members
            # The same records are called members as before, so hits and false alarms change places exactly.
            old, new = (report.targets[target][name]["attack_accuracy"].value for report in (before, after))
            assert new == pytest.approx(1 - old, abs=1e-12), name
            assert old > 0.5
    assert {"lira", "rmia", "loss"} <= set(before.rows)


def test_nothing_is_found_where_there_is_nothing_and_a_fit_to_the_target_would_find_some():
    results, fitted = collections.defaultdict(list), []
    for seed in range(60):
        logits, y, member = ensemble(seed, models=3, n=60)
        report = audit.audit_models(logits, y, member)
        for name in report.rows:
            results[name].append(report.rows[name]["attack_accuracy"].value)
        loss = -SIGNALS["loss"](logits[0], y)
        limit = thresholds.best_threshold(loss, member[0])
        fitted.append(np.mean([(loss >= limit)[member[0]].mean(), (loss < limit)[~member[0]].mean()]))
    for name, values in results.items():
        assert abs(np.mean(values) - 0.5) < 4 * np.std(values, ddof=1) / np.sqrt(60), name
        assert np.std(values) / np.sqrt(60) < 0.01
    assert np.mean(fitted) > 0.55  # what an optimistic audit would have printed


def test_a_planted_leak_is_found_by_every_attack():
    report = audit.audit_models(*ensemble(2, n=1000, leak=3.0))
    for name, row in report.rows.items():
        assert row["auc"].low > 0.55, name
        assert row["attack_accuracy"].low > 0.55, name
        assert row["advantage"].value == pytest.approx(2 * row["attack_accuracy"].value - 1)
    assert report.rows["loss"]["auc"].value > report.rows["gap"]["auc"].value
    gap = report.performance["accuracy"]["members"].value - report.performance["accuracy"]["nonmembers"].value
    assert report.rows["gap"]["attack_accuracy"].value == pytest.approx(0.5 + gap / 2, abs=1e-9)


def test_curves_and_histograms_are_counts():
    logits, y, member = ensemble(3, n=300, leak=2.0)
    report = audit.audit_models(logits, y, member)
    score = -SIGNALS["loss"](logits, y)
    curve = report.curves["loss"]
    for k in range(4):
        for j in (0, 25, 50, 60, 80, 100):
            options = [s for s in score[k] if (score[k][~member[k]] >= s).mean() <= curve.fpr[j]]
            best = max([(score[k][member[k]] >= s).mean() for s in options], default=0.0)
            assert curve.tpr[k, j] == best
            assert curve.tpr_low[k, j] <= best <= curve.tpr_high[k, j]
    np.testing.assert_allclose(curve.mean, curve.tpr.mean(0))
    assert (curve.mean_low <= curve.mean).all() and (curve.mean <= curve.mean_high).all()
    assert curve.fpr[50] == 0.01 and curve.fpr[25] == 0.001
    np.testing.assert_array_equal(report.confidence_histogram.members.sum(1), report.members)
    np.testing.assert_array_equal(report.confidence_histogram.nonmembers.sum(1), (~member).sum(1))


def test_warnings_name_what_cannot_be_resolved():
    logits, y, member = ensemble(4, n=1100)
    warned = audit.audit_models(logits, y, member).warnings
    fewest = (~member).sum(1).min()
    assert [w for w in warned if f"0.1% FPR cannot be resolved with {fewest} non-members" in w]
    assert not [w for w in warned if "1.0%" in w]
    assert len(audit.audit_models(logits, y, member, records=np.arange(150)).warnings) == 2


def test_designs_that_tell_the_target_are_named():
    rng = np.random.default_rng(5)
    half = rng.random((2, 400)) < 0.5
    assert inputs.check_design(rng.random((8, 400)) < 0.5) == []
    pairs = inputs.check_design(np.concatenate([half, ~half]))
    assert len(pairs) == 2 and "-1.00" in pairs[0] and "exactly 2 of the 4" in pairs[1]
    overlap = half.copy()
    overlap[1, :200] = overlap[0, :200]
    assert "correlated (+0." in inputs.check_design(overlap)[0]
    with pytest.raises(ValueError, match="rows 0 and 2 are equal"):
        inputs.check_design(np.concatenate([half, half[:1]]))


def test_a_subset_of_records_is_that_audit():
    logits, y, member = ensemble(6)
    rows = np.random.default_rng(0).permutation(200)[:80]
    some = audit.audit_models(logits, y, member, records=rows)
    assert some.rows == audit.audit_models(logits[:, rows], y[rows], member[:, rows]).rows
    for bad, words in ((np.arange(200) > 5, "dtype"), ([0, 0], "distinct"), ([200], "0..199"), ([], "empty")):
        with pytest.raises(ValueError, match=words):
            audit.audit_models(logits, y, member, records=bad)


def test_shadows_reach_an_attack_and_too_few_are_refused():
    logits, y, member = ensemble(7, models=4)
    counts = []

    def score(signals):
        counts.append(signals.values.shape)
        return signals.target - signals.values.mean(0)

    needy = Attack("needy", SIGNALS["phi"], score, shadows=2)
    audit.audit_models(logits, y, member, [needy])
    assert set(counts) == {(3, 200), (2, 200)}  # the target's three shadows; a fake target's two
    with pytest.raises(ValueError, match="needs 2 shadow models and would have 1"):
        audit.audit_models(logits[:3], y, member[:3], [needy])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda z, y, m: (z[:1], y, m[:1]), "audit_model"),
        (lambda z, y, m: (z[0], y, m[0]), "logits has shape"),
        (lambda z, y, m: (z, y[:-1], m), "y has shape"),
        (lambda z, y, m: (z, y + 1, m), "expected 0..2"),
        (lambda z, y, m: (z, y.astype(float), m), "dtype"),
        (lambda z, y, m: (z, y, m[:2]), "member has shape"),
        (lambda z, y, m: (z, y, m + 1), "other than 0 and 1"),
        (lambda z, y, m: (z, y, m | (np.arange(4) == 2)[:, None]), "0 non-members in row 2"),
        (lambda z, y, m: (z * np.nan, y, m), "NaN"),
        (lambda z, y, m: (np.full_like(z, 1 / 3), y, m), "are probabilities"),
        (lambda z, y, m: (z.astype(str), y, m), "dtype"),
    ],
)
def test_bad_input_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        audit.audit_models(*change(*ensemble(8)))


def test_bad_attacks_are_named():
    data = ensemble(9)
    for bad, words in (
        ([], "empty"),
        ([3], "expected an Attack"),
        ([attacks.loss(), attacks.loss()], "each must stand once"),
    ):
        with pytest.raises(ValueError, match=words):
            audit.audit_models(*data, attacks=bad)
