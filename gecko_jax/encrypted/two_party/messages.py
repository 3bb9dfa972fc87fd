"""Two parties that run in lockstep and meet in nothing but bytes, and the log of those bytes.

A party is a generator: it yields what it sends, and is resumed with what the other party sent. Each such exchange is
one round: both parties send at once and wait, so that a round costs one latency of the network.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gecko_jax.encrypted.two_party.fixed_point import WORD_BYTES

NAMES = ("client", "server")
DEALER = "dealer"
_WIRE = np.dtype("<u8")


class Outgoing(NamedTuple):
    """What a party sends in one round, and what it waits for.

    Attributes:
      phase: "setup" or "online".
      step: of the protocol; both parties are in the same.
      arrays: uint64, () if it only listens.
      expected: shapes of what the other party sends.
    """

    phase: str
    step: str
    arrays: tuple[np.ndarray, ...]
    expected: tuple[tuple[int, ...], ...]


class Message(NamedTuple):
    """Bytes that were sent.

    Attributes:
      phase: "offline" (from the dealer), "setup" or "online".
      step: of the protocol.
      round: its number; 0 for the dealer's.
      sender, receiver: "client", "server" or "dealer".
      payload: the numbers, 8 bytes each, the lowest byte first. Shapes are public and are not sent.
    """

    phase: str
    step: str
    round: int
    sender: str
    receiver: str
    payload: bytes


Exchange: TypeAlias = Generator[Outgoing, Sequence[np.ndarray], Any]


class Channel:
    """The wire between the parties; it keeps every message.

    Attributes:
      messages: in the order in which they were sent.
      rounds: how many rounds there were.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.rounds = 0

    def send(self, sent: Outgoing, sender: str, receiver: str) -> bytes:
        """Serializes arrays and logs the message; no message is sent for no arrays.

        Args:
          sent: what is sent.
          sender, receiver: "client", "server" or "dealer".

        Returns:
          The message's payload.
        """
        payload = b"".join(np.asarray(array, _WIRE).tobytes() for array in sent.arrays)
        if payload:
            number = 0 if sender == DEALER else self.rounds
            self.messages.append(Message(sent.phase, sent.step, number, sender, receiver, payload))
        return payload


def read(payload: bytes, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Reads a message's arrays.

    Args:
      payload: of the message.
      shapes: of the arrays that it must hold.

    Returns:
      uint64 arrays.

    Raises:
      ValueError: a payload of another length.

    >>> [array.tolist() for array in read(bytes([1] + [0] * 7 + [2] + [0] * 7), [(1,), (1, 1)])]
    [[1], [[2]]]
    """
    sizes = [math.prod(shape) for shape in shapes]
    if len(payload) != WORD_BYTES * sum(sizes):
        raise ValueError(
            f"a message has {len(payload):,} bytes; expected {WORD_BYTES * sum(sizes):,}, for arrays {list(shapes)}."
        )
    words = np.frombuffer(payload, _WIRE).astype(np.uint64)
    parts = np.split(words, np.cumsum(sizes)[:-1]) if shapes else []
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def run_in_lockstep(client: Exchange, server: Exchange, channel: Channel) -> tuple[Any, Any]:
    """Runs both parties to their end.

    Args:
      client, server: the parties, as generators.
      channel: carries and logs their messages.

    Returns:
      What the client's and the server's generator return.

    Raises:
      ValueError: a message of another length than its receiver expects.
      RuntimeError: parties that are not in the same step of the protocol.
    """
    parties = (client, server)
    results: list[Any] = []
    incoming: list[Any] = [None, None]
    while True:
        sent: list[Outgoing] = []
        for party, arrays in zip(parties, incoming, strict=True):
            try:
                sent.append(party.send(arrays))
            except StopIteration as stop:
                results.append(stop.value)
        if len(results) == len(parties):
            return results[0], results[1]
        if results or sent[0][:2] != sent[1][:2]:
            raise RuntimeError(f"the parties are in different steps of the protocol: {[each.step for each in sent]}.")
        channel.rounds += 1
        payloads = [channel.send(sent[i], NAMES[i], NAMES[1 - i]) for i in range(2)]
        incoming = [read(payloads[1 - i], sent[i].expected) for i in range(2)]


def opened(phase: str, step: str, *masked: np.ndarray) -> Generator[Outgoing, Sequence[np.ndarray], list[np.ndarray]]:
    """Exchanges both parties' shares of numbers; each must be masked, because both learn it.

    Args:
      phase, step: of the protocol.
      *masked: this party's shares.

    Returns:
      (from the generator) the numbers that the other party's shares belong to: its shares, in the same order.
    """
    return list((yield Outgoing(phase, step, masked, tuple(array.shape for array in masked))))
