"""Answer-time defenses: closed forms, MemGuard's promises, and that masked scores do not pass for privacy."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from gecko_jax import training
from gecko_jax.audit import audit_models
from gecko_jax.defenses import (
    DEFENSES,
    Search,
    audit_defense,
    label_only_answer,
    masking,
    memguard,
    released,
    rounding,
    top_k,
)
from gecko_jax.defenses.memguard import fit_attacker
from gecko_jax.defenses.memguard_noise import find_logits
from gecko_jax.types import Examples

RNG = np.random.default_rng(0)
LOGITS, IDS = 4 * RNG.normal(size=(30, 5)), np.arange(30)


def test_top_k_tells_k_probabilities_and_evens_the_rest():
    p = np.exp(top_k(2).answer(LOGITS, IDS))
    for ours, own in zip(p, softmax(LOGITS, axis=1), strict=True):
        best = np.argsort(-own)
        np.testing.assert_allclose(ours[best[:2]], own[best[:2]], rtol=1e-5)
        np.testing.assert_allclose(ours[best[2:]], own[best[2:]].sum() / 3, rtol=1e-5, atol=1e-12)
    with pytest.raises(ValueError, match="k=5 of 5 classes would hide nothing; expected 1 to 4"):
        top_k(5).answer(LOGITS, IDS)


def test_rounding_takes_few_values_and_keeps_a_tied_label():
    p = np.exp(rounding(1).answer(LOGITS, IDS))
    before = np.maximum(np.round(softmax(LOGITS, axis=1), 1), 0.05)
    np.testing.assert_allclose(p, before / before.sum(1, keepdims=True), rtol=1e-5)
    with pytest.raises(ValueError, match="digits=400 must lie between 1 and 15"):
        rounding(400)
    tied = rounding(1).answer(np.log([[0.45, 0.46, 0.09]]), IDS[:1])  # both are 0.5
    assert tied.argmax() == 1


def test_label_only_answers_are_one_for_each_label():
    p = np.exp(label_only_answer(1e-3).answer(LOGITS, IDS))
    assert len(np.unique(p.round(12), axis=0)) == len(np.unique(LOGITS.argmax(1)))
    np.testing.assert_allclose(p.max(1), 0.2 + 1e-3)
    with pytest.raises(ValueError, match=r"margin=0.8 must be below 1 - 1 / classes = 0.8"):
        label_only_answer(0.8).answer(LOGITS, IDS)


@pytest.fixture(scope="module")
def guarded():
    """Confident members and unsure others, what MemGuard answers to both, and the answer itself."""

    def draw(rows, scale):
        logits = RNG.normal(size=(rows, 4))
        logits[np.arange(rows), RNG.integers(0, 4, rows)] += scale
        return logits

    members, others = draw(60, 8.0), draw(60, 2.0)
    answer = memguard(search=Search(weights=(0.1, 1.0, 10.0))).fit_answer(members, others)
    return members, others, answer


def test_memguard_crosses_the_attacker_s_border_and_keeps_labels(guarded):
    members, others, _ = guarded
    logarithms = log_softmax(np.r_[members, others], axis=1)
    rows = [np.sort(part, axis=1).astype(np.float32) for part in (logarithms[:60], logarithms[60:])]
    params = fit_attacker((64, 32), 200)(*rows, 0)
    is_member = np.arange(120) < 60
    noise = {}
    for weights in ((0.1,), (0.1, 1.0, 10.0)):
        logits, before, after = find_logits(params, logarithms, Search(weights=weights))
        assert ((before > 0) == is_member).mean() > 0.95 > 0.1 > ((after > 0) == is_member).mean()
        assert (logits.argmax(1) == logarithms.argmax(1)).all()
        noise[weights] = np.abs(softmax(logits, axis=1) - np.exp(logarithms)).sum(1)
    assert noise[(0.1, 1.0, 10.0)].mean() < noise[(0.1,)].mean() + 1e-4 < 1


def test_memguard_keeps_to_its_budget_by_chance(guarded):
    members, others, _ = guarded
    frugal = memguard(distortion=0.1, search=Search(weights=(0.1, 1.0, 10.0))).fit_answer(members, others)
    noise = np.stack([np.abs(np.exp(frugal(others, np.arange(60) + 60 * i)) - softmax(others, axis=1)).sum(1)
                      for i in range(40)])  # fmt: skip
    assert noise.max() > 0.3 and 0.07 < noise.mean() < 0.13  # all of it or nothing, 0.1 in expectation


def test_released_fits_each_model_by_its_own_members(network, rows, members, reference):
    defense = DEFENSES["memguard"]()
    fitted = defense.train(network, rows, members, reference=reference, epochs=2, batch_size=8, seed=3)
    logits = training.predict_ensemble(network, fitted.variables, rows.x)
    others = training.predict_ensemble(network, fitted.variables, reference.x)
    answers = released(defense, network, fitted.variables, rows, members, reference=reference)
    for i in range(2):
        expected = defense.fit_answer(logits[i][members[i]], others[i], 0)(logits[i], rows.id)
        np.testing.assert_array_equal(answers[i], expected)
    asked = released(defense, network, fitted.variables, rows, members, reference=reference, rows=reference)
    assert asked.shape == (2, 16, 3)
    with pytest.raises(ValueError, match="reads reference rows, and reference=None"):
        released(defense, network, fitted.variables, rows, members)


def test_memguard_refuses_what_would_leave_answers_unguarded(network, rows, members, reference, guarded):
    ours, others, _ = guarded
    for search, message in {
        Search(weights=()): "search.weights is empty",
        Search(weights=(0.0,)): "search.weights=0.0 must be",
        Search(steps=0): "search.steps=0 must be at least 1",
        Search(step_size=-0.1): "search.step_size=-0.1 must be",
    }.items():
        with pytest.raises(ValueError, match=message):
            memguard(search=search)
    small = memguard(hidden=(2,), epochs=1, search=Search(weights=(0.1,), steps=1))
    for parts in ((ours[:0], others), (ours, others[:0])):
        with pytest.raises(ValueError, match=r"(members|others) is empty"):
            small.fit_answer(*parts)
    assert small.fit_answer(ours, others, 2**32 - 1)(others, np.arange(60)).shape == (60, 4)
    trained = training.fit_ensemble(network, rows, members, epochs=1, batch_size=8).variables
    for wrong, message in ((members.astype(int), "member has dtype int64"), (members.T, r"member has shape \(24, 2\)")):
        with pytest.raises(ValueError, match=message):
            released(small, network, trained, rows, wrong, reference=reference)
    with pytest.raises(ValueError, match="gradients may be private, and the answers of defense 'memguard' are fitted"):
        small.train(network, rows, members, reference=reference, gradients=lambda *batch: batch)


def test_masked_scores_do_not_pass_for_privacy():
    y, member = RNG.integers(0, 4, 200), RNG.random((3, 200)) < 0.5
    right = member | (RNG.random((3, 200)) < 0.4)
    label = np.where(right, y, (y + 1) % 4)
    by_labels = audit_models(label, y, member, ["gap"])
    masked = audit_models(np.zeros((3, 200, 4)), y, member, ["loss"])
    (note,) = masking(masked, by_labels)
    assert re.match(r"Attacks on labels find more than those on scores: gap on labels has AUC 0\.7\d\d \[", note)
    honest = audit_models(3.0 * np.eye(4)[label] + 0.1 * RNG.normal(size=(3, 200, 4)), y, member, ["loss", "gap"])
    assert masking(honest, by_labels) == ()


@pytest.mark.parametrize("models", [2, 3])
def test_a_lead_of_labels_that_is_not_resolved_is_no_finding(models):
    """Labels and losses of models that know nothing: either may be ahead by chance."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y, member = rng.integers(0, 4, 100), rng.random((models, 100)) < 0.5
        by_labels = audit_models(rng.integers(0, 4, (models, 100)), y, member, ["gap"])
        by_scores = audit_models(rng.normal(size=(models, 100, 4)), y, member, ["loss"])
        ahead = by_labels.rows["gap"]["auc"].value - by_scores.rows["loss"]["auc"].value
        if ahead > 0.005:
            assert masking(by_scores, by_labels) == ()
            return
    pytest.fail("labels were never ahead")


