"""What one party sees is uniform, whatever the other party's secret is, and no mask serves twice."""

import numpy as np
import pytest
from drawn_circuits import clamped, inputs, mlp, residual, run, words
from scipy.stats import chi2_contingency, chisquare

from gecko_jax.encrypted.circuit import Affine
from gecko_jax.encrypted.two_party import Relu

PARTIES = ("client", "server")
CIRCUITS = {
    "mlp": mlp(40, 20, 3),
    "residual": residual(),
    "clamp": clamped(mlp(20, 8, 3)),
    "relu": clamped(mlp(20, 8, 3), Relu),
}
LEVEL = 1e-4  # of each test; all seeds are fixed


def counts(values):
    """How often each byte value occurs."""
    return np.bincount(np.ascontiguousarray(values).view(np.uint8).reshape(-1), minlength=256)


def wire(messages, receiver):
    """What came from the other party; not the dealer's bits of 0 and 1, nor the output, which the client may know."""
    return words([m for m in messages if m.sender != "dealer" and m.step != "output"], receiver)


@pytest.mark.parametrize("public_weights", [False, True])
@pytest.mark.parametrize("receiver", PARTIES)
@pytest.mark.parametrize("name", CIRCUITS)
def test_a_partys_view_is_uniform(name, receiver, public_weights):
    circuit = CIRCUITS[name]
    views = [wire(run(circuit, inputs(circuit, 4), seed, public_weights)[1], receiver) for seed in range(5)]
    assert len(views[0]) and chisquare(counts(np.concatenate(views))).pvalue > LEVEL


@pytest.mark.parametrize("weights", [False, True])
def test_the_servers_view_is_the_same_for_every_input(weights):
    circuit = mlp(6, 4, 2)
    zeros, ones = np.zeros((2, 6)), np.ones((2, 6))
    views = [[wire(run(circuit, x, seed + shift, weights)[1], "server") for seed in range(150)]
             for x, shift in ((zeros, 0), (ones, 1000))]  # fmt: skip
    for place in range(len(views[0][0])):  # each number that the server receives, over the draws
        both = [counts(np.array([view[place] for view in of_x])).reshape(16, 16).sum(1) for of_x in views]
        assert chi2_contingency(both).pvalue > LEVEL / len(views[0][0])


def test_the_clients_view_is_the_same_for_every_weight():
    circuit = mlp(6, 4, 2)
    [product] = circuit.products
    silent = Affine({0: product.left.terms[0] * 1e-9}, 0 * product.left.bias)
    other = circuit._replace(products=(product._replace(left=silent),))
    x = inputs(circuit, 2)
    views = [[wire(run(each, x, seed + shift)[1], "client") for seed in range(150)]
             for each, shift in ((circuit, 0), (other, 1000))]  # fmt: skip
    for place in range(len(views[0][0])):
        both = [counts(np.array([view[place] for view in of_each])).reshape(16, 16).sum(1) for of_each in views]
        assert chi2_contingency(both).pvalue > LEVEL / len(views[0][0])


def test_an_input_is_masked_by_exactly_one_pad():
    """With equal masks, messages of two inputs differ by the inputs alone: the mask is added once and to all."""
    circuit = mlp(6, 4, 2)
    x, other = inputs(circuit, 2, seed=1), inputs(circuit, 2, seed=2)
    first, second = (run(circuit, each, 7)[1] for each in (x, other))
    step = "1 Dense_0: map"
    [one], [two] = ([m for m in run_ if m.step == step and m.sender == "client"] for run_ in (first, second))
    difference = np.frombuffer(two.payload, "<u8") - np.frombuffer(one.payload, "<u8")
    expected = np.rint(other * 2**13).astype(np.int64) - np.rint(x * 2**13).astype(np.int64)
    assert difference.view(np.int64).tolist() == expected.reshape(-1).tolist()
    inputs_sent = [[m.payload for m in run_ if m.step == "input"] for run_ in (first, second)]
    assert inputs_sent[0] == inputs_sent[1]  # the server's share is a draw, not a function of x


def test_no_mask_serves_twice():
    # 10^5 words of 64 bits: two equal ones have a chance of 3e-10.
    circuit = mlp(40, 20, 3)
    seen = np.concatenate(
        [words(run(circuit, inputs(circuit, 4), None)[1], party) for party in PARTIES for _ in range(5)]
    )
    assert len(np.unique(seen)) == len(seen) > 10_000


@pytest.mark.parametrize("name", CIRCUITS)
def test_equal_numbers_are_opened_under_different_masks(name):
    """All values of a circuit without weights are equal, so that equal openings would be equal masks."""

    def silent(part):
        return part and part._replace(terms={node: 0 * each for node, each in part.terms.items()}, bias=0 * part.bias)

    circuit = CIRCUITS[name]
    circuit = circuit._replace(
        products=tuple(type(each)(*map(silent, each)) for each in circuit.products), output=silent(circuit.output)
    )
    _, messages = run(circuit, np.zeros((4, *circuit.input_shape)), 0)
    sent = {}
    for message in messages:
        if message.step not in ("dealer", "input", "output"):
            sent.setdefault(message.round, []).append(np.frombuffer(message.payload, "<u8"))
    assert len(sent) >= 4
    for client, server in sent.values():
        for opened in (client + server, client ^ server):
            assert len(np.unique(opened)) == len(opened)


def test_masks_come_from_the_operating_system_unless_a_seed_is_given():
    circuit = mlp(6, 4, 2)
    x = inputs(circuit)
    runs = {seed: [words(run(circuit, x, seed)[1], "server") for _ in range(2)] for seed in (None, 5)}
    assert (runs[5][0] == runs[5][1]).all() and not (runs[None][0] == runs[None][1]).any()
