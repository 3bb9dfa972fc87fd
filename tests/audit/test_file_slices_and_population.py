"""Slices and a population in files of predictions, against the audits that take them as arguments."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit
from gecko_jax.types import Signals

N, Z, C = 160, 90, 3
RNG = np.random.default_rng(0)
Y, OTHER_Y = RNG.integers(0, C, N), RNG.integers(0, C, Z)
MEMBER = RNG.random((4, N)) < 0.5
LOGITS = RNG.normal(size=(4, N, C)) + (1 + 2 * MEMBER)[..., None] * np.eye(C)[Y]
OTHERS = RNG.normal(size=(4, Z, C)) + np.eye(C)[OTHER_Y]
NIGHT = np.arange(N) < 60


def loss(logits, y):
    return np.log(np.exp(logits).sum(-1)) - logits[..., np.arange(len(y)), y]


def saved(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_slices_of_a_file_and_of_the_caller(tmp_path):
    path = saved(tmp_path, logits=LOGITS[0], y=Y, member=MEMBER[0], **{"slice:night": NIGHT})
    report = audit.from_predictions(path, ["loss"], slices={"day": ~NIGHT})
    wanted = audit.audit_model(LOGITS[0], Y, MEMBER[0], ["loss"], slices={"night": NIGHT, "day": ~NIGHT})
    assert report.slices == wanted.slices and {"night", "day"} <= set(report.slices)
    signals = saved(tmp_path, loss=loss(LOGITS, Y), member=MEMBER, **{"slice:night": NIGHT})
    assert "night" in audit.from_predictions(signals, ["loss"]).slices
    with pytest.raises(ValueError, match="slices holds night, which .* holds as well"):
        audit.from_predictions(path, ["loss"], slices={"night": NIGHT})
    with pytest.raises(ValueError, match=r"slices\['night'\] has shape \(3,\)"):
        audit.from_predictions(saved(tmp_path, logits=LOGITS[0], y=Y, member=MEMBER[0], **{"slice:night": [1, 0, 1]}))


def test_a_population_of_outputs(tmp_path):
    """RMIA's share of the population, by counting; of one model Attack-P's, of several both."""
    one = dict(logits=LOGITS[0], y=Y, member=MEMBER[0], population_logits=OTHERS[0], population_y=OTHER_Y)
    report = audit.from_predictions(saved(tmp_path, **one), ["population_rank"])
    losses, others = loss(LOGITS[0], Y), loss(OTHERS[0], OTHER_Y)
    shares = (others[None] > losses[:, None]).mean(1)
    wins = shares[MEMBER[0]][:, None] - shares[~MEMBER[0]][None]
    assert report.rows["population_rank"]["auc"].value == pytest.approx((wins > 0).mean() + (wins == 0).mean() / 2)
    several = one | dict(logits=LOGITS, member=MEMBER, population_logits=OTHERS)
    counted = [attacks.rmia(ties="counted")]
    report = audit.from_predictions(saved(tmp_path, **several), counted)
    values, outside, aucs = counted[0].signal(LOGITS, Y), counted[0].signal(OTHERS, OTHER_Y), []
    for k in range(4):
        rest = np.arange(4) != k
        scores = counted[0](Signals(values[rest], MEMBER[rest], values[k], (outside[rest], outside[k])))
        wins = scores[MEMBER[k]][:, None] - scores[~MEMBER[k]][None]
        aucs.append((wins > 0).mean() + (wins == 0).mean() / 2)
    assert report.rows[counted[0].name]["auc"].value == pytest.approx(np.mean(aucs))
    both = audit.audit_models(LOGITS, Y, MEMBER, counted, population=(OTHERS, OTHER_Y))
    assert both.rows == report.rows


def test_a_population_in_a_second_file(tmp_path):
    np.savez(tmp_path / "b.npz", loss=loss(OTHERS, OTHER_Y))
    path = saved(tmp_path, loss=loss(LOGITS, Y), member=MEMBER)
    report = audit.from_predictions(path, ["rmia"], population=tmp_path / "b.npz")
    values = {"loss": loss(LOGITS, Y)}
    wanted = audit.from_signals(values, MEMBER, ["rmia"], population={"loss": loss(OTHERS, OTHER_Y)})
    assert report.rows == wanted.rows
    complete = saved(tmp_path, loss=loss(LOGITS, Y), member=MEMBER, population_loss=loss(OTHERS, OTHER_Y))
    assert audit.from_predictions(complete, ["rmia"]).rows == wanted.rows
    with pytest.raises(ValueError, match="holds a population of its own"):
        audit.from_predictions(complete, ["rmia"], population=tmp_path / "b.npz")
    with pytest.raises(ValueError, match="expected 'logits' as well"):
        audit.from_predictions(saved(tmp_path, logits=LOGITS, y=Y, member=MEMBER), population=tmp_path / "b.npz")


def test_a_second_file_that_contradicts_the_first(tmp_path):
    path = saved(tmp_path, logits=LOGITS, y=Y, member=MEMBER, classes=np.arange(C))
    named = dict(logits=OTHERS, y=OTHER_Y)
    for arrays, words in (
        (named | dict(member=np.arange(Z) < 2), "marks 2 members"),
        (named | dict(classes=[0, 2, 1]), r"has the classes \[.*0.*2.*1.*\], and .* in another order"),
    ):
        np.savez(tmp_path / "b.npz", **arrays)
        for first in (path, saved(tmp_path, logits=LOGITS, y=Y, member=MEMBER)):
            with pytest.raises(ValueError, match=words):
                audit.from_predictions(first, ["rmia"], population=tmp_path / "b.npz")
    np.savez(tmp_path / "b.npz", **named, member=np.zeros(Z, bool), classes=np.arange(C))
    both = audit.audit_models(LOGITS, Y, MEMBER, ["rmia"], population=(OTHERS, OTHER_Y))
    assert audit.from_predictions(first, ["rmia"], population=tmp_path / "b.npz").rows == both.rows
    with pytest.raises(ValueError, match=r"member in .* has shape \(\); expected \(records,\)"):
        audit.from_predictions(saved(tmp_path, logits=LOGITS, y=Y, member=np.True_))


def test_populations_that_are_none(tmp_path):
    base = dict(logits=LOGITS, y=Y, member=MEMBER)
    labels = dict(predicted=LOGITS.argmax(-1), y=Y, member=MEMBER)
    for arrays, words in (
        (base | dict(population_logits=OTHERS), "expected 'y' as well"),
        (base | dict(population_logits=OTHERS[:2], population_y=OTHER_Y), "population has shape"),
        (base | dict(population_logits=LOGITS, population_y=Y), "have the values of an audited record"),
        (labels | dict(population_predicted=OTHERS.argmax(-1), population_y=OTHER_Y), "no attack reads those"),
    ):
        with pytest.raises(ValueError, match=words):
            audit.from_predictions(saved(tmp_path, **arrays), ["gap"])
    with pytest.raises(ValueError, match="population= has no moved copies"):
        audit.audit_models(LOGITS, Y, MEMBER, ["rmia"], queries=[LOGITS], population=(OTHERS, OTHER_Y))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"population_los": [0.0]}, "the array='population_los' is not known. Did you mean 'population_loss'"),
        ({"user": [0.0]}, "the array='user' is not known. Did you mean 'users'"),
        ({"slices:night": NIGHT}, "the array='slices:night' is not known"),
        ({"unread": np.array([{}], object)}, "Known: logits, probs, predicted, .*member, classes, users"),
        ({"loss@": [0.0]}, "expected the name of a signal"),
    ],
)
def test_an_array_that_no_audit_reads_is_refused(tmp_path, arrays, words):
    signals, ids = dict(loss=loss(LOGITS, Y), member=MEMBER), np.arange(N)
    for path in (saved(tmp_path, **signals, **arrays), tmp_path / "a.npz"):
        with pytest.raises(ValueError, match=words):
            audit.from_predictions(path, ["loss"])
    if "loss@" not in arrays:
        np.savez(tmp_path / "b.npz", loss=loss(OTHERS, OTHER_Y), **arrays)
        with pytest.raises(ValueError, match=f"b.npz: {words}" if words.startswith("the") else words):
            audit.from_predictions(saved(tmp_path, **signals, id=ids), ["rmia"], population=tmp_path / "b.npz")


def test_signals_beside_outputs_are_refused(tmp_path):
    path = saved(tmp_path, logits=LOGITS, loss=loss(LOGITS, Y), y=Y, member=MEMBER)
    with pytest.raises(ValueError, match="holds loss beside 'logits'; an audit is of outputs or of signals"):
        audit.from_predictions(path)
