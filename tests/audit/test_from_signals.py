"""Saved signals come in: losses of any model, against attacks written out in NumPy; what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gecko_jax import attacks, audit, metrics, signals
from gecko_jax.signals import Signal
from gecko_jax.types import Examples

M, N, Z = 6, 120, 80
RNG = np.random.default_rng(0)
MEMBER = RNG.random((M, N)) < 0.5
HARDNESS = RNG.gamma(2.0, size=N + Z)
LOSS = HARDNESS[None, :N] * RNG.gamma(20.0, 0.05, size=(M, N)) * np.where(MEMBER, 0.7, 1.0)
UNSEEN = HARDNESS[None, N:] * RNG.gamma(20.0, 0.05, size=(M, Z))
Y = RNG.integers(0, 3, N)


def lira_by_hand(i):
    """Log ratio of two normal densities, one record after another, each side's variance pooled over the records."""
    others = [k for k in range(M) if k != i]
    sides = {}
    for inside in (True, False):
        groups = [[-LOSS[k, r] for k in others if MEMBER[k, r] == inside] for r in range(N)]
        every = np.concatenate(groups)
        spread = sum(sum((v - np.mean(g)) ** 2 for v in g) for g in groups if g)
        variance = spread / sum(max(len(g) - 1, 0) for g in groups)
        sides[inside] = [
            stats.norm.logpdf(-LOSS[i, r], np.mean(g), np.sqrt(variance))
            if g
            else stats.norm.logpdf(-LOSS[i, r], every.mean(), every.std())
            for r, g in enumerate(groups)
        ]
    return np.array(sides[True]) - np.array(sides[False])


def rmia_by_hand(i):
    """The share of the population with a smaller likelihood ratio, ties of that share broken by the ratio."""
    others = [k for k in range(M) if k != i]
    ratio, of_unseen = (
        np.exp(-values[i]) / np.mean([np.exp(-values[k]) for k in others], axis=0) for values in (LOSS, UNSEEN)
    )
    share = np.array([np.sum(of_unseen <= one) for one in ratio])
    return share + stats.rankdata(ratio) / (N + 1)


@pytest.fixture(name="saved")
def saved_losses(tmp_path):
    path = tmp_path / "losses.npz"
    np.savez(path, loss=LOSS, member=MEMBER, population=UNSEEN, y=Y)
    return path


def test_signals_from_a_file_are_attacked_as_by_hand(saved):
    file = np.load(saved)
    report = audit.from_signals(
        {"loss": file["loss"]},
        file["member"],
        attacks=["lira", "rmia"],
        population={"loss": file["population"]},
        records=Examples(None, file["y"], None),
    )
    for name, by_hand in (("lira", lira_by_hand), ("rmia", rmia_by_hand)):
        aucs = [metrics.roc_auc(by_hand(i), MEMBER[i]) for i in range(M)]
        assert [target[name]["auc"].value for target in report.targets] == pytest.approx(aucs, abs=1e-12)
        assert report.rows[name]["auc"].value > 0.6
    assert set(report.slices) == {"class 0", "class 1", "class 2"} and report.not_run["base"] == (
        "attacks= does not name it"
    )
    assert report.performance["mean loss"]["members"].value == pytest.approx(
        np.mean([row[inside].mean() for row, inside in zip(LOSS, MEMBER, strict=True)])
    )


def test_every_listed_attack_that_reads_a_loss_runs_and_the_others_say_why(tmp_path):
    report = audit.from_signals({"loss": LOSS}, MEMBER)
    assert set(report.rows) >= {"loss", "base", "base_offline", "calibrated_loss", "lira", "lira_student", "rmia"}
    assert set(report.rows) >= {"lira_offline", "population_rank", "reference_rank"}
    assert "'modified_entropy'" in report.not_run["modified_entropy"] and "slow" in report.not_run["shokri"]
    assert set(report.rows) | set(report.not_run) == set(attacks.ATTACKS)
    assert report.confidence_histogram is None and not report.slices
    np.savez(tmp_path / "losses.npz", loss=LOSS, member=MEMBER, y=Y)
    from_file = audit.from_predictions(tmp_path / "losses.npz")
    assert from_file.rows.keys() == report.rows.keys()
    assert from_file.rows["lira"] == report.rows["lira"] and "class 1" in from_file.slices


def test_one_target_beside_its_shadows_and_one_alone():
    shadows = {"loss": LOSS[1:]}, MEMBER[1:]
    together = audit.from_signals({"loss": LOSS}, MEMBER, ["lira", "rmia"], population={"loss": UNSEEN})
    report = audit.from_signals(
        *shadows, ["lira", "rmia"], target={"loss": LOSS[0]}, target_member=MEMBER[0],
        population={"loss": UNSEEN[1:]}, target_population={"loss": UNSEEN[0]},
    )  # fmt: skip
    for name in ("lira", "rmia"):
        assert report.rows[name]["auc"] == together.targets[0][name]["auc"]
    alone = audit.from_signals({"loss": LOSS[0]}, MEMBER[0], population={"loss": UNSEEN[0]})
    assert set(alone.rows) == {"loss", "population_rank", "yeom"} and "Only threshold attacks" in alone.headline
    assert alone.rows["loss"]["auc"].value == metrics.roc_auc(-LOSS[0], MEMBER[0])


