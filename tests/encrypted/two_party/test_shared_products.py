"""Products and signs of shared numbers, against Python's integers modulo 2^64."""

import numpy as np
import pytest

from gecko_jax.encrypted.two_party import Step
from gecko_jax.encrypted.two_party.comparison import clamp, negative, relu
from gecko_jax.encrypted.two_party.dealer import Hands, additive, deal_elementwise
from gecko_jax.encrypted.two_party.fixed_point import decode, encode, uniform
from gecko_jax.encrypted.two_party.messages import Channel, Outgoing, read, run_in_lockstep
from gecko_jax.encrypted.two_party.products import Party, multiply, square

EDGES = np.array([0, 1, -1, 2**62, -(2**62), 2**63 - 1, -(2**63), 8192, -8192, 4095], np.int64)


def together(kind, protocol, *values):
    """What two parties compute together on shares of values [b, n], and in how many rounds."""
    random = np.random.default_rng(3)
    batch, outputs = values[0].shape
    hands = Hands(random)
    deal_elementwise(hands, batch, Step("", kind, (), (), outputs * (2 if kind == "product" else 1)))
    shares = [additive(random, value) for value in values]
    parties = [Party(index, iter(hand).__next__) for index, hand in enumerate((hands.client, hands.server))]
    programs = [protocol(party, "step", *(share[party.index] for share in shares)) for party in parties]
    channel = Channel()
    client, server = run_in_lockstep(*programs, channel)
    return client + server, channel.rounds


def ring(values):
    return np.asarray(values, np.int64).reshape(2, -1).view(np.uint64)


def test_products_are_exact_modulo_2_64():
    x, y = uniform(np.random.default_rng(0), (2, 4, 5))
    expected = [[int(a) * int(b) % 2**64 for a, b in zip(*rows, strict=True)] for rows in zip(x, y, strict=True)]
    product, rounds = together("product", multiply, x, y)
    assert product.tolist() == expected and rounds == 1
    squares, rounds = together("square", square, x)
    assert squares.tolist() == [[int(a) ** 2 % 2**64 for a in row] for row in x] and rounds == 1


def test_signs_are_exact_from_one_end_of_the_ring_to_the_other():
    values = np.concatenate([EDGES, uniform(np.random.default_rng(1), (990,)).view(np.int64)])
    both = np.stack([ring(values), ring(values[::-1])])  # a clamp's two comparisons at once
    shares = [share.reshape(both.shape) for share in additive(np.random.default_rng(2), both)]
    hands = Hands(np.random.default_rng(3))
    deal_elementwise(hands, 2, Step("", "clamp", (), (), both.shape[-1]))
    programs = [
        negative(Party(index, iter(hand).__next__), "step", share)
        for index, (hand, share) in enumerate(zip((hands.client, hands.server), shares, strict=True))
    ]
    channel = Channel()
    client, server = run_in_lockstep(*programs, channel)
    assert (client + server).tolist() == (both.view(np.int64) < 0).astype(int).tolist()
    assert channel.rounds == 8


def test_the_clamp_is_exact():
    values = np.concatenate([[-0.5, 0.5, 0, 0.25, -0.25, 2.0**-13, -(2.0**-13), 1e9, -1e9, 0.5 - 2.0**-13],
                             np.random.default_rng(0).normal(size=990)])  # fmt: skip
    x = encode("x", values, 13).reshape(2, -1)
    result, rounds = together("clamp", lambda party, step, share: clamp(party, step, share, 13), x)
    assert (decode(result, 13) == np.clip(decode(x, 13) + 0.5, 0, 1)).all() and rounds == 9


def test_the_relu_is_exact():
    values = np.concatenate([EDGES, uniform(np.random.default_rng(0), (990,)).view(np.int64)])
    result, rounds = together("relu", relu, ring(values))
    assert result.view(np.int64).reshape(-1).tolist() == [max(int(value), 0) for value in values] and rounds == 9


def test_a_message_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a message has 8 bytes; expected 16, for arrays"):
        read(bytes(8), [(2,)])


def test_parties_in_different_steps_are_refused():
    def party(step):
        yield Outgoing("online", step, (), ())

    with pytest.raises(RuntimeError, match="different steps of the protocol: \\['a', 'b'\\]"):
        run_in_lockstep(party("a"), party("b"), Channel())
