"""SafeCompress: sparse to the end, and the candidate that a simulated attack does worse on is the one that stays."""

import jax
import numpy as np
import pytest

from gecko_jax import compression, costs, keys, losses, metrics, models, training
from gecko_jax.defenses import safe_compress
from gecko_jax.trees import take

OPTIONS = dict(batch_size=8, seed=3)
MODULE = "gecko_jax.defenses.safe_compress"


@pytest.fixture
def choosing(monkeypatch):
    """(number) -> every round keeps that candidate, 0 random growth and 1 growth by gradients; calls are recorded."""
    import sys

    calls = []

    def choose(number):
        def safety(model, variables, rows, loss):
            calls.append(variables)
            return np.full(2, float((len(calls) - 1) % 2 == number))

        monkeypatch.setattr(sys.modules[MODULE], "_safety", safety)
        return calls

    return choose


def test_each_model_keeps_the_safer_candidate(choosing, network, rows, members, reference):
    """With one round it is what training that candidate alone gives: the second one, which grows by gradients."""
    choosing(1)
    fitted = safe_compress(0.4, rounds=1).train(network, rows, members, reference=reference, epochs=2, **OPTIONS)
    model = models.dynamic_sparse(network, 0.4, "gradient", interval=3)  # 4 updates, one move
    alone = training.fit_ensemble(
        model, rows, members, epochs=2, batch_size=8, schedules={"drop": lambda share: 0.5},
        seed=int(keys.generator(3, "safe_compress", 0).integers(2**32)),
        optimizer=training.masked_momentum(training.optimizer()),
    )  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, fitted.variables["params"], alone.variables["params"])
    np.testing.assert_array_equal(fitted.loss, alone.loss)


def test_it_stays_as_sparse_as_it_says_and_is_stored_sparse(network, rows, members, reference):
    factor = lambda share: 1.0 - share  # noqa: E731
    fitted = safe_compress(0.4, rounds=2).train(
        network, rows, members, reference=reference, epochs=2, schedules={"learning_rate": factor}, **OPTIONS
    )
    assert fitted.loss.shape == fitted.metrics["accuracy"].shape == (2, 2)
    shares = compression.erdos_renyi({"dense1": (6, 5), "logits": (5, 3)}, 0.4)
    one = take(fitted.variables, 0)
    for layer, share in shares.items():
        assert np.count_nonzero(one["params"][layer]["kernel"]) <= round(share * one["params"][layer]["kernel"].size)
    model = models.pruned(network, 0.0, "weight")
    marked = models.prune_once(model, one, rows.x, std=0.0)
    counts = {bits: count.value for bits, count in costs.cost(model, marked, rows.x).parameters.items()}
    assert counts == {32: sum(np.count_nonzero(one["params"][layer]["kernel"]) for layer in shares) + 8}


def test_safety_is_accuracy_over_the_best_thresholds_accuracy(network, rows, members, reference, filled):
    import sys

    several = jax.tree.map(lambda leaf: np.stack([leaf, 0.5 * leaf]), filled(network, rows.x))
    scores = sys.modules[MODULE]._safety(network, several, (rows, members, reference), None)
    for number in range(2):
        one = take(several, number)
        inside, outside = (
            training.evaluate(network, one, part, losses.cross_entropy())
            for part in (take(rows, np.flatnonzero(members[number])), reference)
        )
        both = np.concatenate([inside.losses, outside.losses])
        is_member = np.arange(len(both)) < len(inside.losses)
        best = max(metrics.balanced_accuracy(-both, is_member, t) for t in [*-both, np.inf])
        assert scores[number] == pytest.approx(outside.metrics["accuracy"] / best, rel=1e-6)


def test_what_it_cannot_do_is_refused(network, rows, members, reference):
    for options, message in [
        (dict(density=0.0), "density=0.0"), (dict(drop=1.5), "drop=1.5"), (dict(rounds=0), "rounds=0"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            safe_compress(**options)
    for options, message in [
        (dict(schedules={"transition": training.cosine}), r"schedules of \['transition'\] end in every round"),
        (dict(trainable=["logits"]), "defense 'safe_compress' sets trainable itself"),
    ]:
        with pytest.raises(ValueError, match=message):
            safe_compress().train(network, rows, members, reference=reference, **OPTIONS, **options)
