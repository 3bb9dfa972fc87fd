"""Named references: the ratio against a loop, what a reference tells by itself, users, and what is refused."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from gecko_jax import attacks, audit, metrics, signals
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Examples

PUBLISHED = pathlib.Path(__file__).parent / "mlm_losses" / "sample.npz"
M, N = 4, 200
RNG = np.random.default_rng(0)
MEMBER = RNG.random((M, N)) < 0.5
HARDNESS = RNG.gamma(4.0, size=N)
LOSS = HARDNESS[None] * np.where(MEMBER, 0.6, 0.9) + RNG.gamma(2.0, 0.1, size=(M, N))
PRETRAINED, SMALL = HARDNESS + RNG.gamma(2.0, 0.05, N), HARDNESS + RNG.gamma(2.0, 0.5, N)


def auc_by_counting(scores, member):
    gap = scores[member][:, None] - scores[~member][None]
    return (gap > 0).mean() + (gap == 0).mean() / 2


def published(which):
    """(target's losses, reference's, members) of the sample: 250 members and 250 non-members of each set."""
    arrays = np.load(PUBLISHED)
    member = arrays["members"], arrays[which]
    both = np.concatenate(member)
    return both[:, 0], both[:, 1], np.arange(len(both)) < len(member[0])


# Of all the published losses: AUC of the target's loss, of the ratio, and of the reference alone.
OF_ALL = {"mimic_nonmembers": (0.6606, 0.9280, 0.1882), "i2b2_nonmembers": (0.8126, 0.9040, 0.3146)}


@pytest.mark.parametrize("which", OF_ALL)
def test_published_losses_of_masked_models(which):
    """The ratio is far above the loss alone, and the first sentence says that the reference tells members by itself."""
    target, reference, member = published(which)
    report = audit.from_signals(
        {"sequence_loss": target}, member, ["loss", "reference_ratio"], references={"pubmed": reference}
    )
    for name, scores in (("loss", -target), ("reference_ratio", reference - target)):
        row = report.rows[name]
        assert row["auc"].value == pytest.approx(auc_by_counting(scores, member), abs=1e-12)
        assert row["tpr_at_1pct"].value == metrics.tpr_at_fpr(scores, member, 0.01)
    assert report.rows["reference_ratio"]["auc"].low > report.rows["loss"]["auc"].value
    alone = report.baselines["reference model pubmed"]
    assert alone.value == pytest.approx(auc_by_counting(-reference, member), abs=1e-12)
    figures = report.rows["loss"]["auc"], report.rows["reference_ratio"]["auc"], alone
    for figure, of_all in zip(figures, OF_ALL[which], strict=True):
        assert figure.low < of_all < figure.high
    assert alone.high < 0.5 and list(report.baselines) == ["reference model pubmed"]
    assert report.warnings[0].startswith("The reference model 'pubmed' alone tells members from non-members")
    figure = f"AUC {alone.value:.3f} [{alone.low:.3f}, {alone.high:.3f}], that is {1 - alone.value:.3f} the other way"
    assert figure in report.warnings[0]
    assert report.table().startswith("Warning: The reference model 'pubmed' alone")
    assert "Members differ from non-members without the model" in report.headline


def test_a_reference_that_tells_nothing_is_shown_without_a_warning():
    report = audit.from_signals({"sequence_loss": LOSS}, MEMBER, references={"pretrained": PRETRAINED})
    alone = report.baselines["reference model pretrained"]
    assert alone.low < 0.5 < alone.high and not any("reference model" in each for each in report.warnings)
    assert "Without the model, by the reference model pretrained: AUC" in report.table()
    assert "reference model pretrained" in json.loads(report.to_json())["baselines"]
    by_hand = np.mean([auc_by_counting(PRETRAINED - LOSS[i], MEMBER[i]) for i in range(M)])
    assert report.rows["reference_ratio"]["auc"].value == pytest.approx(by_hand, abs=1e-12)
    assert report.rows["reference_ratio"]["auc"].value > report.rows["loss"]["auc"].value + 0.1
    assert {"lira", "rmia", "base"} <= set(report.rows) and report.tried["reference_ratio"] == ("references",)
    without = audit.from_signals({"sequence_loss": LOSS}, MEMBER)
    assert "references={'pretrained'" in without.not_run["reference_ratio"]
    for name in without.rows:  # a reference changes no other attack
        assert without.rows[name]["auc"] == report.rows[name]["auc"], name


def test_one_row_for_each_of_several_references_and_one_for_their_mean():
    references = {"pretrained": {"loss": PRETRAINED}, "small": {"loss": SMALL}}
    report = audit.from_signals({"loss": LOSS[0]}, MEMBER[0], references=references)
    wanted = {
        "reference_ratio": (PRETRAINED + SMALL) / 2 - LOSS[0],
        "reference_ratio_pretrained": PRETRAINED - LOSS[0],
        "reference_ratio_small": SMALL - LOSS[0],
    }
    for name, scores in wanted.items():
        assert report.rows[name]["auc"].value == pytest.approx(auc_by_counting(scores, MEMBER[0]), abs=1e-12)
    named = [attacks.reference_ratio("small", "quotient"), attacks.lira(signal=signals.reference_ratio)]
    several = audit.from_signals({"loss": LOSS}, MEMBER, named, references=references)
    by_hand = [auc_by_counting(-LOSS[i] / SMALL, MEMBER[i]) for i in range(M)]
    assert several.rows["reference_quotient_small"]["auc"].value == pytest.approx(np.mean(by_hand), abs=1e-12)
    plain = audit.from_signals({"loss": LOSS}, MEMBER, [attacks.lira(signal=signals.loss)])
    shifted = several.rows["lira_reference_ratio"]["auc"].value
    assert shifted == pytest.approx(plain.rows["lira_loss"]["auc"].value, abs=0.005)  # of LiRA a shift cancels


def test_a_signal_of_ones_own_may_be_larger_for_members():
    log_p = signals.Signal("log_p", larger="members")
    report = audit.from_signals({log_p: -LOSS[0]}, MEMBER[0], references={"pretrained": -PRETRAINED})
    scores = PRETRAINED - LOSS[0]
    assert report.rows["reference_ratio"]["auc"].value == pytest.approx(auc_by_counting(scores, MEMBER[0]), abs=1e-12)
    alone = auc_by_counting(-PRETRAINED, MEMBER[0])
    assert report.baselines["reference model pretrained"].value == pytest.approx(alone, abs=1e-12)


def test_references_beside_shadows_of_one_target_and_a_population():
    unseen = HARDNESS[:50] * 1.01
    settings = dict(target={"loss": LOSS[0]}, target_member=MEMBER[0], references={"pretrained": PRETRAINED})
    shadows = {"loss": LOSS[1:]}
    report = audit.from_signals(
        shadows,
        MEMBER[1:],
        population={"loss": np.tile(unseen, (M - 1, 1))},
        target_population={"loss": unseen},
        **settings,
    )
    by_hand = auc_by_counting(PRETRAINED - LOSS[0], MEMBER[0])
    assert report.rows["reference_ratio"]["auc"].value == pytest.approx(by_hand, abs=1e-12)
    assert {"rmia", "population_rank"} <= set(report.rows) and not any("Left out" in note for note in report.notes)
    apart = audit.from_signals(shadows, MEMBER[1:], **settings)
    assert apart.rows["lira"]["auc"] == report.rows["lira"]["auc"]


USERS = RNG.permutation(np.repeat(np.arange(20), 10))
OF_USERS = RNG.random((M, 20)) < 0.5
BY_USER = OF_USERS[:, USERS]
THEIRS = HARDNESS[None] - 0.5 * BY_USER + RNG.gamma(2.0, 0.5, size=(M, N)) + 2


def test_users_are_the_records_by_a_loop():
    asked = ["loss", "reference_ratio"]
    report = audit.from_signals({"loss": THEIRS}, BY_USER, asked, references={"pretrained": HARDNESS}, users=USERS)
    assert report.members == tuple(OF_USERS.sum(1)) and "20 users with 10 rows each" in report.notes[0]
    for i in range(M):
        loss = np.array([THEIRS[i, user == USERS].mean() for user in range(20)])
        hard = np.array([HARDNESS[user == USERS].mean() for user in range(20)])
        for name, scores in (("loss", -loss), ("reference_ratio", hard - loss)):
            auc = auc_by_counting(scores, OF_USERS[i])
            assert report.targets[i][name]["auc"].value == pytest.approx(auc, abs=1e-12)
    values, member, names = audit.by_user({"sequence_loss": THEIRS}, BY_USER, USERS.astype(str))
    np.testing.assert_array_equal(member, OF_USERS[:, np.argsort(np.arange(20).astype(str))])
    np.testing.assert_allclose(values["sequence_loss"][:, names == "7"], THEIRS[:, USERS == 7].mean(1, keepdims=True))
    # A slice of users; one that divides a user's rows is refused.
    sliced = audit.from_signals({"loss": THEIRS}, BY_USER, ["loss"], users=USERS, slices={"first": USERS < 12})
    assert set(sliced.slices) == {"first"}
    with pytest.raises(ValueError, match=r"slices\['odd'\] marks .* records of user"):
        audit.from_signals({"loss": THEIRS}, BY_USER, ["loss"], users=USERS, slices={"odd": np.arange(N) % 2 == 0})


def test_users_of_one_target_beside_its_shadows():
    settings = dict(attacks=["loss"], users=USERS, target={"loss": THEIRS[0]}, target_member=BY_USER[0])
    report = audit.from_signals({"loss": THEIRS[1:]}, BY_USER[1:], **settings)
    loss = np.array([THEIRS[0, user == USERS].mean() for user in range(20)])
    assert report.rows["loss"]["auc"].value == pytest.approx(auc_by_counting(-loss, OF_USERS[0]), abs=1e-12)


VALUES = {"sequence_loss": LOSS[0]}
CLAIM = Epsilon(1.0, 1e-5, "add_or_remove", "pld", ())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"references": PRETRAINED}, "references is a ndarray; expected a dict"),
        ({"references": {}}, "references is empty"),
        ({"references": {1: PRETRAINED}}, "references has the key 1; expected the name"),
        ({"references": {"p": PRETRAINED[:5]}}, r"references\['p'\]\['sequence_loss'\] has shape \(5,\)"),
        ({"references": {"p": -PRETRAINED}}, "sequence_loss lies in 0..inf. If these are negated"),
        ({"references": {"p": np.full(N, np.nan)}}, "holds 200 NaN"),
        ({"references": {"p": LOSS[0]}}, "has the values of model 0: a reference is another model"),
        ({"references": {"p": {"loss": PRETRAINED}}}, "holds loss, and values .'sequence_loss'.; expected signals"),
        ({"references": {"p": {"min_20_probability": -PRETRAINED}}}, "expected signals that the targets have"),
        ({"attacks": ["reference_ratio"]}, r"'reference_ratio', which is not there; it comes from .*references="),
        ({"attacks": [attacks.reference_ratio("q")], "references": {"p": PRETRAINED}}, "reads 'reference_ratio_q'"),
        ({"users": np.arange(N)}, "users names 200 users for 200 records"),
        ({"users": USERS[:5]}, r"users has shape \(5,\); expected \(200\)"),
        ({"users": USERS / 2}, "users has dtype float64; expected a name"),
        ({"users": USERS}, r"member marks \d+ of the 10 records of user 0 .*Draw members by user"),
        ({"users": USERS, "member": BY_USER[0], "records": Examples(None, None, None)}, "records= is of records"),
        ({"users": USERS, "member": BY_USER[0], "population": {"sequence_loss": SMALL}}, "population= is of records"),
        ({"users": USERS, "member": BY_USER[0], "claimed_epsilon": CLAIM}, "protects 1 record of a user together"),
    ],
)
def test_what_does_not_fit_is_refused(settings, words):
    member = settings.pop("member", MEMBER[0])
    with pytest.raises(ValueError, match=words):
        audit.from_signals(VALUES, member, **settings)


def test_a_reference_needs_the_loss_that_it_is_compared_by():
    both = {"loss": LOSS[0], "zlib_ratio": LOSS[0] / 9}
    with pytest.raises(ValueError, match=r"references\['p'\] is an array and values hold \['loss', 'zlib_ratio'\]"):
        audit.from_signals(both, MEMBER[0], references={"p": PRETRAINED})
    with pytest.raises(ValueError, match="without 'loss', the loss that it is compared by"):
        audit.from_signals(both, MEMBER[0], references={"p": {"zlib_ratio": PRETRAINED}})
    with pytest.raises(ValueError, match="references are compared by a loss, and values hold"):
        audit.from_signals({"confidence": np.exp(-LOSS[0])}, MEMBER[0], references={"p": PRETRAINED})
    report = audit.from_signals(both, MEMBER[0], references={"p": {"loss": PRETRAINED, "zlib_ratio": PRETRAINED / 9}})
    assert list(report.baselines) == ["reference model p by loss", "reference model p by zlib_ratio"]
    assert {"loss", "reference_ratio", "zlib_ratio"} <= set(report.rows)
    assert "reference_quotient" not in " ".join(report.notes)


def test_a_file_holds_references_and_users(tmp_path):
    path = tmp_path / "losses.npz"
    np.savez(path, **{"loss": THEIRS, "member": BY_USER, "loss@pretrained": HARDNESS, "users": USERS})
    asked = ["loss", "reference_ratio"]
    saved = audit.from_predictions(path, asked)
    wanted = audit.from_signals({"loss": THEIRS}, BY_USER, asked, references={"pretrained": HARDNESS}, users=USERS)
    assert saved.rows == wanted.rows and saved.baselines == wanted.baselines and saved.notes == wanted.notes
    np.savez(path, **{"loss": THEIRS, "member": BY_USER, "los@pretrained": HARDNESS})
    with pytest.raises(ValueError, match="array 'los@pretrained'; expected the name of a signal, '@' and"):
        audit.from_predictions(path)
    np.savez(path, logits=np.zeros((N, 2)), member=MEMBER[0], y=np.zeros(N, int), users=USERS)
    with pytest.raises(ValueError, match="holds users beside 'logits'; an audit is of outputs or of signals"):
        audit.from_predictions(path)
