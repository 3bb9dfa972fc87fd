"""Split-AI: who is withheld from which sub-model, and whose answers are averaged."""

import numpy as np
import pytest
from scipy.special import softmax

from gecko_jax import models, training
from gecko_jax.training import split_ai
from gecko_jax.types import Examples

DATA = Examples(np.zeros((40, 1), np.float32), np.zeros(40, np.int32))


@pytest.fixture
def watched(monkeypatch):
    """Sub-models whose logits are drawn, and who was trained on what."""
    seen = {}

    def fit(model, data, rows, **options):
        seen["rows"], seen["options"] = rows, options
        seen["logits"] = np.random.default_rng(0).normal(0, 3, (len(rows), 40, 5)).astype(np.float32)
        return training.Fit({"k": np.arange(len(rows))}, None, None)

    monkeypatch.setattr(split_ai, "fit_ensemble", fit)
    monkeypatch.setattr(split_ai, "predict", lambda model, variables, x: seen["logits"][variables["k"]])
    return seen


def test_each_row_is_answered_by_the_l_sub_models_that_never_saw_it(watched):
    member = np.random.default_rng(1).random((2, 40)) < 0.7
    answers = training.split_ai_logits("model", DATA, member, submodels=5, withheld=2, seed=3, epochs=7)
    assert answers.shape == (2, 40, 5) and answers.dtype == np.float32
    assert watched["options"] == {"seed": 3, "epochs": 7}
    rows, posteriors = watched["rows"].reshape(2, 5, 40), softmax(watched["logits"].astype(float), -1)
    for i in range(2):
        assert not rows[i][:, ~member[i]].any(), "a sub-model saw a row that is not a member"
        assert (rows[i].sum(0)[member[i]] == 3).all(), "each member is withheld from two of five"
        for j in np.flatnonzero(member[i]):
            unseen = 5 * i + np.flatnonzero(~rows[i, :, j])
            np.testing.assert_allclose(np.exp(answers[i, j]), posteriors[unseen, j].mean(0), rtol=2e-5)
        for j in np.flatnonzero(~member[i]):  # two as well: the spread of an average says nothing
            pairs = [(a, b) for a in range(5) for b in range(a) if np.allclose(
                np.exp(answers[i, j]), posteriors[[5 * i + a, 5 * i + b], j].mean(0), rtol=2e-5)]  # fmt: skip
            assert len(pairs) == 1


def test_a_student_s_choice_is_a_function_of_seed_and_id(watched):
    member = np.ones((2, 40), bool)
    settings = dict(submodels=5, withheld=2, seed=3)
    training.split_ai_logits("model", DATA, member, student_ids=[4, 9], **settings)
    both = watched["rows"]
    training.split_ai_logits("model", DATA, member[:1], student_ids=[9], **settings)
    np.testing.assert_array_equal(watched["rows"], both[5:])
    assert (both[:5] != both[5:]).any()


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(submodels=1), "submodels=1 must be an integer of at least 2|submodels=1 must be at least 2"),
        (dict(submodels=5, withheld=5), "withheld=5 must lie between 1 and 4"),
        (dict(submodels=25, withheld=24), "has no member to train on: 3 members, each withheld from 24 of 25"),
    ],
)
def test_numbers_that_leave_nobody_to_ask_or_to_train_are_refused(settings, message):
    member = np.arange(40)[None] < 3
    with pytest.raises(ValueError, match=message):
        training.split_ai_logits(models.create("mlp", 2), DATA, member, **settings)


@pytest.mark.parametrize("answers_of", [training.split_ai_logits, training.cross_fitted_logits])
@pytest.mark.parametrize(
    "member, ids, message",
    [  # one ID for three students was taken for all, of whom the first alone was answered
        (np.ones((3, 40), bool), [7], r"student_ids=\[7\] must be 3 different integers"),
        (np.ones((2, 40), bool), [7, 7], r"student_ids=\[7, 7\] must be 2 different integers"),
        (np.ones((1, 40), bool), [7, 8, 9], r"student_ids=\[7, 8, 9\] must be 1 different integers"),
        (np.ones((2, 40), int), None, "member has dtype int64; expected bool"),
    ],
)
def test_students_are_who_member_and_ids_say(answers_of, member, ids, message):
    with pytest.raises(ValueError, match=message):
        answers_of(models.create("mlp", 2), DATA, member, student_ids=ids)
