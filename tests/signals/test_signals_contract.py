"""What every listed signal promises; a new one is tested by being listed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from gecko_jax import signals
from gecko_jax.signals import NEEDS, SIGNALS, Signal

EVERY = pytest.mark.parametrize("name", sorted(SIGNALS))
READ = pytest.mark.parametrize("name", sorted(name for name, one in SIGNALS.items() if one.read))
MODELS, N, CLASSES, LENGTH = 2, 400, 3, 5


def outputs(kind, leak=0.0, seed=0):
    """(outputs of MODELS models on N records, labels, members): `leak` makes members' outputs nearer to their label."""
    rng = np.random.default_rng(seed)
    member = rng.random(N) < 0.5
    if kind == "numbers":
        y = rng.normal(size=N)
        return y[None] + rng.normal(size=(MODELS, N)) * np.exp(-leak * member)[None], y, member
    shape = (N, LENGTH) if kind == "tokens" else (N,)
    y = rng.integers(0, CLASSES, shape)
    truth = np.eye(CLASSES)[y] * leak * member.reshape(-1, *[1] * len(shape))
    if kind == "tokens":
        y[:, 3:] = np.where(rng.random((N, 2)) < 0.5, -1, y[:, 3:])
    return rng.normal(size=(MODELS, *shape, CLASSES)) + truth[None], y, member


@EVERY
def test_it_carries_the_name_it_is_listed_under(name):
    signal = SIGNALS[name]
    assert isinstance(signal, Signal) and signal.name == name
    assert set(signal.stands_for) <= set(SIGNALS) and set(signal.needs) <= set(NEEDS)
    # Outputs and labels suffice, or it says what else it takes, and where that comes from.
    assert (signal.read is None) == bool(signal.needs) and signal.source


@READ
def test_values_of_each_model_and_record_are_its_own(name):
    signal = SIGNALS[name]
    inputs, y, _ = outputs(signal.outputs)
    values = signal(inputs, y)
    assert values.dtype == np.float64 and values.shape[:2] == (MODELS, N) and values.ndim == 2 + len(signal.axes)
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_array_equal(signal(inputs[1][order], y[order]), values[1][order])


@READ
def test_it_points_the_way_that_it_says(name):
    signal = SIGNALS[name]
    inputs, y, member = outputs(signal.outputs, leak=2.0)
    values = signal(inputs, y)[0].reshape(N, -1).mean(1)
    larger = values[member].mean() > values[~member].mean()
    assert signal.larger == "neither" or larger == (signal.larger == "members")


@READ
def test_nan_is_refused(name):
    signal = SIGNALS[name]
    inputs, y, _ = outputs(signal.outputs)
    inputs[0, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        signal(inputs, y)


@pytest.mark.parametrize("name", sorted(name for name, one in SIGNALS.items() if not one.read))
def test_one_that_needs_the_model_says_so(name):
    with pytest.raises(ValueError, match=f"signal '{name}' is not a function of outputs; it comes from audit"):
        SIGNALS[name](np.zeros((3, 2)), np.zeros(3, int))


def by_hand(logits, y):
    """-log p of each token that counts, record by record."""
    return [
        np.array([-special.log_softmax(row)[token] for row, token in zip(rows, tokens, strict=True) if token >= 0])
        for rows, tokens in zip(logits, y, strict=True)
    ]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 1.0])
def test_signals_of_tokens_by_loops(share):
    inputs, y, _ = outputs("tokens")
    losses = by_hand(inputs[1], y)
    np.testing.assert_allclose(signals.sequence_loss(inputs, y)[1], [one.mean() for one in losses])
    padded = signals.token_losses(inputs, y)[1]
    np.testing.assert_allclose([row[:3] for row in padded], [one[:3] for one in losses])
    assert (padded[y < 0] == 0).all()
    least = [np.sort(one)[::-1][: int(np.ceil(share * len(one)))] for one in losses]
    signal = signals.min_k_probability(share)
    np.testing.assert_allclose(signal(inputs, y)[1], [-one.mean() for one in least])
    assert signal.name == f"min_{100 * share:g}_probability" and signal.larger == "members"


def test_perplexity_is_that_of_the_whole_sequence():
    inputs, y, _ = outputs("tokens")
    y = np.abs(y) % CLASSES
    p = special.softmax(inputs[0], -1)
    geometric = stats.gmean(np.take_along_axis(p, y[..., None], -1)[..., 0], axis=-1)
    np.testing.assert_allclose(np.exp(signals.sequence_loss(inputs[0], y)), 1 / geometric)


def test_squared_errors_of_one_output_and_of_several():
    rng = np.random.default_rng(2)
    y, inputs = rng.normal(size=(7, 2, 3)), rng.normal(size=(4, 7, 2, 3))
    np.testing.assert_allclose(signals.squared_error(inputs, y), ((inputs - y[None]) ** 2).sum((2, 3)))
    flat = signals.squared_error(inputs[:, :, 0, 0], y[:, 0, 0])
    np.testing.assert_array_equal(signals.squared_error(inputs[:, :, 0, :1], y[:, 0, 0]), flat)
    np.testing.assert_allclose(flat, (inputs[:, :, 0, 0] - y[None, :, 0, 0]) ** 2)
    for wrong in (inputs[:, :, 0], inputs[:, :5, 0, 0], inputs[:, :, 0, 0].T):
        with pytest.raises(ValueError, match="expected one prediction for each of y"):
            signals.squared_error(wrong, y[:, 0, 0])


@pytest.mark.parametrize(
    ("logits", "y", "words"),
    [
        (np.zeros((3, 2)), np.zeros(3, int), "expected .* a language model's"),
        (np.zeros((3, 4, 2)), np.zeros(3, int), "y has shape"),
        (np.zeros((3, 4, 2)), np.zeros((3, 4)), "dtype float64; expected tokens"),
        (np.zeros((3, 4, 2)), np.full((3, 4), 2), "y runs to 2; expected tokens in 0..1"),
        (np.zeros((3, 4, 2)), np.array([[0] * 4, [-1] * 4, [1] * 4]), "record 1 of y has no token to count"),
    ],
)
def test_bad_tokens_are_named(logits, y, words):
    for signal in (signals.sequence_loss, signals.token_losses, signals.min_20_probability):
        with pytest.raises(ValueError, match=words):
            signal(logits, y)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"larger": "member"}, "Did you mean 'members'"),
        ({"outputs": "class"}, "Did you mean 'classes'"),
        ({"needs": ("gradient",)}, "Did you mean 'gradients'"),
        ({"needs": "gradients"}, "must be tuples of names"),
        ({"axes": "leaf"}, "must be tuples of names"),
    ],
)
def test_a_signal_is_checked_when_it_is_made(arguments, words):
    with pytest.raises(ValueError, match=words):
        Signal("mine", **arguments)
    with pytest.raises(ValueError, match="share=0"):
        signals.min_k_probability(0)