def test_attacks_are_refused_before_anything_is_trained(network):
    data = Examples(RNG.normal(size=(40, 6)).astype(np.float32), RNG.integers(0, 3, 40))
    member = RNG.random((2, 40)) < 0.5
    trained = DEFENSES["dropout"]()._replace(train=lambda *_, **__: pytest.fail("it was trained"))
    for attack, message in ((["los"], "attack='los' is not known"), ("loss", "'loss'"), (["lira"], "shadow")):
        with pytest.raises(ValueError, match=message):
            audit_defense(trained, network, data, member, attack=attack)


def test_an_audit_of_a_defense_runs_label_attacks_beside(network):
    rng = np.random.default_rng(0)
    data = Examples(rng.normal(size=(60, 6)).astype(np.float32), rng.integers(0, 3, 60))
    member = rng.random((4, 60)) < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = audit_defense(label_only_answer(), network, data, member, attack=["loss"], epochs=3)
    assert set(result.scores.rows) == {"loss"} and set(result.labels.rows) == {
        "gap",
        "lira_labels",
        "label_only",
    }
    assert result.answers.shape == (4, 60, 3) and result.defense == "label_only_answer"
    np.testing.assert_allclose(np.exp(result.answers).max(-1), 1 / 3 + 1e-3)
    np.testing.assert_allclose(log_softmax(result.answers, axis=-1), result.answers, atol=1e-9)


@pytest.mark.parametrize(
    "on_labels, words",
    [
        (["gap", "loss"], "on_labels names 'loss', which reads 'loss' and not labels alone"),
        (["lira"], "on_labels names 'lira', which reads 'phi' and not labels alone"),
        (["gapp"], "on_labels='gapp' is not known. Did you mean 'gap'"),
        ("gap", "on_labels='gap' must be a list of attacks"),
        ([], "on_labels is empty"),
    ],
)
def test_an_attack_on_scores_does_not_pass_for_one_on_labels(on_labels, words):
    """It would read the scores of the models themselves, which the defense never releases."""
    with pytest.raises(ValueError, match=re.escape(words)):
        audit_defense(label_only_answer(), None, None, np.ones((4, 9), bool), on_labels=on_labels)
    with pytest.raises(ValueError, match="defense='ppb' is not a Defense"):
        audit_defense("ppb", None, None, np.ones((4, 9), bool))
