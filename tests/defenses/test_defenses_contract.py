"""What every listed defense promises; a new one is tested by being listed."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from gecko_jax import clippings, losses, privacy, training
from gecko_jax.defenses import DEFENSES, Defense
from gecko_jax.defenses.defense import train_plainly

EVERY = pytest.mark.parametrize("name", sorted(DEFENSES))
READERS = [name for name in sorted(DEFENSES) if "reference" in DEFENSES[name]().reads]
ANSWERS = [name for name in sorted(DEFENSES) if DEFENSES[name]().answer is not None]
COMPOSES = ("undefended", "l2", "early_stopping", "time_guard", *ANSWERS)  # with private gradients
# Those that train in a way of their own; the others only answer otherwise than the undefended one.
OWN_TRAINING = sorted({"undefended"} | set(DEFENSES) - {"memguard", "time_guard", *ANSWERS})
TRAINED = pytest.mark.parametrize("name", OWN_TRAINING)
# Settings that cost less.
SMALL = {"adversarial_regularization": dict(widths=(8,), attacker_steps=2), "selena": dict(submodels=3, withheld=1)}
OPTIONS = dict(epochs=2, batch_size=8, seed=3)


@pytest.fixture(scope="module")
def trained(network, rows, members, reference, tmp_path_factory):
    """name -> (a defense's models, trained once; the folder that holds the run)."""

    @functools.cache
    def train(name):
        folder = tmp_path_factory.mktemp(name)
        return make(name).train(network, rows, members, reference=reference, folder=folder, **OPTIONS), folder

    return train


@pytest.fixture(scope="module")
def private(network):
    return privacy.private_training(
        network, losses.cross_entropy(), clippings.flat(1.0), n=14, batch_size=7, epochs=1, delta=0.01,
        noise_multiplier=0.5,
    )  # fmt: skip


def make(name):
    return DEFENSES[name](**SMALL.get(name, {}))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@EVERY
def test_it_carries_the_name_it_is_listed_under(name):
    defense = DEFENSES[name]()
    assert isinstance(defense, Defense) and defense.name == name and set(defense.reads) <= {"reference"}
    assert name in OWN_TRAINING or defense.train is train_plainly or name == "memguard"  # which checks its rows first


@TRAINED
def test_it_trains_models_of_the_network_itself(name, network, rows, trained):
    fitted, _ = trained(name)
    start = jax.eval_shape(network.init, jax.random.key(0), rows.x[:1])
    assert jax.tree.map(lambda leaf: leaf.shape, fitted.variables) == jax.tree.map(lambda leaf: (2, *leaf.shape), start)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.variables)) and fitted.loss.shape == (2, 2)
    assert training.predict_ensemble(network, fitted.variables, rows.x).shape == (2, 24, 3)


@TRAINED
def test_a_model_depends_on_its_own_members_alone(name, network, rows, members, reference, trained):
    """Also the proof that rows which are not members (they become NaN here) are never read."""
    both, _ = trained(name)
    hidden = rows._replace(x=np.where(members[0][:, None], rows.x, np.nan).astype(np.float32))
    alone = make(name).train(network, hidden, np.stack([members[0], members[0]]), reference=reference, **OPTIONS)
    for one, other in zip(jax.tree.leaves(both.variables), jax.tree.leaves(alone.variables), strict=True):
        np.testing.assert_allclose(other[0], one[0], rtol=1e-4, atol=1e-5)


@TRAINED
def test_a_finished_run_is_read_from_its_folder(name, network, rows, members, reference, trained):
    first, folder = trained(name)
    again = make(name).train(network, rows, members, reference=reference, folder=folder, **OPTIONS)
    assert same(first, again)


@pytest.mark.parametrize("name", READERS)
def test_reference_rows_are_needed_and_are_not_of_the_pool(name, network, rows, members, reference):
    defense = DEFENSES[name]()
    with pytest.raises(ValueError, match="reads reference rows, and reference=None. Pass rows that are neither"):
        defense.train(network, rows, members, **OPTIONS)
    with pytest.raises(ValueError, match=r"reference shares 2 ids with the pool \(3, 23\)"):
        shared = reference._replace(id=np.r_[3, 23, 1002:1016])
        defense.train(network, rows, members, reference=shared, **OPTIONS)
    hole = np.where(np.arange(16)[:, None] == 3, np.nan, reference.x).astype(np.float32)
    for message, x in {
        r"reference.x holds 6 entries that are NaN or infinite, the first at index \(3, 0\)": hole,
        "reference.x has dtype uint8, and that of the pool float32: unprepared rows": hole.astype(bool).astype(
            np.uint8
        ),
    }.items():
        with pytest.raises(ValueError, match=message):
            defense.train(network, rows, members, reference=reference._replace(x=x), **OPTIONS)


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_a_function_of_one_record_and_hide_nothing_of_the_label(name):
    answer = DEFENSES[name]().answer
    logits = 3 * np.random.default_rng(0).normal(size=(40, 5))
    ids = np.arange(100, 140)
    released = answer(logits, ids)
    assert released.shape == logits.shape and np.isfinite(released).all()
    np.testing.assert_allclose(np.exp(released).sum(1), 1, rtol=1e-9)
    assert (released.argmax(1) == logits.argmax(1)).all()
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_array_equal(answer(logits[order], ids[order]), released[order])  # and no query helps another
    np.testing.assert_array_equal(answer(logits[:1], ids[:1]), released[:1])
    with pytest.raises(ValueError, match=r"outputs have shape \(2, 40, 5\); expected logits \(n, classes\) of one"):
        answer(np.stack([logits, logits]), ids)
    with pytest.raises(ValueError, match="outputs holds 1 entry that is NaN or infinite"):
        answer(np.where(np.arange(5) == 2, np.nan, logits[:1]), ids[:1])


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - set(COMPOSES) - {"memguard"}))
def test_private_gradients_are_refused_by_name(name, rows, members, reference, private):
    with pytest.raises(ValueError, match=f"defense '{name}' sets gradients itself, .*do not compose"):
        make(name).train(private.model, rows, members, reference=reference, seed=0, **private.options)


def test_l2_composes_with_private_gradients(rows, members, private):
    """As do those that leave gradients alone, by the same call."""
    assert DEFENSES["l2"]().train(private.model, rows, members, seed=0, **private.options).loss.shape == (1, 2)
