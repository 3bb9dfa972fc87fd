"""Signs of shared numbers, with the dealer's help, and what they make: SecureML's clamp, and the ReLU.

The parties open m = x + r under a uniform r of which they hold shares, of the number and of its bits. The sign of
x = m - r is bit 63 of m xor bit 63 of r xor the borrow [m mod 2^63 < r mod 2^63]. The borrow is computed on shared bits
by a prefix tree of six levels, all 64 bits of a word at once; one more opening turns the bit into additive shares. The
result is exact. SecureML compares by a garbled circuit instead: fewer rounds, and more bytes.
"""

from __future__ import annotations

import numpy as np

from gecko_jax.encrypted.two_party.dealer import LEVELS, TOP, ands
from gecko_jax.encrypted.two_party.fixed_point import CLIENT, encode
from gecko_jax.encrypted.two_party.messages import opened
from gecko_jax.encrypted.two_party.products import Party, Shares, multiply

_ONE = np.uint64(1)


def _and(party: Party, step: str, x: np.ndarray, others: np.ndarray) -> Shares:
    """Computes x & each of the others on shared words, in one round."""
    a, b, c = party.take(), party.take(), party.take()
    theirs = yield from opened("online", step, x ^ a, others ^ b)
    d, e = x ^ a ^ theirs[0], others ^ b ^ theirs[1]
    result = c ^ (d & b) ^ (a & e)
    return result ^ (d & e) if party.index == CLIENT else result


def negative(party: Party, step: str, x: np.ndarray) -> Shares:
    """Computes additive shares of the bits [x < 0], in eight rounds.

    Args:
      party: this party.
      step: of the protocol.
      x: its shares.

    Returns:
      (from the generator) its shares of 0 or 1, of x's shape.
    """
    first = party.index == CLIENT
    mask, mask_bits = party.take(), party.take()
    [theirs] = yield from opened("online", step, x + mask)
    public = x + mask + theirs
    greater = ~public & mask_bits  # where the mask's bit is 1 and the public one 0
    equal = mask_bits ^ ~public if first else mask_bits
    for level in range(LEVELS):
        shift = np.uint64(1 << level)
        others = np.stack([greater << shift, equal << shift][: ands(level)])
        lower = yield from _and(party, step, equal, others)
        greater = greater ^ lower[0]  # the two are never both 1
        equal = lower[-1]
    sign = (greater << _ONE) ^ mask_bits
    sign = sign ^ public if first else sign
    word, bit = party.take(), party.take()
    [theirs] = yield from opened("online", step, sign ^ word)
    public_bit = (sign ^ word ^ theirs) >> TOP
    result = bit - (public_bit + public_bit) * bit
    return result + public_bit if first else result


def clamp(party: Party, step: str, x: np.ndarray, fraction_bits: int) -> Shares:
    """Computes the shares of the number x + 1/2 clamped to 0..1, in nine rounds.

    With the bits b1 = [x + 1/2 < 0] and b2 = [x - 1/2 < 0] it is (b2 - b1) (x + 1/2) + 1 - b2.

    Args:
      party: this party.
      step: of the protocol.
      x: its shares [b, n], with f fractional bits.
      fraction_bits: f.

    Returns:
      (from the generator) its shares, with f fractional bits.

    Source: Mohassel and Zhang 2017 (SecureML), section 4.3.
    """
    half, one = encode("clamp", np.array([0.5, 1.0]), fraction_bits)
    first = party.index == CLIENT
    raised, lowered = (x + half, x - half) if first else (x, x)
    below, under = yield from negative(party, step, np.stack([raised, lowered]))
    inside = yield from multiply(party, step, under - below, raised)
    result = inside - one * under
    return result + one if first else result


def relu(party: Party, step: str, x: np.ndarray) -> Shares:
    """Computes the shares of max(x, 0) = (1 - [x < 0]) x, in nine rounds.

    Args:
      party: this party.
      step: of the protocol.
      x: its shares [b, n], with any number of fractional bits.

    Returns:
      (from the generator) its shares, with as many.
    """
    [below] = yield from negative(party, step, x[None])
    above = np.uint64(1) - below if party.index == CLIENT else -below
    return (yield from multiply(party, step, above, x))
