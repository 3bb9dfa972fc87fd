"""Which class a column is: told by classes=, and doubted where the model is absurdly wrong about its members."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit
from gecko_jax.audit import audit_targets
from gecko_jax.audit.validity.blind_baselines import Baselines
from gecko_jax.types import Examples

N, C = 300, 5
RNG = np.random.default_rng(0)
Y = RNG.integers(0, C, N)
MEMBER = RNG.random((4, N)) < 0.5
LOGITS = RNG.normal(size=(4, N, C)) + (2 + 2.0 * MEMBER)[..., None] * np.eye(C)[Y]
ORDER = np.array([3, 0, 4, 1, 2])  # column j is class ORDER[j]
NAMES = np.array(["ant", "bee", "cat", "dog", "elk"])


@pytest.fixture(autouse=True)
def no_classifier_of_the_records(monkeypatch):
    """It is not what is tested here, and takes most of an audit's time."""
    monkeypatch.setattr(audit_targets, "_blind", lambda *_: Baselines({}, []))


def doubts(report):
    return [warning for warning in report.warnings if "classes=" in warning]


def figures(report):
    return {name: row["auc"].value for name, row in report.rows.items()}


def parts(y):
    x = np.arange(N, dtype=np.float32)[:, None]
    return [Examples(x[rows], y[rows], np.flatnonzero(rows)) for rows in (MEMBER[0], ~MEMBER[0])]


def predict(x):
    return LOGITS[0][x[:, 0].astype(int)][:, ORDER]


@pytest.mark.parametrize("y, classes", [(Y, ORDER), (NAMES[Y], NAMES[ORDER]), (10 * Y - 7, (10 * ORDER - 7).tolist()),
                                        (NAMES[Y].astype(object), NAMES[ORDER].tolist())])  # fmt: skip
def test_named_columns_are_those_classes_at_every_way_in(y, classes, tmp_path):
    plain = audit.audit_model(LOGITS[0], Y, MEMBER[0])
    assert figures(audit.audit_model(LOGITS[0][:, ORDER], y, MEMBER[0], classes=classes)) == figures(plain)
    several = audit.audit_models(LOGITS[..., ORDER], y, MEMBER, [attacks.lira()], classes=classes)
    assert figures(several) == figures(audit.audit_models(LOGITS, Y, MEMBER, [attacks.lira()]))
    asked = audit.audit(predict, *parts(y), classes=classes)
    assert figures(asked).items() >= {"loss": pytest.approx(figures(plain)["loss"])}.items()
    assert {f"class {label}" for label in classes} == set(asked.slices)
    np.savez(tmp_path / "a.npz", logits=LOGITS[0][:, ORDER], y=np.asarray(y, None if y.dtype != object else str),
             member=MEMBER[0], classes=classes)  # fmt: skip
    assert figures(audit.from_predictions(tmp_path / "a.npz")) == figures(plain)
    assert figures(audit.from_predictions(tmp_path / "a.npz", classes=classes)) == figures(plain)
    assert not doubts(plain) and not doubts(asked) and not doubts(several)
    assert set(asked.most_exposed.label) <= set(classes)


def test_columns_that_look_shifted_are_doubted():
    """Shifted by one, as where the first class has no column; a permutation; and the right order is not doubted."""
    for order in (ORDER, np.roll(np.arange(C), 1)):
        for report in (
            audit.audit_model(LOGITS[0][:, order], Y, MEMBER[0]),
            audit.audit_models(LOGITS[..., order], Y, MEMBER, [attacks.loss()]),
        ):
            (doubt,) = doubts(report)
            assert "in another order" in doubt and "model.classes_" in doubt
    assert doubts(audit.audit(predict, *parts(Y)))


def test_an_accuracy_below_chance_is_doubted_and_one_of_chance_is_not():
    wrong = LOGITS[0] - 20 * np.eye(C)[Y]
    (doubt,) = doubts(audit.audit_model(wrong, Y, MEMBER[0], [attacks.loss()]))
    assert "is right on 0 of" in doubt and "by chance" in doubt
    noise = np.random.default_rng(1)
    for classes in (2, 5, 40):
        for _ in range(20):
            y = noise.integers(0, classes, N)
            untrained = noise.normal(size=(N, classes))
            assert not doubts(audit.audit_model(untrained, y, MEMBER[0], [attacks.loss()]))


@pytest.mark.parametrize(
    ("y", "classes", "words"),
    [
        (NAMES[Y], None, "dtype <U3.*classes="),
        (Y + 1, None, "expected 0..4.*classes="),
        (NAMES[Y], NAMES[:4], "classes has 4 names|y holds 'elk'"),
        (Y, ["a", "b", "c", "d", "e"], "y holds '?0'?"),
        (NAMES[Y], [*NAMES, "fox"], "classes has 6 names and the outputs 5 columns"),
        (NAMES[Y], ["ant", "ant", "bee", "cat", "dog"], "none twice"),
        (NAMES[Y], ["ant"], "two classes or more"),
    ],
)
def test_classes_that_do_not_fit_are_named(y, classes, words):
    for way in (
        lambda: audit.audit_model(LOGITS[0], y, MEMBER[0], classes=classes),
        lambda: audit.audit_models(LOGITS, y, MEMBER, classes=classes),
        lambda: audit.audit(predict, *parts(y), classes=classes),
    ):
        with pytest.raises(ValueError, match=words):
            way()


def test_names_of_classes_on_the_command_line(tmp_path, run_script):
    np.savez(tmp_path / "a.npz", logits=LOGITS[0][:, ORDER], y=NAMES[Y], member=MEMBER[0])
    done = run_script("audit.py", f"--predictions={tmp_path / 'a.npz'}", f"--classes={','.join(NAMES[ORDER])}")
    assert done.returncode == 0 and "class dog" in done.stdout and "classes=" not in done.stdout, done.stderr
    assert "class dog" in (tmp_path / "audit.html").read_text()


def test_a_note_about_few_records_names_the_class():
    y = np.where(np.arange(N) == 0, 4, np.minimum(Y, 3))
    report = audit.audit_model(LOGITS[0], NAMES[y], MEMBER[0], [attacks.loss()], classes=NAMES)
    assert any("elk (" in note for note in report.notes) and "class 4" not in report.table()


def test_many_classes_take_no_time_and_a_shift_of_them_is_seen():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3000, 800)
    logits = rng.normal(size=(800, 3000)).astype(np.float32)
    logits[np.arange(800), y] += 9
    member = np.arange(800) < 400
    assert not doubts(audit.audit_model(logits, y, member, [attacks.loss()]))
    few = y % 20  # each often enough to learn its column by
    logits[np.arange(800), few + 1] += 20
    assert doubts(audit.audit_model(logits, few, member, [attacks.loss()]))


def test_labels_that_are_true_or_false_are_classes_0_and_1():
    report = audit.audit_model(LOGITS[0][:, :2], Y > 1, MEMBER[0], [attacks.loss()])
    plain = audit.audit_model(LOGITS[0][:, :2], (Y > 1).astype(int), MEMBER[0], [attacks.loss()])
    assert report.to_json() == plain.to_json()
