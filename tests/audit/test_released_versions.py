"""Several released versions of one model, audited alone and together."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit, models
from gecko_jax.types import Examples, Signals

N, M, C = 400, 6, 3
RNG = np.random.default_rng(0)
Y, MEMBER = RNG.integers(0, C, N), RNG.random((M, N)) < 0.5
HARDNESS = RNG.normal(size=N)


def outputs(member, leak, seed):
    """[..., n, c] logits that know their members' labels by `leak`, with noise of their own."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(*member.shape, C)) + HARDNESS[:, None]
    return logits + (1 + leak * member)[..., None] * np.eye(C)[Y]


VERSIONS = {"float": outputs(MEMBER, 1.5, 1), "int8": outputs(MEMBER, 1.5, 2), "noise": outputs(MEMBER, 0.0, 3)}


def auc(scores, member):
    gap = scores[member][:, None] - scores[~member][None]
    return (gap > 0).mean() + (gap == 0).mean() / 2


@pytest.fixture(name="report", scope="module")
def audited():
    return audit.audit_versions(VERSIONS, Y, MEMBER, ["lira_student", "loss"])


def test_each_version_alone_is_its_own_audit(report):
    for version, logits in VERSIONS.items():
        alone = audit.audit_models(logits, Y, MEMBER, ["lira_student", "loss"])
        for name in ("lira_student", "loss"):
            assert report.rows[f"{name}@{version}"] == alone.rows[name]
    assert not {"lira_student", "loss"} & set(report.not_run) and "rmia" in report.not_run


def test_independent_versions_tell_more_together_and_one_without_a_leak_takes_nothing_away(report):
    """Two looks of equal strength: the distance of members and others grows by sqrt(2), the third version is noise."""
    alone = [report.rows[f"lira_student@{version}"]["auc"].value for version in ("float", "int8")]
    assert report.rows["lira_student@together"]["auc"].value > max(alone) + 0.04
    with_noise = audit.audit_versions({k: VERSIONS[k] for k in ("float", "noise")}, Y, MEMBER, ["lira_student"])
    rows = with_noise.rows
    assert rows["lira_student@together"]["auc"].value > rows["lira_student@float"]["auc"].value - 0.01
    mean = np.mean([leave_one_out_mean(k) for k in range(M)])
    assert rows["lira_student@together"]["auc"].value > mean + 0.02  # equal weights are drowned by the noise


def leave_one_out_mean(k):
    """AUC of the mean of the scores on "float" and "noise", target k."""
    rest, attack, scores = np.arange(M) != k, attacks.lira(variance="student"), 0
    for version in ("float", "noise"):
        values = attack.signal(VERSIONS[version], Y)
        scores = scores + attack(Signals(values[rest], MEMBER[rest], values[k]))
    return auc(scores, MEMBER[k])


def test_equal_versions_are_one():
    twice = audit.audit_versions({"a": VERSIONS["float"], "b": VERSIONS["float"]}, Y, MEMBER, ["rmia"])
    for metric in ("auc", "tpr_at_1pct"):
        assert twice.rows["rmia@together"][metric].value == pytest.approx(twice.rows["rmia@a"][metric].value)


@pytest.mark.parametrize("models", [2, 3, 4])
def test_the_threshold_of_equal_versions_is_that_of_one(models):
    """Stand-ins have a shadow fewer than targets: of three models they have too few for weights, and targets do not."""
    twice = {"a": VERSIONS["float"][:models], "b": VERSIONS["float"][:models]}
    rows = audit.audit_versions(twice, Y, MEMBER[:models], ["loss"]).rows
    assert rows["loss@together"]["attack_accuracy"].value == pytest.approx(rows["loss@a"]["attack_accuracy"].value)


def test_slices_are_judged_by_a_strong_attack_on_all_versions():
    report = audit.audit_versions(VERSIONS, Y, MEMBER, ["gap", "loss", "lira_student"])
    assert report.sliced_by == "lira_student@together"


