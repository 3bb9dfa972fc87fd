"""DMP, KCD and SELENA: the released student is distilled from answers that never saw what they answer."""

import importlib

import numpy as np
import pytest
from scipy.stats import entropy

from gecko_jax import keys, losses, models, training
from gecko_jax.defenses import dmp, kcd, selena
from gecko_jax.defenses.dmp import _most_certain
from gecko_jax.defenses.stages import Teachers

OPTIONS = dict(epochs=2, batch_size=8)


def same_bits(a, b):
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(a.variables["params"]["logits"][name], b.variables["params"]["logits"][name])


@pytest.fixture(scope="module")
def teachers(network, rows, members):
    """What each defense's teachers know, with the seed of their stage."""
    seed = keys.derived_seed(3, stage="teachers")
    return {
        "dmp": training.fit_ensemble(network, rows, members, seed=seed, **OPTIONS),
        "kcd": training.cross_fitted_logits(network, rows, members, 3, seed=seed, **OPTIONS),
        "selena": training.split_ai_logits(network, rows, members, 4, 2, seed=seed, **OPTIONS),
    }


def test_dmp_reads_no_private_row_and_no_public_label(network, rows, members, reference, teachers):
    """A student of the teacher's answers on public rows, half of them, those of the lowest entropy."""
    defense = dmp(temperature=2.0, share=0.5)
    fitted = defense.train(network, rows, members, reference=reference, seed=3, **OPTIONS)
    answers = training.predict_ensemble(network, teachers["dmp"].variables, reference.x)
    chances = np.exp(answers.astype(float)) / np.exp(answers.astype(float)).sum(-1, keepdims=True)
    certain = entropy(chances, axis=-1).argsort(1).argsort(1) < 8
    np.testing.assert_array_equal(_most_certain(answers, 8), certain)
    loss = losses.kullback_leibler(2.0, weight=1.0)
    unlabeled = reference._replace(y=np.full(16, 2, np.int32))
    settings = dict(loss=loss, teacher_per_model=True, seed=3, **OPTIONS)
    same_bits(fitted, training.distill(network, unlabeled, certain, answers, **settings))
    assert list(fitted.metrics) == ["agreement"]


def test_kcd_learns_labels_and_the_answers_of_the_other_folds(network, rows, members, teachers):
    fitted = kcd(folds=3, weight=0.25).train(network, rows, members, seed=3, **OPTIONS)
    settings = dict(loss=losses.kullback_leibler(1.0, weight=0.25), teacher_per_model=True, seed=3, **OPTIONS)
    same_bits(fitted, training.distill(network, rows, members, teachers["kcd"], **settings))


def test_selena_learns_the_sub_models_answers_and_no_label(network, rows, members, teachers):
    fitted = selena(submodels=4, withheld=2).train(network, rows, members, seed=3, **OPTIONS)
    settings = dict(loss=losses.kullback_leibler(1.0, weight=1.0), teacher_per_model=True, seed=3, **OPTIONS)
    unlabeled = rows._replace(y=np.zeros(24, np.int32))
    same_bits(fitted, training.distill(network, unlabeled, members, teachers["selena"], **settings))


def test_teachers_of_another_kind_and_a_start_of_one_s_own(network, rows, members, monkeypatch, tmp_path):
    """Each of a student's teachers starts where the student does, if it is the same network; another has its own."""

    class Seen(Exception):
        pass

    def see(*args, **options):
        raise Seen(args, options)

    monkeypatch.setattr(importlib.import_module("gecko_jax.defenses.kcd"), "cross_fitted_logits", see)
    other, start, cosine = models.create("mlp", 3, hidden=()), {"params": np.arange(2)}, training.cosine
    schedules = {"learning_rate": cosine, "transition": cosine}
    settings = dict(init=start, schedules=schedules, model_ids=[4, 9], folder=tmp_path, seed=3, trainable=["x"])
    for options in (dict(), dict(teacher=other, teacher_options={"epochs": 7})):
        with pytest.raises(Seen) as seen:
            kcd(folds=3, **options).train(network, rows, members, **settings, **OPTIONS)
        (teacher, *_), passed = seen.value.args
        assert teacher is (other if options else network) and passed["epochs"] == (7 if options else 2)
        assert passed["model_ids"] == [12, 13, 14, 27, 28, 29] and passed["student_ids"] == [4, 9]
        assert passed["folder"] == tmp_path / "teachers" and passed["seed"] != 3
        if options:
            assert passed["schedules"] == {"learning_rate": cosine}
            assert "init" not in passed and "trainable" not in passed
        else:
            assert passed["schedules"] == schedules and passed["trainable"] == ["x"]
            assert passed["init"]["params"].tolist() == [0, 0, 0, 1, 1, 1]


def test_private_teachers_without_a_seed_draw_a_secret_one(network, members):
    """A seed derived from the default would be known, and with it all noise."""

    def noisy(variables, batch, key):
        raise NotImplementedError

    def seed_of(gradients, **options):
        return Teachers("dmp", None, {"gradients": gradients}).prepare(network, members, options)[1]["seed"]

    plain = training.batch_gradients(network, losses.cross_entropy())
    assert seed_of(noisy) is None and seed_of(None) == seed_of(plain) == keys.derived_seed(0, stage="teachers")
    assert seed_of(noisy, seed=3) == keys.derived_seed(3, stage="teachers")


@pytest.mark.parametrize("make", [dmp, kcd, selena])
def test_options_that_would_be_ignored_are_refused(make, network, rows, members, reference):
    with pytest.raises(ValueError, match=r"teacher_options\['seed'\] would be ignored"):
        make(teacher_options={"seed": 1})
    for option in ("loss", "extra"):
        with pytest.raises(ValueError, match=f"defense '{make.__name__}' sets {option} itself"):
            make().train(network, rows, members, reference=reference, **{option: {}}, **OPTIONS)


@pytest.mark.parametrize(
    "make, settings, message",
    [
        (dmp, dict(share=0.0), "share=0.0 must be above 0"),
        (dmp, dict(temperature=0.0), "temperature=0.0"),
        (kcd, dict(folds=1), "folds=1 must be"),
        (kcd, dict(weight=0.0), "weight=0.0 must be above 0"),
        (selena, dict(submodels=4, withheld=4), "withheld=4 must lie between 1 and 3"),
    ],
)
def test_bad_settings(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)
