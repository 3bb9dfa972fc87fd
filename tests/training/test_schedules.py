"""What changes with time: values in each epoch, what they set, and what is refused before anything is trained."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from naive_training import assert_close, assert_same_bits, naive_fit, start_of

from gecko_jax import models, training
from gecko_jax.training.schedules import tabulate, with_scheduled

QUADRATIC = models.create("mlp", 10, hidden=(8,), activation="quadratic")


class Tempered(nn.Module):
    """Logits over a temperature that only a schedule sets."""

    @nn.compact
    def __call__(self, x):
        t = self.variable("temperature", "t", lambda: np.ones(2, np.float32))
        return nn.Dense(10)(x) / t.value[0]


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_values_are_those_of_each_epoch(epochs):
    table = tabulate({"learning_rate": training.cosine, "temperature": training.linear(0.25, 0.5, 3, 1)}, epochs)
    cosine = np.asarray(table.values["learning_rate"])
    np.testing.assert_allclose(cosine, optax.cosine_decay_schedule(1.0, epochs)(np.arange(epochs)), atol=1e-6)
    assert cosine[0] == 1.0 and (np.diff(cosine) < 0).all() and cosine[-1] > 0
    ramp = np.interp(np.arange(epochs) / epochs, [0.25, 0.5], [3, 1])
    np.testing.assert_allclose(table.values["temperature"], ramp, rtol=1e-12)
    assert tabulate(None, epochs).values == {"learning_rate": [1.0] * epochs}
    assert table.at(epochs - 1)["learning_rate"] == np.float32(cosine[-1])


def test_a_learning_rate_follows_its_function(pool, mlp):
    settings = dict(epochs=3, batch_size=20, optimizer=training.optimizer("adam", 1e-2))
    named = training.fit(mlp, pool, schedules={"learning_rate": training.cosine}, **settings)
    of_one_s_own = {"learning_rate": lambda done: 0.5 * (1 + np.cos(np.pi * done))}
    assert_same_bits(training.fit(mlp, pool, schedules=of_one_s_own, **settings), named)
    assert np.abs(training.fit(mlp, pool, schedules={}, **settings).loss - named.loss).max() > 1e-4


def test_any_collection_is_set_before_each_epoch_and_keeps_its_last_value(pool):
    """A temperature of 4, then 2, is the same as training with the logits divided by hand."""
    model, settings = models.from_linen(Tempered()), dict(epochs=2, batch_size=30, optimizer=optax.sgd(0.5))
    start = start_of(model, pool.x)
    schedules = {"temperature": lambda done: 4 - 4 * done}
    trained = training.fit(model, pool, init=start, schedules=schedules, **settings)
    assert trained.variables["temperature"]["t"].tolist() == [2, 2]
    by_hand = models.from_linen(nn.Dense(10))
    expected = {"params": start["params"]["Dense_0"]}
    for epoch, t in enumerate((4, 2)):
        divided = by_hand._replace(apply=lambda v, x, t=t, **options: (by_hand.apply(v, x, **options)[0] / t, {}))
        order = training.batch_plan.batches(np.ones((1, 60), bool), 30, 0, epoch)
        for rows in order.indices[0]:
            logits = lambda v, rows=rows, f=divided: f.apply(v, pool.x[rows])[0]  # noqa: E731
            loss = lambda v, rows=rows, f=logits: optax.softmax_cross_entropy_with_integer_labels(  # noqa: E731
                f(v), pool.y[rows]
            ).mean()
            expected = jax.tree.map(lambda w, g: w - 0.5 * g, expected, jax.grad(loss)(expected))
    assert_close({"params": trained.variables["params"]["Dense_0"]}, expected, rtol=1e-4)


def test_a_transition_moves_epoch_by_epoch_and_ends_at_one(pool):
    """Under Adam at 1e-3, the optimizer if none is named."""
    start, settings = start_of(QUADRATIC, pool.x), dict(epochs=5, batch_size=30)
    trained = training.fit(
        QUADRATIC, pool, init=start, schedules={"transition": training.linear(1 / 5, 3 / 5)}, **settings
    )
    seen = {0: 0.0, 1: 0.0, 2: 0.5, 3: 1.0, 4: 1.0}
    expected = naive_fit(QUADRATIC, pool, np.ones(60, bool), start, optax.adam(1e-3), r=seen.get, **settings)
    assert_close(trained.variables, expected.variables, rtol=1e-4)
    np.testing.assert_allclose(trained.loss, expected.loss, rtol=1e-4)
    assert [float(leaf) for leaf in jax.tree.leaves(trained.variables["transition"])] == [1.0]
    plain = training.fit(QUADRATIC, pool, init=start, **settings)
    assert [float(leaf) for leaf in jax.tree.leaves(plain.variables["transition"])] == [1.0]
    assert np.abs(plain.loss - trained.loss).max() > 1e-4


def test_the_learning_rate_sets_no_variable():
    variables = {"params": {"w": np.ones(3)}, "transition": {"r": np.ones(())}}
    assert with_scheduled(variables, {"learning_rate": np.float32(0.5)}) == variables
    assert with_scheduled(variables, {"transition": np.float32(0.5)})["transition"]["r"] == 0.5


BAD = {
    "a name": (dict(learning_rate="cosine"), r"schedules\['learning_rate'\]='cosine' must be a function"),
    "no mapping": ("cosine", r"schedules='cosine' must map names to functions"),
    "without end": (dict(learning_rate=lambda done: np.inf), r"schedules\['learning_rate'\]\(0\).* NaN or infinite"),
    "uphill": (dict(learning_rate=lambda done: -1.0), r"schedules\['learning_rate'\]\(0\)=-1.0 must be at least 0"),
    "two numbers": (dict(transition=lambda done: [1, 1]), r"schedules\['transition'\]\(0\) is \[1, 1\]; expected one"),
    "to the end": (dict(transition=training.linear(0, 1)), r"is 0.8 in the last of 5 epochs and must be 1"),
    "of nothing": (dict(temperature=training.cosine), r"no collection 'temperature' \(it has \['transition'\]"),
    "of parameters": (dict(params=training.cosine), r"schedules\['params'\] would overwrite what is trained"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_schedules_are_refused_before_a_folder_is_claimed(pool, tmp_path, what):
    schedules, message = BAD[what]
    with pytest.raises(ValueError, match=message):
        training.fit(QUADRATIC, pool, epochs=5, schedules=schedules, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_schedule_as_a_learning_rate_is_sent_to_fit():
    with pytest.raises(ValueError, match="Pass a schedule to fit: schedules="):
        training.optimizer("adam", training.cosine)


@pytest.mark.parametrize("start, end", [(0.5, 0.5), (0.6, 0.2), (-0.1, 0.5), (0.2, 1.5), (float("nan"), 0.5)])
def test_a_ramp_out_of_order_is_refused(start, end):
    with pytest.raises(ValueError, match="must satisfy 0 <= start < end <= 1"):
        training.linear(start, end)


def test_a_function_that_changes_its_mind_is_refused(pool, mlp):
    """The run's identity, and a private run's noise, rest on the values that were asked for at the start."""
    answers = iter([1.0, 1.0, 1.0, 0.5])
    with pytest.raises(ValueError, match=r"\(0.5\) was 1.0 when the run began and is 0.5 now"):
        training.fit(mlp, pool, epochs=2, batch_size=60, schedules={"learning_rate": lambda done: next(answers)})


@pytest.mark.parametrize(
    "name, first, last, end",
    [
        ("transition", -1.0, 1.0, "0.0 and 1.0"),
        ("mixture", 1.5, 0.0, "0.0 and 1.0"),
        ("pruning", 0.0, 1.2, "0.0 and 1.0"),
        ("penalty_weight", 1.0, -1.0, "0.0 and inf"),
        ("penalty_power", 0.0, 10.0, "1.0 and inf"),
    ],
)
def test_values_that_a_collection_cannot_hold_are_refused(name, first, last, end):
    for schedule in (training.linear(0.2, 0.8, first, last), training.last_layer_first(0.2, 0.8, first, last)):
        with pytest.raises(ValueError, match=rf"schedules\['{name}'\]\(.*\)=.* must lie between {end}"):
            tabulate({name: schedule}, 10)