@pytest.mark.parametrize("as_list", [False, True])
def test_predictors_of_one_target_beside_shadows_in_all_versions(as_list):
    """A model is a table of who was a member; its versions are tables of logits, by the record's number."""

    def model(member):
        tables = [outputs(member, 1.5, seed) for seed in (11, 12)]
        functions = [lambda x, table=table: table[x[:, 0].astype(int)] for table in tables]
        return functions if as_list else dict(zip(("float", "int8"), functions, strict=True))

    x = np.arange(N, dtype=np.float32)[:, None]
    target = RNG.permutation(N) < N // 2
    known, unknown, pool = (
        Examples(x[rows], Y[rows], np.flatnonzero(rows)) for rows in (target, ~target, np.ones(N, bool))
    )
    report = audit.audit(
        model(target), known, unknown, lambda rows, key: model(np.isin(np.arange(N), rows)), pool, shadows=5, key=0
    )
    first = "version_1" if as_list else "float"
    order = np.concatenate([np.flatnonzero(target), np.flatnonzero(~target)])
    losses = attacks.loss().signal(outputs(target, 1.5, 11)[order], Y[order])
    assert report.rows[f"loss@{first}"]["auc"].value == pytest.approx(auc(-losses, target[order]))
    assert report.rows["loss@together"]["auc"].value > report.rows[f"loss@{first}"]["auc"].value
    assert {name.partition("@")[0] for name in report.rows} >= {"rmia", "lira_student", "hierarchical_lira"}


def test_a_later_version_in_training_mode_is_told():
    rng, table = np.random.default_rng(0), VERSIONS["float"][0]

    def calm(x):
        return table[x[:, 0].astype(int)]

    def wild(x):
        return calm(x) + rng.normal(size=(len(x), C))

    x, rows = np.arange(N, dtype=np.float32)[:, None], np.arange(N)
    known, unknown = (Examples(x[part], Y[part], rows[part]) for part in (MEMBER[0], ~MEMBER[0]))
    for versions, who in (
        ({"a": calm, "b": wild}, "'b'"),
        ({"a": wild, "b": calm}, "'a'"),
        ({"a": calm, "b": calm}, ""),
    ):
        report = audit.audit(versions, known, unknown, attacks=["loss"])
        told = [text for text in report.warnings if text.startswith("Version ")]
        assert [text.split()[1].rstrip(":") for text in told] == [who] * bool(who)
        assert any("loss tail are those of version 'a'" in note for note in report.notes)


def test_what_versions_refuse():
    logits = VERSIONS["float"]
    for versions, words in (
        ({"a": logits}, "1 version; expected two"),
        ({"a": logits, "b@c": logits}, "'b@c'; expected text without '@'"),
        ({"a": logits, "b": logits[:, :5]}, "version 'b'"),
        ({"a": logits, "b": np.concatenate([logits, logits[..., :1]], -1)}, "version 'b' is of other .* classes"),
        ([logits, logits], "versions is a list; expected a dict"),
        ({"a": logits, "b": logits.argmax(-1)}, "version 'b' gives labels"),
    ):
        with pytest.raises(ValueError, match=words):
            audit.audit_versions(versions, Y, MEMBER, ["loss"])
    both = {"a": logits, "b": logits}
    with pytest.raises(ValueError, match="attack 'label_only'"):
        audit.audit_versions(both, Y, MEMBER, ["label_only"])
    with pytest.raises(ValueError, match="name the attacks to run"):
        audit.audit_versions(both, Y, MEMBER, "all")
    part = Examples(np.zeros((4, 1)), np.zeros(4, int), np.arange(4))
    other = Examples(np.ones((4, 1)), np.zeros(4, int), np.arange(4, 8))
    with pytest.raises(ValueError, match="queries= asks about moved copies"):
        audit.audit([np.zeros, np.zeros], part, other, queries=lambda x: [x])
    with pytest.raises(ValueError, match=r"predict\['version_2'\] is a int"):
        audit.audit([np.zeros, 3], part, other)
    with pytest.raises(ValueError, match="is a Model, which needs the target's variables="):
        audit.audit([np.zeros, models.create("mlp", 3)], part, other)
    with pytest.raises(ValueError, match=r"version 'version_2' gives 4 columns and version 'version_1' 3"):
        audit.audit([lambda x: np.zeros((len(x), 3)), lambda x: np.zeros((len(x), 4))], part, other)
