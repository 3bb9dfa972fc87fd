"""Distillation: the loss alone differs from a control; teachers label nothing that they saw."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_training import assert_close, assert_same_bits, naive_fit, starts_of

from gecko_jax import losses, models, training
from gecko_jax.training import distillation
from gecko_jax.trees import take
from gecko_jax.types import Examples, Loss

TX = training.optimizer("momentum", 0.1)
SETTINGS = dict(epochs=2, batch_size=10, optimizer=TX)


@pytest.fixture(scope="module")
def teacher():
    """Logits [5, 60, 10], one teacher a student."""
    return np.random.default_rng(2).normal(size=(5, 60, 10)).astype(np.float32)


@pytest.fixture(scope="module")
def starts(mlp, pool):
    return starts_of(mlp, pool.x, 5)


@jax.jit
def symmetric(logits, y, teacher):
    """H(t, s) + H(s, t), written with sums over probabilities."""
    s, t = jax.nn.softmax(logits), jax.nn.softmax(teacher)
    return -(t * jax.numpy.log(s) + s * jax.numpy.log(t)).sum(-1)


def test_a_student_is_the_naive_loop_on_its_own_teacher_s_logits(mlp, pool, member, teacher, starts):
    fitted = training.distill(mlp, pool, member, teacher, teacher_per_model=True, init=starts, **SETTINGS)
    for i in range(5):
        expected = naive_fit(
            mlp, pool, member[i], take(starts, i), TX, name=i, loss=symmetric, teacher=teacher[i],
            epochs=2, batch_size=10,
        )  # fmt: skip
        assert_close(take(fitted.variables, i), expected.variables)
        np.testing.assert_allclose(fitted.loss[:, i], expected.loss, rtol=2e-5)


def test_a_shared_teacher_is_one_for_each(mlp, pool, member, teacher, starts):
    shared = training.distill(mlp, pool, member, teacher[0], init=starts, **SETTINGS)
    each = np.repeat(teacher[:1], 5, axis=0)
    repeated = training.distill(mlp, pool, member, each, teacher_per_model=True, init=starts, **SETTINGS)
    assert_close(shared.variables, repeated.variables, rtol=1e-6, atol=1e-7)
    other = training.distill(mlp, pool, member, teacher[1], init=starts, **SETTINGS)
    assert np.abs(other.loss - shared.loss).min() > 1e-3


def test_the_axis_of_models_is_declared_and_never_guessed(mlp, pool):
    """As many rows as models, and extras of any rank: three axes for all models, four if each has its folds_seen."""

    def apply(logits, example):
        return -(jax.nn.log_softmax(logits) * example.extra["soft"].mean(0)).sum() * example.extra["weight"]

    loss = Loss("soft", apply, reads=("soft", "weight"))
    few, member = jax.tree.map(lambda leaf: leaf[:5], pool), np.ones((5, 5), bool)
    rng = np.random.default_rng(0)
    extra = {"soft": rng.random((5, 5, 10), np.float32), "weight": rng.random(5, np.float32)}
    options = dict(loss=loss, epochs=2, batch_size=5, optimizer=TX)
    shared = training.fit_ensemble(mlp, few, member, extra=extra, **options)
    each = jax.tree.map(lambda leaf: np.repeat(leaf[None], 5, 0), extra)
    assert_same_bits(training.fit_ensemble(mlp, few, member, extra=each, extra_per_model=True, **options), shared)
    with pytest.raises(ValueError, match=r"extra\['weight'\] has shape \(5,\); expected \(5, 5\)"):
        training.fit_ensemble(mlp, few, member, extra=extra, extra_per_model=True, **options)


def test_the_control_differs_in_the_loss_alone(mlp, pool, member, teacher, starts):
    """With the teacher's share at 0 it is plain training, to the bit: same start, rows and draws."""
    no_share = losses.kullback_leibler(temperature=1.0, weight=0.0)
    distilled = training.distill(mlp, pool, member, teacher[0], loss=no_share, init=starts, **SETTINGS)
    assert_same_bits(distilled, training.fit_ensemble(mlp, pool, member, init=starts, **SETTINGS))


