"""Rounds and bytes of the protocol: predicted from the layout by a formula, counted from the messages, and timed.

With b examples, n_k the widths of the nodes that a step's map reads, and m its outputs, one party sends, in numbers of
8 bytes:

    setup        the sum of n_k m over all maps                 1 round, secret weights only
    input        b n_0, the client alone                        1 round
    map          b times the sum of n_k                         1 round, secret weights only
    square       b m            product   b m                   1 round       (m holds both factors of a product)
    comparison   k b m (1 + 5 * 3 + 2 + 1) + 2 b m              9 rounds        (a clamp: k = 2, a ReLU: k = 1)
    output       b m, the server alone                          1 round

The dealer sends each party, before the inputs are known, n_k m and b n_k a secret matrix, b m a map, 2 b m a square,
3 b m / 2 a product, and k b m (2 + 5 * 5 + 3 + 2) + 3 b m a comparison.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gecko_jax.encrypted.two_party.fixed_point import WORD_BYTES
from gecko_jax.encrypted.two_party.layout import Layout, Step
from gecko_jax.encrypted.two_party.messages import DEALER, NAMES, Message
from gecko_jax.text_tables import aligned

_COMPARISON_ROUNDS = 9


class StepTraffic(NamedTuple):
    """What one step of the protocol sends.

    Attributes:
      phase: "offline", "setup" or "online".
      step: its name.
      rounds: exchanges, each of which waits for the one before; 0 offline.
      client_bytes, server_bytes, dealer_bytes: sent by each.
    """

    phase: str
    step: str
    rounds: int
    client_bytes: int
    server_bytes: int
    dealer_bytes: int

    @property
    def bytes(self) -> int:
        """Bytes of all senders."""
        return self.client_bytes + self.server_bytes + self.dealer_bytes


class Network(NamedTuple):
    """A network between the parties, both directions at full speed at once.

    Attributes:
      name: for tables.
      latency_seconds: from a message's sending to its arrival.
      bytes_per_second: in one direction.
    """

    name: str
    latency_seconds: float
    bytes_per_second: float


LAN = Network("LAN", 0.17e-3, 1e9)  # both as measured in SecureML, section 6
WAN = Network("WAN", 72e-3, 9e6)


class Traffic(NamedTuple):
    """Rounds and bytes of one run.

    Attributes:
      steps: in order.
    """

    steps: tuple[StepTraffic, ...]

    def rounds(self, *phases: str) -> int:
        """Counts rounds, of all phases or of some.

        Args:
          *phases: "setup", "online".
        """
        return sum(step.rounds for step in self.steps if not phases or step.phase in phases)

    def bytes(self, *phases: str) -> int:
        """Counts the bytes of all senders, of all phases or of some.

        Args:
          *phases: "offline", "setup", "online".
        """
        return sum(step.bytes for step in self.steps if not phases or step.phase in phases)

    def seconds(self, network: Network, *phases: str) -> float:
        """Models the time on a network: a latency each round, and the fuller direction's bytes; without computing.

        Args:
          network: such as LAN or WAN.
          *phases: those that count; "setup" and "online" if none is given.
        """
        counted = [step for step in self.steps if step.phase in (phases or ("setup", "online"))]
        transfer = sum(max(step.client_bytes, step.server_bytes, step.dealer_bytes) for step in counted)
        return sum(step.rounds for step in counted) * network.latency_seconds + transfer / network.bytes_per_second

    def __str__(self) -> str:
        """Returns the table of all steps."""
        heading = ("phase", "step", "rounds", "client sends", "server sends", "dealer sends")
        rows = [(step.phase, step.step, *(f"{number:,}" for number in step[2:])) for step in self.steps]
        sums = [sum(column) for column in zip(*(step[2:] for step in self.steps), strict=True)]
        total = ("all", "", *(f"{number:,}" for number in sums))
        return "\n".join(aligned([heading, *rows, total], left=2))


def predict_traffic(layout: Layout, batch: int) -> Traffic:
    """Predicts the rounds and bytes of a run, exactly; see the module's head for the formula.

    Args:
      layout: of the circuit, from `lay_out`.
      batch: examples of the run.

    Returns:
      Its traffic, step by step.

    >>> layout = Layout(784, (Step("output", "output", (0,), (784,), 10),), (13, 13), False)
    >>> traffic = predict_traffic(layout, 64)
    >>> traffic.rounds(), traffic.bytes("online")
    (4, 1209344)
    """
    dealer, online, setup = 0, [], 0
    for step in layout.steps:
        size, read = batch * step.outputs, batch * sum(step.widths)
        dealer += size
        if not layout.public_weights and step.widths:
            setup += sum(step.widths) * step.outputs
            dealer += sum(step.widths) * step.outputs + read
            online.append(StepTraffic("online", f"{step.name}: map", 1, read, read, 0))
        sent, dealt, rounds = _elementwise(step, size)
        dealer += dealt
        if rounds:
            online.append(StepTraffic("online", f"{step.name}: {step.kind}", rounds, sent, sent, 0))
    offline = [StepTraffic("offline", DEALER, 0, 0, 0, 2 * dealer)]
    weights = [StepTraffic("setup", "weights", 1, setup, setup, 0)] if setup else []
    first = StepTraffic("online", "input", 1, batch * layout.inputs, 0, 0)
    last = StepTraffic("online", "output", 1, 0, batch * layout.steps[-1].outputs, 0)
    steps = [*offline, *weights, first, *online, last]
    return Traffic(tuple(StepTraffic(*step[:3], *(WORD_BYTES * number for number in step[3:])) for step in steps))


def _elementwise(step: Step, size: int) -> tuple[int, int, int]:
    """Numbers that a party sends and is dealt, and rounds."""
    if step.comparisons:
        return size * (19 * step.comparisons + 2), size * (32 * step.comparisons + 3), _COMPARISON_ROUNDS
    return {"square": (size, 2 * size, 1), "product": (size, 3 * size // 2, 1), "output": (0, 0, 0)}[step.kind]


def count_traffic(messages: Iterable[Message]) -> Traffic:
    """Counts the rounds and bytes of messages that were made.

    Args:
      messages: in the order in which they were sent.

    Returns:
      The traffic, step by step.

    >>> count_traffic([Message("online", "input", 1, "client", "server", bytes(16))]).steps
    (StepTraffic(phase='online', step='input', rounds=1, client_bytes=16, server_bytes=0, dealer_bytes=0),)
    """
    senders = (*NAMES, DEALER)
    steps: dict[tuple[str, str], list[int]] = {}
    rounds: dict[tuple[str, str], set[int]] = {}
    for message in messages:
        key = message.phase, message.step
        steps.setdefault(key, [0, 0, 0])[senders.index(message.sender)] += len(message.payload)
        rounds.setdefault(key, set()).update([message.round] if message.round else [])
    return Traffic(tuple(StepTraffic(*key, len(rounds[key]), *sent) for key, sent in steps.items()))
