"""Products of shared numbers by Beaver's triples: open the factors under a mask, and correct by what the dealer gave.

With c = a b dealt and e = x - a, f = y - b opened, x y = c + e b + a f + e f; the client alone adds e f.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gecko_jax.encrypted.two_party.fixed_point import CLIENT
from gecko_jax.encrypted.two_party.messages import Outgoing, opened

Shares: TypeAlias = Generator[Outgoing, Sequence[np.ndarray], np.ndarray]


class Party(NamedTuple):
    """One party, as the protocol of one run sees it.

    Attributes:
      index: CLIENT or SERVER.
      take: () -> the next array that the dealer gave to this party.
    """

    index: int
    take: Callable[[], np.ndarray]


def square(party: Party, step: str, x: np.ndarray) -> Shares:
    """Computes the shares of x^2 in one round.

    Args:
      party: this party.
      step: the protocol's step, which the log of messages names.
      x: its shares [b, n], with f fractional bits.

    Returns:
      (from the generator) its shares, with 2 f fractional bits.
    """
    a, c = party.take(), party.take()
    [theirs] = yield from opened("online", step, x - a)
    e = (x - a) + theirs
    result = c + (e + e) * a
    return result + e * e if party.index == CLIENT else result


def multiply(party: Party, step: str, x: np.ndarray, y: np.ndarray) -> Shares:
    """Computes the shares of x y, elementwise, in one round.

    Args:
      party: this party.
      step: of the protocol.
      x, y: its shares [b, n].

    Returns:
      (from the generator) its shares; fractional bits add up.
    """
    a, b, c = party.take(), party.take(), party.take()
    theirs = yield from opened("online", step, x - a, y - b)
    e, f = (x - a) + theirs[0], (y - b) + theirs[1]
    result = c + e * b + a * f
    return result + e * f if party.index == CLIENT else result


class SecretMap(NamedTuple):
    """One party's part of a matrix whose mask was opened in the setup.

    Attributes:
      opened: F = W - B, uint64 [n, m], which both parties know.
      right: what this party multiplies E by: its share of B, and for the client F besides.
    """

    opened: np.ndarray
    right: np.ndarray


def open_matrices(party: Party, matrices: Sequence[np.ndarray | None], shapes: Sequence[tuple[int, int]]) -> Any:
    """Opens all weights under their masks, in one round: the setup, once for any number of inputs.

    The server's share of its weights is the weights themselves and the client's share is zero: the mask is uniform.

    Args:
      party: this party.
      matrices: uint64 [n, m] each, the server's weights; None for the client.
      shapes: of the matrices.

    Returns:
      (from the generator) a SecretMap for each matrix.
    """
    masks = [party.take() for _ in shapes]
    masked = [-mask if matrix is None else matrix - mask for matrix, mask in zip(matrices, masks, strict=True)]
    theirs = (yield from opened("setup", "weights", *masked)) if shapes else []
    maps = []
    for mask, mine, other in zip(masks, masked, theirs, strict=True):
        both = mine + other
        maps.append(SecretMap(both, mask + both if party.index == CLIENT else mask))
    return maps


def map_secretly(party: Party, step: str, maps: Sequence[SecretMap], nodes: Sequence[np.ndarray]) -> Shares:
    """Computes the shares of the sum of nodes @ weights in one round.

    Args:
      party: this party.
      step: of the protocol.
      maps: one a node.
      nodes: its shares [b, n_k].

    Returns:
      (from the generator) its shares [b, m], uniform, with 2 f fractional bits.
    """
    masks = [party.take() for _ in maps]
    masked = [node - mask for node, mask in zip(nodes, masks, strict=True)]
    theirs = (yield from opened("online", step, *masked)) if maps else []
    result = party.take()
    for mask, mine, other, each in zip(masks, masked, theirs, maps, strict=True):
        result = result + (mine + other) @ each.right + mask @ each.opened
    return result
