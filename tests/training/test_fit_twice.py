"""Just fine-tune twice: the first training cannot see a secret, the second is private for replaced rows."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.datasets.text import bytes_tokenizer, from_texts
from gecko_jax.datasets.text.policies import matching
from gecko_jax.datasets.text.selective import selective_rows

LOSS = losses.sequence_cross_entropy(padding=-1)
MODEL = models.from_linen(nn.Sequential([nn.Embed(259, 4), nn.Dense(259)]))
FIRST = dict(epochs=2, batch_size=4, seed=0)


def rows_of(code):
    texts = [f"Bed {i} of ward {code if i == 3 else 10 + i}." for i in range(8)]
    return selective_rows(from_texts(texts, user=["x"] * 4 + ["y"] * 4), bytes_tokenizer(), 24, matching(r"\d\d+"), 4)


def private_of(**options):
    usual = dict(n=8, batch_size=4, epochs=1, delta=1e-2, noise_multiplier=2.0, adjacency="replace_one")
    return privacy.private_training(MODEL, LOSS, clippings.flat(1.0), **(usual | options))


PRIVATE = private_of()


def claimed(noise=2.0, steps=2, n=8, rule=None):
    """A private training with an epsilon that somebody computed for other settings."""
    options = dict(n=8, batch_size=4, epochs=1, delta=1e-2, noise_multiplier=2.0)
    run = privacy.private_training(MODEL, LOSS, rule or clippings.flat(1.0), **options)
    spent = privacy.epsilon(privacy.poisson(n, 4, steps), noise, 1e-2, adjacency="replace_one")
    return run._replace(epsilon=spent)


def test_the_first_training_is_the_same_for_neighbors_and_the_second_is_not():
    rows, options = [rows_of(code) for code in (77, 4242)], dict(first=FIRST, second=dict(seed=0))
    one, two = (training.fit_twice(MODEL, each, PRIVATE, **options) for each in rows)
    jax.tree.map(np.testing.assert_array_equal, one.first.variables, two.first.variables)
    redacted = training.fit(MODEL, rows_of(77).first(), loss=LOSS, **FIRST)
    jax.tree.map(np.testing.assert_array_equal, one.first.variables, redacted.variables)
    leaves = [jax.tree.leaves(each.second.variables) for each in (one, two)]
    assert any((a != b).any() for a, b in zip(*leaves, strict=True))


def test_the_second_training_is_private_training_from_the_first():
    rows = rows_of(77)
    result = training.fit_twice(MODEL, rows, PRIVATE, first=FIRST, second=dict(seed=3))
    expected = training.fit(MODEL, rows.second(), init=result.first.variables, seed=3, **PRIVATE.options)
    jax.tree.map(np.testing.assert_array_equal, result.second.variables, expected.variables)


def test_the_guarantee_says_what_it_covers():
    guarantee = training.fit_twice(MODEL, rows_of(77), PRIVATE, first=FIRST).guarantee
    assert float(guarantee) == float(privacy.epsilon(PRIVATE.sampling, 2.0, 1e-2, adjacency="replace_one"))
    assert guarantee.rows_per == {"secret": 1, "document": 1, "user": 4}
    text = str(guarantee)
    assert "two sets of 8 rows with the same redacted rows that differ in at most 1 row." in text
    assert "NOT for a user with up to 4 of them" in text and "one example replaced by any other" in text
    assert "does not find, and where it finds one" in text


def test_a_start_of_another_model_and_an_adaptive_threshold():
    budget = dict(n=8, batch_size=4, epochs=1, delta=1e-2, noise_multiplier=2.0, adjacency="replace_one")
    rule = clippings.quantile(1.0)
    private = privacy.private_training(MODEL, LOSS, rule, trainable=["layers_1"], **budget)
    moved = training.fit_twice(
        MODEL, rows_of(77), private, first=FIRST, start=lambda v: jax.tree.map(lambda leaf: leaf * 2, v)
    )
    table = [v["params"]["layers_0"]["embedding"] for v in (moved.first.variables, moved.second.variables)]
    np.testing.assert_array_equal(2 * table[0], table[1])  # the second trains the other layer alone
    assert "clipping" in moved.second.variables and "clipping" not in moved.first.variables


def test_several_models_start_from_their_own_first_training():
    init = MODEL.init(jax.random.key(0), rows_of(77).second().x[:1])
    several = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), init)
    options = dict(first=dict(epochs=1, batch_size=8, seed=0), second=dict(seed=0))
    both = training.fit_twice(MODEL, rows_of(77), PRIVATE, init=several, models=2, **options)
    one = training.fit(MODEL, rows_of(77).first(), init=init, loss=LOSS, **options["first"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-5), both.first.variables, one.variables)
    before, after = (jax.tree.leaves(each.variables) for each in (both.first, both.second))
    assert all(((b - a)[0] != (b - a)[1]).any() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(private=private_of(adjacency="add_or_remove")), "nothing hides whether a row is there"),
        (dict(private=private_of(n=9)), "made for n=9 rows, and there are 8"),
        (dict(second=dict(epochs=5)), "second has epochs"),
        (dict(first=dict(extra={})), "first has extra"),
        (dict(private=claimed(noise=3.0)), "draws Poisson sampling at rate 4/8, 2 steps with noise multiplier 2:"),
        (dict(private=claimed(steps=1)), "take both from one call of private_training"),
        (dict(private=claimed(n=80)), "take both from one call of private_training"),
        (dict(private=claimed(rule=clippings.quantile(1.0))), "leaves out the noised count"),
        (dict(private=PRIVATE._replace(gradients=print)), "its gradients or its epsilon were replaced"),
        (dict(second=dict(init=None, trainable=["x"])), "second has trainable, init"),
        (dict(rows=rows_of(77)._replace(redacted=rows_of(77).tokens)), "would read what the policy calls sensitive"),
        (dict(rows=rows_of(77)._replace(redacted=np.roll(rows_of(77).redacted, 1, 0))), "is not rows.tokens"),
    ],
)
def test_what_breaks_the_guarantee_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        training.fit_twice(**(dict(model=MODEL, rows=rows_of(77), private=PRIVATE, first=FIRST) | change))
