"""Real ciphertexts: outputs equal the circuit's in float64, with the error that the simulation predicts."""

import numpy as np
import pytest
from random_circuits import canceling_circuit, dense_circuit, encrypted_run, polynomial_circuit, residual_circuit

from gecko_jax.encrypted import compile_circuit, evaluate

CASES = {  # circuit, packing
    "interleaved": (dense_circuit((20, 12, 5), 1), "interleaved"),
    "tiled": (dense_circuit((20, 12, 5), 1), "tiled"),
    "sample": (dense_circuit((6, 5, 3), 2), "sample"),
    "residual": (residual_circuit(), "interleaved"),
    "residual, tiled": (residual_circuit(), 4),
    "several ciphertexts": (dense_circuit((3000, 4), 3), None),
    "powers": (polynomial_circuit(), "interleaved"),
    "dead": (dense_circuit((4, 3, 2))._replace(output=dense_circuit((3, 2)).output), "sample"),
}
MAX_UNITS = 2.0**17  # of the scale's last place, in an output as large as the largest: 1e-7 at 2^40, 2e-4 at 2^29


def inputs(circuit, count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *circuit.input_shape))


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_the_circuits(name):
    circuit, packing = CASES[name]
    if name == "dead":  # an output and a hidden feature that read nothing
        dead = circuit.output.terms[0].copy()
        dead.data[: dead.indptr[1]] = 0
        circuit = circuit._replace(output=circuit.output._replace(terms={1: dead}))
    x = inputs(circuit, 200)
    program = compile_circuit(circuit, x, packing=packing)
    x = x[: program.interface.samples]
    expected = evaluate(circuit, x)
    outputs, simulated = encrypted_run(program, x), program.simulate(x)
    error, predicted = np.abs(outputs - expected).max(), np.abs(simulated - expected).max()
    assert error < MAX_UNITS / program.interface.parameters.scale * np.abs(expected).max()
    assert 1 / 3 < error / predicted < 3
    np.testing.assert_array_equal(outputs.argmax(1), expected.argmax(1))
    np.testing.assert_array_equal(outputs.argmax(1), simulated.argmax(1))


@pytest.mark.parametrize("packing", ["interleaved", "sample"])
def test_a_bias_may_be_larger_than_its_modulus_holds(packing):
    """It cancels against other terms: only their sum has to fit."""
    circuit, largest_term = canceling_circuit(), 100
    x = inputs(circuit, 50)
    program = compile_circuit(circuit, x, packing=packing)
    expected, outputs = evaluate(circuit, x), encrypted_run(program, x)
    np.testing.assert_allclose(expected, x**2, atol=1e-12)
    error, predicted = np.abs(outputs - expected).max(), np.abs(program.simulate(x) - expected).max()
    assert error < MAX_UNITS / program.interface.parameters.scale * largest_term and 1 / 3 < error / predicted < 3


def test_fewer_examples_than_slots():
    circuit = dense_circuit((20, 12, 5), 1)
    x = inputs(circuit, 100)
    program = compile_circuit(circuit, x, packing="interleaved")
    np.testing.assert_allclose(encrypted_run(program, x[:1]), evaluate(circuit, x[:1]), atol=1e-5)
