"""The protocol of one run, as one party follows it: setup, the input's shares, every step, the output's opening."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax.encrypted.two_party.comparison import clamp, relu
from gecko_jax.encrypted.two_party.fixed_point import CLIENT, truncate, uniform
from gecko_jax.encrypted.two_party.layout import Layout, StepWeights
from gecko_jax.encrypted.two_party.messages import Exchange, Outgoing
from gecko_jax.encrypted.two_party.products import (
    Party,
    SecretMap,
    Shares,
    map_secretly,
    multiply,
    open_matrices,
    square,
)


class Secrets(NamedTuple):
    """What a party starts with; the other one has none of it, but for public weights.

    Attributes:
      hand: the dealer's arrays for this party, in order.
      weights: of every step, or None for a client without them.
      x: uint64 [b, n], the client's inputs, or None for the server.
      random: the client's generator, or None for the server.
    """

    hand: Iterable[np.ndarray]
    weights: Sequence[StepWeights] | None
    x: np.ndarray | None
    random: np.random.Generator | None


def follow(index: int, layout: Layout, batch: int, secrets: Secrets) -> Exchange:
    """Follows the protocol as one party, for `messages.run_in_lockstep`.

    Args:
      index: CLIENT or SERVER.
      layout: of the circuit.
      batch: examples.
      secrets: what this party holds.

    Returns:
      (from the generator) the client: outputs uint64 [b, out] with the fractional bits of values; the server: None.
    """
    party = Party(index, iter(secrets.hand).__next__)
    maps = [] if layout.public_weights else (yield from _setup(party, layout, secrets.weights))
    nodes = [(yield from _share_input(layout, batch, secrets))]
    for number, step in enumerate(layout.steps):
        name = f"{step.name}: {step.kind}"
        sources = [nodes[source] for source in step.sources]
        weights = None if secrets.weights is None else secrets.weights[number]
        if layout.public_weights:
            assert weights is not None
            result = party.take()  # shares of zero, which make the sum's shares uniform
            for matrix, node in zip(weights.matrices, sources, strict=True):
                result = result + (matrix @ node.T).T
        else:
            result = yield from map_secretly(party, f"{step.name}: map", maps[number], sources)
        if weights is not None and index != CLIENT:
            result = result + weights.bias[None]
        result = truncate(result, layout.bits[1], index)
        if step.kind != "output":
            nodes.append((yield from _apply(party, layout.bits[0], (step.kind, name), result)))
            continue
        shape = (batch, step.outputs)
        if index == CLIENT:
            [theirs] = yield Outgoing("online", "output", (), (shape,))
            return result + theirs
        yield Outgoing("online", "output", (result,), ())
    return None


def _setup(party: Party, layout: Layout, weights: Sequence[StepWeights] | None):
    shapes = [(width, step.outputs) for step in layout.steps for width in step.widths]
    matrices = [None] * len(shapes) if weights is None else [each for step in weights for each in step.matrices]
    flat: list[SecretMap] = yield from open_matrices(party, matrices, shapes)
    left = iter(flat)
    return [[next(left) for _ in step.widths] for step in layout.steps]


def _share_input(layout: Layout, batch: int, secrets: Secrets) -> Shares:
    shape = (batch, layout.inputs)
    if secrets.x is None or secrets.random is None:
        [share] = yield Outgoing("online", "input", (), (shape,))
        return share
    share = uniform(secrets.random, shape)
    yield Outgoing("online", "input", (share,), ())
    return secrets.x - share


def _apply(party: Party, fraction_bits: int, what: tuple[str, str], x: np.ndarray) -> Shares:
    kind, step = what
    if kind == "clamp":
        return (yield from clamp(party, step, x, fraction_bits))
    if kind == "relu":
        return (yield from relu(party, step, x))
    if kind == "square":
        result = yield from square(party, step, x)
    else:
        left, right = np.split(x, 2, axis=1)
        result = yield from multiply(party, step, left, right)
    return truncate(result, fraction_bits, party.index)
