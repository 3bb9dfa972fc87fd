"""Drawn signals of a target and its shadows for every signal that an attack may read, and designs of membership."""

from __future__ import annotations

import numpy as np
from scipy import special

from gecko_jax.signals import SIGNALS, profile_of_activation
from gecko_jax.types import Signals

CLASSES, LEAVES, COPIES = 3, 4, 9


def coins(rng, m, n):
    return rng.random((m, n)) < 0.5


def balanced(rng, m, n):
    """Complementary pairs of shadows (each record in half of them), and a target held out of the pairing."""
    half = np.array([rng.permutation(n) < n // 2 for _ in range((m - 1) // 2)])
    return np.concatenate([rng.permutation(n)[None] < n // 2, half, ~half])


def drawn(rng, name, member, leak):
    """values [models, n, ...]: records of different hardness, members `leak` surer of their label and flatter there."""
    m, n = member.shape
    y = rng.integers(0, CLASSES, n)
    logits = rng.normal(size=(m, n, CLASSES)) + rng.normal(size=(n, CLASSES))[None]
    logits += (1.0 + leak * member)[..., None] * np.eye(CLASSES)[y][None]
    if SIGNALS[name].outputs == "tokens":
        return tokens(rng, name, member, leak)
    if SIGNALS[name].outputs == "numbers":
        hardness = rng.gamma(2.0, size=n)[None]
        return SIGNALS[name](rng.normal(size=(m, n)) * hardness * np.exp(-leak / 2 * member), np.zeros(n))
    if SIGNALS[name].read is not None:
        return SIGNALS[name](logits, y)
    hinge, p = SIGNALS["hinge"](logits, y), special.softmax(logits, -1)
    label = np.broadcast_to(np.eye(CLASSES)[y][None], p.shape)
    norms = rng.normal(size=(m, n, LEAVES)) + (rng.normal(size=n)[None] - leak * member)[..., None]
    if SIGNALS[name].needs in (("text",), ("references",)):
        hardness = rng.gamma(9.0, 1 / 3, size=n)[None]
        return hardness * np.exp(-leak / 2 * member) * rng.gamma(9.0, 1 / 9, size=(m, n))
    if name == "label_robustness":
        return rng.binomial(COPIES, special.expit(hinge)) / COPIES
    if name == "boundary_distance":
        return np.maximum(hinge + 0.1 * rng.normal(size=hinge.shape), 0.0)
    if name == "small_gradient":
        return -np.exp(norms).sum(-1)
    if name == "layer_gradients":
        return -norms
    if name == "white_box":
        parts = p, label, SIGNALS["loss"](logits, y)[..., None], norms
        width = max(part.shape[-1] for part in parts)
        filled = [np.concatenate([part, np.zeros((m, n, width - part.shape[-1]))], -1) for part in parts]
        return np.stack(filled, 2)
    if name == "sensitivity":
        noise = np.exp(rng.normal(size=p.shape) - leak * member[..., None])
        return np.stack([p, p * (1 - p) * noise, label], 2)
    if name == "exit_posteriors":  # a member leaves early
        largest, depth = -np.sort(-p, -1), rng.binomial(2, special.expit(-hinge))
        return np.concatenate([largest, np.eye(3)[depth]], -1)
    if name == "activation_profile":  # a member's activation is larger
        sent = rng.gamma(4.0, size=(m, n, 6)) * np.exp(leak / 12 * member)[..., None]
        return profile_of_activation(sent, logits, y)
    assert name == "hinge_on_record", f"draw plausible values of {name!r} here"
    x = np.concatenate([rng.normal(size=(n, 2)), np.eye(CLASSES)[y]], 1)
    return np.concatenate([(hinge + x[:, 0][None])[..., None], np.broadcast_to(x[None], (m, *x.shape))], 2)


def tokens(rng, name, member, leak):
    """Of sequences of 6 tokens among 4, of unequal length: members' tokens are likelier."""
    (m, n), length, size = member.shape, 6, 4
    y = rng.integers(0, size, (n, length))
    y[np.arange(length)[None] >= rng.integers(3, length + 1, n)[:, None]] = -1
    logits = rng.normal(size=(m, n, length, size)) + rng.normal(size=(n, length, size))[None]
    logits += leak * member[..., None, None] * (np.arange(size) == y[..., None])[None]
    return SIGNALS[name](logits, y)


def draw(rng, attack, member, leak):
    """Signals of one target, the first row of member, and its shadows."""
    values = drawn(rng, attack.signal.name, member, leak)
    return Signals(values[1:], member[1:], values[0])


def auc(scores, member):
    """By counting every pair, ties half."""
    gap = scores[member][:, None] - scores[~member][None]
    return (gap > 0).mean() + (gap == 0).mean() / 2


def null_sd(member):
    """Standard deviation of an AUC without ties (with ties it is less), for members who are drawn regardless of it."""
    inside, outside = member.sum(), (~member).sum()
    return np.sqrt((inside + outside + 1) / (12 * inside * outside))
