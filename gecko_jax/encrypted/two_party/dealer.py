"""The dealer: a third party that draws masks and their products before the inputs are known, and then leaves.

It is trusted and may not side with either party. What it deals is used once: a mask that served twice would give away
the difference of the two numbers behind it.

    matrix product     A [b, n], B [n, m], C = A B, as additive shares           one each affine map with secret weights
    zero               C = 0, additive: makes the shares of a map with public weights uniform
    square             a, c = a^2        product: a, b, c = a b
    comparison         see `two_party.comparison`
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gecko_jax.encrypted.two_party.fixed_point import RING_BITS, uniform
from gecko_jax.encrypted.two_party.layout import Layout, Step

LEVELS = 6  # of the prefix tree over a word's bits: 2^6 = 64
TOP = np.uint64(RING_BITS - 1)


def additive(random: np.random.Generator, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits numbers into two shares that add up to them; each share alone is uniform.

    Args:
      random: the generator.
      value: uint64.

    >>> shares = additive(np.random.default_rng(0), np.array([7], np.uint64))
    >>> sum(shares).tolist()
    [7]
    """
    share = uniform(random, value.shape)
    return share, value - share


def bitwise(random: np.random.Generator, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits words into two shares whose exclusive or they are; each share alone is uniform.

    Args:
      random: the generator.
      value: uint64.

    >>> first, second = bitwise(np.random.default_rng(0), np.array([7], np.uint64))
    >>> (first ^ second).tolist()
    [7]
    """
    share = uniform(random, value.shape)
    return share, value ^ share


class Hands:
    """What the dealer gives to each party, in the order in which the protocol uses it.

    Attributes:
      client, server: uint64 arrays.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.client: list[np.ndarray] = []
        self.server: list[np.ndarray] = []

    def draw(self, *shape: int) -> np.ndarray:
        """Draws uniform numbers of the ring."""
        return uniform(self.random, shape)

    def give(self, value: np.ndarray, split: Callable = additive) -> None:
        """Gives each party its share of a value."""
        client, server = split(self.random, value)
        self.client.append(client)
        self.server.append(server)


def deal(layout: Layout, batch: int, random: np.random.Generator) -> Hands:
    """Draws all that one run of the protocol uses up.

    Args:
      layout: of the circuit.
      batch: examples of the run.
      random: the dealer's generator.

    Returns:
      Both parties' arrays.

    >>> layout = Layout(2, (Step("output", "output", (0,), (2,), 3),), (13, 13), False)
    >>> hands = deal(layout, 4, np.random.default_rng(0))
    >>> [share.shape for share in hands.client]
    [(2, 3), (4, 2), (4, 3)]
    >>> b, a, c = (x + y for x, y in zip(hands.client, hands.server, strict=True))
    >>> bool((c == a @ b).all())
    True
    """
    hands = Hands(random)
    secret = [() if layout.public_weights else step.widths for step in layout.steps]
    masks = [[hands.draw(width, step.outputs) for width in widths]
             for step, widths in zip(layout.steps, secret, strict=True)]  # fmt: skip
    for mask in (mask for of_step in masks for mask in of_step):
        hands.give(mask)
    for step, of_step in zip(layout.steps, masks, strict=True):
        product = np.zeros((batch, step.outputs), np.uint64)
        for mask in of_step:
            nodes = hands.draw(batch, len(mask))
            hands.give(nodes)
            product += nodes @ mask
        hands.give(product)
        deal_elementwise(hands, batch, step)
    return hands


def deal_elementwise(hands: Hands, batch: int, step: Step) -> None:
    """Deals what the elementwise part of a step uses up."""
    deals = {"square": _square, "product": _product, "clamp": _compared, "relu": _compared}
    if step.kind != "output":
        deals[step.kind](hands, batch, step)


def _square(hands: Hands, batch: int, step: Step) -> None:
    a = hands.draw(batch, step.nodes)
    hands.give(a)
    hands.give(a * a)


def _product(hands: Hands, batch: int, step: Step) -> None:
    a, b = hands.draw(2, batch, step.nodes)
    for value in (a, b, a * b):
        hands.give(value)


def _compared(hands: Hands, batch: int, step: Step) -> None:
    shape = (step.comparisons, batch, step.nodes)
    mask = hands.draw(*shape)
    hands.give(mask)
    hands.give(mask, bitwise)
    for level in range(LEVELS):
        a, b = hands.draw(*shape), hands.draw(ands(level), *shape)
        for value in (a, b, a & b):
            hands.give(value, bitwise)
    word = hands.draw(*shape)
    hands.give(word, bitwise)
    hands.give(word >> TOP)
    _product(hands, batch, step)


def ands(level: int) -> int:
    """How many words a level of the prefix tree multiplies: two, but the last needs only the one that is read."""
    return 1 if level == LEVELS - 1 else 2
