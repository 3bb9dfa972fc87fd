"""Rounds and bytes: the formula, the messages that were made, and a count by hand."""

import numpy as np
import pytest
from drawn_circuits import clamped, inputs, mlp, residual, run

from gecko_jax.encrypted.two_party import LAN, Network, Relu, StepTraffic, Traffic, lay_out, predict_traffic
from gecko_jax.encrypted.two_party.traffic import count_traffic

CIRCUITS = {
    "mlp": mlp(11, 7, 3),
    "residual": residual(),
    "clamp": clamped(mlp(11, 7, 3)),
    "relu": clamped(mlp(11, 7, 3), Relu),
}


@pytest.mark.parametrize("public_weights", [False, True])
@pytest.mark.parametrize("name", CIRCUITS)
def test_the_formula_predicts_each_message(name, public_weights):
    circuit = CIRCUITS[name]
    _, messages = run(circuit, inputs(circuit, 5), 0, public_weights)
    predicted = predict_traffic(lay_out(circuit, (13, 13), public_weights), 5)
    assert count_traffic(messages) == predicted
    assert predicted.bytes() == sum(len(message.payload) for message in messages)
    assert predicted.rounds() == len({message.round for message in messages} - {0})
    assert max(message.round for message in messages) == predicted.rounds()


def test_784_128_10_by_hand():
    traffic = predict_traffic(lay_out(mlp(784, 128, 10), (13, 13), False), 64)
    weights, hidden = 784 * 128 + 128 * 10, 64 * 128
    assert traffic.bytes("setup") == 8 * 2 * weights
    assert traffic.bytes("online") == 8 * (64 * 784 + 2 * (64 * 784 + hidden + hidden) + 64 * 10)
    assert traffic.bytes("offline") == 8 * 2 * (weights + 64 * 784 + hidden + 2 * hidden + hidden + 64 * 10)
    assert (traffic.rounds("setup"), traffic.rounds("online")) == (1, 5)


def test_a_clamp_by_hand():
    circuit = clamped(mlp(11, 7, 3))
    public = {step.step: step for step in predict_traffic(lay_out(circuit, (13, 13), True), 5).steps}
    comparisons = 2 * 5 * 7
    # masked number, 6 levels (one factor and two, at last one, others), the sign's word; then one product.
    sent = 8 * (comparisons * (1 + 5 * 3 + 2 + 1) + 2 * 35)
    assert public["1 Dense_0: clamp"] == StepTraffic("online", "1 Dense_0: clamp", 9, sent, sent, 0)


def test_time_is_latency_and_the_fuller_direction():
    traffic = Traffic((StepTraffic("setup", "weights", 1, 500, 500, 0), StepTraffic("online", "input", 2, 1000, 200, 0),
                       StepTraffic("offline", "dealer", 0, 0, 0, 10**6)))  # fmt: skip
    network = Network("", 0.5, 100.0)
    assert traffic.seconds(network) == pytest.approx(3 * 0.5 + 15)
    assert traffic.seconds(network, "online") == pytest.approx(1 + 10)
    assert traffic.seconds(LAN) == pytest.approx(3 * 0.17e-3 + 1500 / 1e9)


def test_the_table_adds_up():
    lines = str(predict_traffic(lay_out(CIRCUITS["residual"], (13, 13), False), 2)).splitlines()
    numbers = [[int(cell.replace(",", "")) for cell in line.split()[-4:]] for line in lines[2:]]
    assert np.sum(numbers[:-1], axis=0).tolist() == numbers[-1]