def test_a_loss_that_reads_no_teacher_is_refused(mlp, pool, member, teacher):
    with pytest.raises(ValueError, match="'cross_entropy' does not read a teacher and would distill nothing"):
        training.distill(mlp, pool, member, teacher, loss=losses.cross_entropy())


@pytest.mark.parametrize("given", [None, "run/teacher", lambda x: x, "Teacher"])
def test_a_teacher_that_is_not_logits_is_refused_with_the_way_out(mlp, pool, member, given):
    wrong = training.Teacher(mlp, {}) if given == "Teacher" else given
    with pytest.raises(ValueError, match=r"teacher is a \w+; expected logits .* its logits\(data.x\)"):
        training.distill(mlp, pool, member, wrong)


@given(
    st.integers(1, 4).flatmap(
        lambda m: st.lists(st.sets(st.integers(0, 11), min_size=4), min_size=m, max_size=m)
    ),
    st.integers(2, 4),
    st.integers(0, 3),
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_no_teacher_labels_what_it_saw(members, folds, seed):
    """Each teacher's logits say which rows it trained on; so does, then, every label."""
    member = np.array([[j in chosen for j in range(12)] for chosen in members])
    trained_on = []

    def fake_fit(model, data, rows, **options):
        trained_on.append(rows)
        return training.Fit({"who": np.arange(len(rows))}, None, None)

    def fake_predict(model, variables, x):
        saw = trained_on[0].astype(np.float32)
        return np.stack([saw, np.broadcast_to(variables["who"][:, None], saw.shape)], axis=-1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, "fit_ensemble", fake_fit)
        patch.setattr(distillation, "predict_ensemble", fake_predict)
        data = Examples(np.zeros((12, 1)), np.zeros(12), np.arange(12))
        labels = training.cross_fitted_logits("teacher", data, member, folds=folds, seed=seed)

    assert not labels[..., 0].any(), "a row was labeled by a teacher that had trained on it"
    for i, row in enumerate(member):
        folds_seen = trained_on[0][i * folds : (i + 1) * folds]
        assert not (folds_seen & ~row).any(), "a teacher saw more than its student's members"
        assert (folds_seen.sum(0)[row] == folds - 1).all(), "each member stands in one fold"
        assert np.ptp(folds_seen.sum(1)) <= 1, "folds of equal shares"
        assert (labels[i, row, 1] // folds == i).all(), "labeled by another student's teacher"
        np.testing.assert_allclose(labels[i, ~row, 1], i * folds + (folds - 1) / 2)


def test_cross_fitting_with_a_teacher_of_another_architecture(mlp, pool, monkeypatch):
    """On random labels: the teachers know by heart what they saw, and guess what they label."""
    teachers = []

    def watched(*args, **options):
        teachers.append(training.fit_ensemble(*args, **options))
        return teachers[0]

    monkeypatch.setattr(distillation, "fit_ensemble", watched)
    labels = np.random.default_rng(0).integers(0, 10, 60).astype(np.int32)
    noise = pool._replace(y=labels)
    member = np.stack([np.arange(60) < 40, np.arange(60) >= 20])
    teacher = models.create("mlp", 10, hidden=(48,))
    settings = dict(epochs=100, batch_size=20, optimizer=TX, init=starts_of(teacher, pool.x, 4))
    crossed = training.cross_fitted_logits(teacher, noise, member, folds=2, **settings)
    assert crossed.shape == (2, 60, 10) and crossed.dtype == np.float32
    assert teachers[0].metrics["accuracy"][-1].min() > 0.95
    assert (crossed.argmax(-1) == labels)[member].mean() < 0.35
    monkeypatch.undo()
    start = starts_of(mlp, pool.x, 2)
    student = training.distill(mlp, noise, member, crossed, teacher_per_model=True, init=start, **SETTINGS)
    assert student.loss.shape == (2, 2) and np.isfinite(student.loss).all()


@pytest.mark.parametrize("folds", [1, 41])
def test_folds_out_of_bounds(mlp, pool, folds):
    with pytest.raises(ValueError, match=f"folds={folds} must lie between 2 and 40"):
        training.cross_fitted_logits(mlp, pool, np.arange(60) < 40, folds=folds)
