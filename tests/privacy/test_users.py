"""People with several examples: the figure is group privacy's, a run says whom it protects, and rows are bounded."""

import math
import warnings

import numpy as np
import pytest

from gecko_jax import clippings, losses, models, privacy

MODEL, LOSS, FLAT = models.create("mlp", 10, hidden=(8,)), losses.cross_entropy(), clippings.flat(1.0)
SIZES = dict(n=200, batch_size=200, epochs=2, delta=1e-4, noise_multiplier=4.0)
USERS = np.array(["ann"] * 3 + ["bo"] * 2 + [f"user {i}" for i in range(195)])


def run(**options):
    return privacy.private_training(MODEL, LOSS, FLAT, **(SIZES | options))


def test_a_persons_epsilon_is_that_of_the_group():
    spent = run().epsilon
    each = privacy.user_epsilon(spent, USERS)
    assert each == privacy.group_epsilon(run().sampling, 4.0, 1e-4, 3)._replace(rows_per_user=3)
    assert float(each) > 2 * float(spent) and "3 examples of one person at once" in str(each)
    assert "NOT a person" not in str(each)
    alone = privacy.user_epsilon(spent, [str(i) for i in range(200)])
    assert float(alone) == float(spent)
    with pytest.raises(ValueError, match="upper bound for one example"):
        privacy.user_epsilon(each, USERS)


def test_an_adaptive_rules_count_is_charged_to_the_group():
    private = privacy.private_training(MODEL, LOSS, clippings.quantile(0.5), count_noise=2.0, **SIZES)
    each = privacy.user_epsilon(private.epsilon, USERS)
    assert float(each) == float(privacy.group_epsilon(private.sampling, 4.0, 1e-4, 3, count_noise_multiplier=2.0))
    assert float(each) > float(privacy.user_epsilon(run().epsilon, USERS))


def test_a_run_warns_that_its_unit_is_a_row_and_says_so():
    with pytest.warns(UserWarning, match="one person has 3 of the 200 here: it is not a guarantee for people"):
        private = run(users=USERS)
    assert private.epsilon.rows_per_user == 3 and "NOT a person: one person has 3 examples here" in str(private.epsilon)
    assert float(private.epsilon) == float(run().epsilon)
    assert privacy.Epsilon.from_json(private.epsilon.to_json()) == private.epsilon
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        covered = run(users=USERS, records=3)
        run(users=np.arange(200))
    assert covered.epsilon == privacy.user_epsilon(run().epsilon, USERS) and "NOT" not in str(covered.epsilon)
    with pytest.raises(ValueError, match="users has 3 names for n=200"):
        run(users=["a", "b", "c"])


def test_a_budget_for_several_records_and_for_replaced_ones_is_met():
    sizes = dict(noise_multiplier=None, target_epsilon=3.0, epochs=1)
    three = run(records=3, **sizes)
    assert 0.97 * 3 <= float(three.epsilon) <= 3 and three.epsilon.records == 3
    one = run(**sizes)  # one Gaussian release: three records need three times the noise
    assert three.noise_multiplier == pytest.approx(3 * one.noise_multiplier, rel=0.03)
    replaced = run(adjacency="replace_one", **sizes)
    assert replaced.epsilon.adjacency == "replace_one" and float(replaced.epsilon) <= 3
    assert replaced.noise_multiplier == pytest.approx(2 * one.noise_multiplier, rel=0.005)
    for name in ("records", "adjacency"):
        with pytest.raises(ValueError, match=name):
            run(**{name: 0 if name == "records" else "removed"})


def test_no_choice_depends_on_other_people():
    chosen = privacy.limit_rows_per_user(USERS, 2, seed=5)
    assert chosen.sum() == 199 and [int(chosen[name == USERS].sum()) for name in ("ann", "bo")] == [2, 2]
    order = np.random.default_rng(0).permutation(195) + 5
    without = np.concatenate([[0, 1, 2], order])  # without bo, the others in another order
    np.testing.assert_array_equal(privacy.limit_rows_per_user(USERS[without], 2, seed=5), chosen[without])
    draws = {tuple(privacy.limit_rows_per_user(["ann"] * 3, 1, seed)) for seed in range(20)}
    assert len(draws) == 3  # each row is drawn at times
    assert privacy.limit_rows_per_user(["ann", " ann", "ann\n"], 1).sum() == 1  # one person


@pytest.mark.parametrize(
    "users, limit, words",
    [
        ([], 1, "users is empty"),
        (["a", ""], 1, r"users\[1\] is ''"),
        (["a", None], 1, r"users\[1\] is None"),
        ([math.nan, "a"], 1, r"users\[0\] is nan"),
        (["a"], 0, "limit=0"),
        ("ann", 1, r"users has shape \(\)"),
        ([["a", "b"], ["a", "c"]], 1, r"users has shape \(2, 2\)"),
    ],
)
def test_unnamed_people_are_refused(users, limit, words):
    with pytest.raises(ValueError, match=words):
        privacy.limit_rows_per_user(users, limit)


def test_one_person_in_two_spellings_is_one_person_or_refused():
    composed, decomposed = "Ren\u00e9 Roux", "Rene\u0301  Roux"  # the same name, encoded in two ways
    assert composed != decomposed
    keep = privacy.limit_rows_per_user([composed, decomposed, "Ann", composed], limit=1)
    assert keep[[0, 1, 3]].sum() == 1 and keep[2]
    for pair in (("Ann", "ann"), ("ANN@X.ORG", "ann@x.org"), ("Stra\u00dfe", "STRASSE"), ("\uff21nn", "Ann")):
        with pytest.raises(ValueError, match="are they one person"):
            privacy.limit_rows_per_user(list(pair), limit=1)
