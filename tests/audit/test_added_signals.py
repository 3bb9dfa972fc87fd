"""A signal that is added by one file and one line is read by every audit; an error inside an attack is its author's."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit, metrics, signals
from gecko_jax.probes import READERS, SignalReader
from gecko_jax.signals import SIGNALS, Signal
from gecko_jax.types import Examples

N, MODELS = 120, 5
RNG = np.random.default_rng(0)
MEMBER = RNG.random((MODELS, N)) < 0.5
Y = RNG.integers(0, 3, N)
LOGITS = RNG.normal(size=(MODELS, N, 3)) + (1.5 * MEMBER)[..., None] * np.eye(3)[Y]
X = RNG.normal(size=(N, 4)).astype(np.float32)


def halves(member=MEMBER[0]):
    return [Examples(X[rows], Y[rows], np.flatnonzero(rows)) for rows in (member, ~member)]


def margin_of_squares(logits, y):
    logits = np.asarray(logits, np.float64)
    return np.take_along_axis(logits, np.broadcast_to(y[:, None], (*logits.shape[:-1], 1)), -1)[..., 0] ** 2


def test_a_signal_of_outputs_is_one_line(monkeypatch):
    """By saved outputs and by a predict function, in attacks that take any signal."""
    mine = Signal("squares", margin_of_squares, larger="members")
    monkeypatch.setitem(SIGNALS, "squares", mine)
    chosen = [attacks.loss(mine), attacks.lira(signal=mine), attacks.reference_rank(signal=mine)]
    report = audit.audit_models(LOGITS, Y, MEMBER, chosen)
    assert set(report.rows) == {"loss_squares", "lira_squares", "reference_rank_squares"}
    for i in range(MODELS):
        auc = metrics.roc_auc(margin_of_squares(LOGITS[i], Y), MEMBER[i])
        assert report.targets[i]["loss_squares"]["auc"].value == pytest.approx(auc)
    asked = audit.audit(lambda x: LOGITS[0][[np.flatnonzero(X[:, 0] == one)[0] for one in x[:, 0]]], *halves(),
                        attacks=[attacks.loss(mine)])  # fmt: skip
    assert asked.rows["loss_squares"]["auc"] == audit.audit_model(LOGITS[0], Y, MEMBER[0], chosen[:1]).rows[
        "loss_squares"]["auc"]  # fmt: skip


def test_a_signal_of_the_model_is_a_declaration_and_a_reader(monkeypatch):
    """Read off the target and off every shadow, through the door that has a model; other doors say what is lacking."""
    mine = Signal("stillness", larger="members", needs=("queries",))

    def read(probed, x, y, logits):
        return -np.abs(probed.ask(x + np.float32(0.1)) - probed.ask(x)).sum(1)

    monkeypatch.setitem(SIGNALS, "stillness", mine)
    monkeypatch.setitem(READERS, "stillness", SignalReader(mine, read))
    monkeypatch.setitem(attacks.ATTACKS, "stillness", lambda: attacks.Attack("stillness", mine, lambda s: s.target))
    weight = RNG.normal(size=(4, 3))

    def predict(x):
        return np.tanh(x @ weight)

    def recipe(rows, seed):
        return lambda x: np.tanh(x @ (weight + 0.01 * len(rows)))

    pool = Examples(X, Y, np.arange(N))
    alone = audit.audit(predict, *halves())
    beside = audit.audit(predict, *halves(), recipe, pool, shadows=3, key=0, attacks=[attacks.lira(signal=mine)])
    member = np.concatenate([np.ones(MEMBER[0].sum(), bool), np.zeros((~MEMBER[0]).sum(), bool)])
    x = np.concatenate([X[MEMBER[0]], X[~MEMBER[0]]])
    wanted = -np.abs(predict(x + np.float32(0.1)) - predict(x)).sum(1)
    assert alone.rows["stillness"]["auc"].value == pytest.approx(metrics.roc_auc(wanted, member))
    assert set(beside.rows) == {"lira_stillness"} and alone.tried["stillness"] == ("queries",)
    saved = audit.audit_models(LOGITS, Y, MEMBER)
    assert "needs queries, from audit(predict, ...)" in saved.not_run["stillness"]
    with pytest.raises(ValueError, match="'lira_stillness' reads 'stillness', which is not there; it comes from"):
        audit.audit_models(LOGITS, Y, MEMBER, [attacks.lira(signal=mine)])
    values = RNG.normal(size=(MODELS, N))
    from_values = audit.audit_models(LOGITS, Y, MEMBER, [attacks.lira(signal=mine)], probed={"stillness": values})
    assert set(from_values.rows) == {"lira_stillness"}


@pytest.mark.parametrize("slow", [False, True])
def test_a_type_error_inside_an_attack_reaches_its_author(monkeypatch, slow):
    def score(read):
        return read.target + None

    broken = attacks.Attack("broken", signals.loss, score, slow=slow)
    with pytest.raises(TypeError, match="unsupported operand"):
        audit.audit_models(LOGITS, Y, MEMBER, [broken])
    monkeypatch.setitem(attacks.ATTACKS, "broken", lambda: broken)
    with pytest.raises(TypeError, match="unsupported operand"):  # also if nobody named it
        audit.audit_model(LOGITS[0], Y, MEMBER[0], "all")


def test_every_signal_that_needs_the_model_has_a_reader():
    """Those of texts, references, exits and split networks come in as values: `Signal.source` says how."""
    as_values = [("text",), ("references",), ("exits",), ("activations",)]
    saved = {name for name, signal in SIGNALS.items() if signal.needs in as_values}
    assert saved == {
        "activation_profile", "exit_posteriors", "lowercase_ratio", "neighborhood", "reference_ratio", "zlib_ratio"
    }  # fmt: skip
    assert {name: reader.signal for name, reader in READERS.items()} == {
        name: signal for name, signal in SIGNALS.items() if signal.needs and name not in saved
    }
