"""The threshold of Yeom et al., which the attacker is told: the mean loss of the target's own members."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit

N, C = 300, 3


@pytest.fixture(name="outputs", scope="module")
def drawn_outputs():
    rng = np.random.default_rng(0)
    y, member = rng.integers(0, C, N), rng.random((3, N)) < 0.5
    logits = rng.normal(size=(3, N, C)) + (1 + 2 * member + (y == 0))[..., None] * np.eye(C)[y]
    losses = np.log(np.exp(logits).sum(-1)) - logits[:, np.arange(N), y]
    return logits, y, member, losses


def accuracy(calls, member):
    return (calls[member].mean() + (~calls[~member]).mean()) / 2


def test_members_have_at_most_the_mean_training_loss(outputs):
    logits, y, member, losses = outputs
    one = audit.audit_model(logits[0], y, member[0], ["yeom", "loss"])
    wanted = accuracy(losses[0] <= losses[0][member[0]].mean(), member[0])
    assert one.rows["yeom"]["attack_accuracy"].value == pytest.approx(wanted)
    assert one.rows["yeom"]["auc"] == one.rows["loss"]["auc"]
    assert one.rows["yeom"]["attack_accuracy"] != one.rows["loss"]["attack_accuracy"]
    assert any(note.startswith("The threshold of yeom is the mean score of the target's own") for note in one.notes)
    several = audit.audit_models(logits, y, member, ["yeom"])  # with shadows it is still told, and not chosen on them
    each = [accuracy(row <= row[truth].mean(), truth) for row, truth in zip(losses, member, strict=True)]
    assert several.rows["yeom"]["attack_accuracy"].value == pytest.approx(np.mean(each))


def test_a_mean_for_each_class(outputs):
    logits, y, member, losses = outputs
    report = audit.audit_model(logits[0], y, member[0], [attacks.per_class(attacks.yeom())])
    means = np.array([losses[0][member[0] & (y == label)].mean() for label in range(C)])
    wanted = accuracy(losses[0] <= means[y], member[0])
    assert report.rows["yeom_per_class"]["attack_accuracy"].value == pytest.approx(wanted)


def test_equal_losses_reach_their_own_mean():
    """0.1 + 0.1 + 0.1 is not 3 times 0.1: rounding must not put the mean beyond all of them."""
    losses, member = np.full(7, 0.1), np.arange(7) < 3
    losses[~member] = 5.0
    report = audit.from_signals({"loss": losses}, member, ["yeom"])
    assert report.rows["yeom"]["attack_accuracy"].value == 1.0