@pytest.mark.parametrize("larger, sign", [("nonmembers", 1), ("members", -1)])
def test_a_signal_of_ones_own(larger, sign):
    mine = Signal("surprise", larger=larger)
    report = audit.from_signals({mine: sign * LOSS}, MEMBER)
    wanted = audit.from_signals({"loss": LOSS}, MEMBER)
    likelihoods = {"base", "base_offline", "rmia"}  # of exp(-signal), which needs one that members lower
    assert set(report.rows) == set(wanted.rows) - (likelihoods if larger == "members" else set())
    for name in ("loss", "lira", "calibrated_loss"):
        assert report.rows[name]["auc"].value == pytest.approx(wanted.rows[name]["auc"].value, abs=1e-12)
    named = audit.from_signals({mine: sign * LOSS, "soft_loss": LOSS}, MEMBER, [attacks.lira(signal=mine)])
    assert list(named.rows) == ["lira_surprise"] and any("no attack reads soft_loss" in note for note in named.notes)


def test_a_regression_on_diabetes():
    from sklearn.datasets import load_diabetes
    from sklearn.tree import DecisionTreeRegressor

    x, y = load_diabetes(return_X_y=True)
    member = np.random.default_rng(1).random((8, len(y))) < 0.5
    trees = [DecisionTreeRegressor(min_samples_leaf=4, random_state=0).fit(x[rows], y[rows]) for rows in member]
    errors = signals.squared_error(np.array([tree.predict(x) for tree in trees]), y)
    report = audit.from_signals({"squared_error": errors}, member, records=Examples(x, y, np.arange(len(y))))
    assert report.rows["loss"]["auc"].value == pytest.approx(
        np.mean([metrics.roc_auc(-row, inside) for row, inside in zip(errors, member, strict=True)])
    )
    assert report.rows["lira"]["auc"].low > 0.6 and report.most_exposed.id is not None
    inside, outside = (report.performance["mean squared error"][part].value for part in ("members", "nonmembers"))
    assert inside < 0.6 * outside


def test_members_that_look_like_non_members_are_warned_of():
    member = RNG.random((3, 2000)) < 0.5
    losses = RNG.gamma(4.0, size=(3, 2000)) * np.where(member, 1.4, 1.0)
    report = audit.from_signals({"loss": losses}, member, ["loss"])
    assert "By loss, members look like non-members" in report.warnings[0] and "~member" in report.warnings[0]
    assert not [w for w in audit.from_signals({"loss": LOSS}, MEMBER, ["loss"]).warnings if "look like" in w]


def wrong(**changes):
    return {"values": {"loss": LOSS}, "member": MEMBER} | changes


NAN = np.where(np.arange(N) == 3, np.nan, LOSS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (wrong(values={"loss": NAN}), r"values\['loss'\] holds 6 NaN of 720"),
        (wrong(values={"loss": LOSS.T}), r"member has shape \(6, 120\) and the values \(120, 6\).*member.T"),
        (wrong(values={"loss": LOSS[0]}), r"expected \(models, records\)"),
        (wrong(values={"loss": LOSS, "phi": LOSS[:, 1:]}), r"'phi'\] has shape \(6, 119\); expected \(6, 120\)"),
        (wrong(values={"loss": LOSS[:1]}, member=MEMBER[:1]), "another model"),
        (wrong(values={"loss": -LOSS}), "loss lies in 0..inf. If these are negated values, change the sign"),
        (wrong(values={"confidence": LOSS}), "confidence lies in 0..1"),
        (wrong(values={"los": LOSS}), "Did you mean 'loss'.*a Signal of your own"),
        (wrong(values={Signal("loss", larger="members"): LOSS}), "give yours another name"),
        (wrong(values={}), "values is empty"),
        (wrong(values=LOSS), "expected a dict"),
        (wrong(values={"top_posteriors": LOSS}), r"expected \(models, records, rank\)"),
        (wrong(member=np.ones_like(MEMBER)), "120 members and 0 non-members in row 0"),
        (wrong(member=3 * MEMBER), "expected a bool"),
        (wrong(attacks=["lyra"]), "Did you mean 'lira'"),
        (wrong(attacks=["entropy"]), "reads 'entropy', which is not there"),
        (wrong(attacks=[attacks.per_class(attacks.loss())]), "the labels are not class numbers"),
        (wrong(values={"top_posteriors": np.zeros((M, N, 3))}), "no listed attack reads top_posteriors"),
        (wrong(target={"loss": LOSS[0]}), "target= needs target_member="),
        (wrong(target_member=MEMBER[0]), "pass target="),
        (wrong(population={"phi": UNSEEN}), "expected the same of both"),
        (wrong(records=Examples(None, Y[1:], None)), r"records.y has 119 rows"),
        (wrong(slices={"a": np.zeros(3, bool)}), r"slices\['a'\]"),
        (wrong(claimed_epsilon=8.0), "expected a gecko_jax.privacy.Epsilon"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(arguments, message):
    with pytest.raises(ValueError, match=message):
        audit.from_signals(**arguments)
