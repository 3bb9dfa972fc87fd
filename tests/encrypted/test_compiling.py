"""What compile chooses, predicts and refuses."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from random_circuits import dense_circuit, secrets
from scipy.sparse import csr_array

from gecko_jax import encrypted, models
from gecko_jax.encrypted import compile_circuit, evaluate
from gecko_jax.encrypted.seal_bytes import to_bytes


def inputs(circuit, count=100, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *circuit.input_shape))


CIRCUIT = dense_circuit((20, 12, 5), 1)
X = inputs(CIRCUIT)


class Net(nn.Module):
    """Two convolutions, or a ReLU instead of the second square."""

    relu: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(2, (3, 3), strides=(2, 2), padding="VALID")(x) ** 2
        x = nn.Dense(6)(x.reshape(len(x), -1))
        return nn.Dense(3)(nn.relu(x) if self.relu else x**2)


@pytest.mark.parametrize("goal, width", [("latency", "most"), ("throughput", 1)])
def test_a_flax_model(goal, width):
    model, x = models.from_linen(Net()), np.random.default_rng(0).random((40, 8, 8, 1))
    variables = model.init(jax.random.key(0), x[:1].astype(np.float32))
    program = encrypted.compile(model, variables, x, goal=goal)
    assert (program.interface.input_features.shape[1] == 1) is (width == 1)
    outputs, expected = program.simulate(x), np.asarray(model.apply(variables, x)[0])
    np.testing.assert_allclose(outputs, expected, atol=1e-4 * np.abs(expected).max())


def test_relu_is_refused():
    model, x = models.from_linen(Net(relu=True)), np.random.default_rng(0).random((4, 8, 8, 1))
    variables = model.init(jax.random.key(0), x[:1].astype(np.float32))
    with pytest.raises(ValueError, match="ReLU"):
        encrypted.compile(model, variables, x)


def test_too_many_layers_are_refused():
    circuit = dense_circuit((4,) * 30)
    with pytest.raises(ValueError, match="layer 16 needs more than 32 levels, all that N=32768 .* needs 57"):
        compile_circuit(circuit, inputs(circuit))


def test_deeper_networks_get_larger_rings():
    degrees = {}
    for layers in (1, 2, 3, 5):
        circuit = dense_circuit((4,) * layers + (3,))
        degrees[layers] = compile_circuit(circuit, inputs(circuit, 8)).interface.parameters.degree
    assert degrees == {1: 4096, 2: 8192, 3: 8192, 5: 16384}


def test_values_that_overflow_are_refused():
    huge = CIRCUIT._replace(output=CIRCUIT.output._replace(terms={1: CIRCUIT.output.terms[1] * 1e308}))
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="output overflows float64"):
        compile_circuit(huge, 1e3 * X)


def test_channels_of_unlike_ranges_are_refused():
    # The second feature is 1e-9 of the first, and the output needs it: no scale of this depth holds both.
    first = encrypted.Affine({0: csr_array(np.diag([1.0, 1e-9]))}, np.zeros(2))
    last = encrypted.Affine({1: csr_array(np.diag([1.0, 1e18]))}, np.zeros(2))
    circuit = encrypted.Circuit((2,), (2,), (encrypted.Product(first, None),), last, ("input", "layer"))
    with pytest.raises(ValueError, match="simulated error"):
        compile_circuit(circuit, inputs(circuit), degree=8192)


def test_values_that_leave_the_range_are_refused():
    # The box holds, but the network doubles its outputs: as if it had been compiled on too tame data.
    program = compile_circuit(CIRCUIT, X)
    outputs = evaluate(CIRCUIT, X)
    high = program.interface.box_high * 20
    with pytest.raises((OverflowError, ValueError), match="wraps around|absolute value"):
        program._replace(interface=program.interface._replace(box_high=high, box_low=-high)).simulate(20 * X)
    assert program.interface.output_bound > 4 * np.abs(outputs).max()


def test_inputs_are_clipped_to_the_box():
    program = compile_circuit(CIRCUIT, X)
    np.testing.assert_allclose(
        program.simulate(50 * X), evaluate(CIRCUIT, np.clip(50 * X, X.min(), X.max())), atol=1e-4
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"goal": "speed"}, "goal='speed'"),
        ({"security": 80}, "security=80"),
        ({"packing": "diagonal"}, "packing='diagonal'"),
        ({"packing": 12}, "packing=12"),
        ({"packing": 8192}, "packing=8192"),
        ({"tolerance": 0}, "tolerance=0"),
        ({"degree": 1000}, "degree=1000"),
        ({"degree": 4096}, "layer 0 needs more than 1 levels.*needs 3, .* or a larger degree="),
        ({"box": (1, 0)}, "low=1 must not be above high=0"),
        ({"tolerance": 1e-30}, "above tolerance=1e-30"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        compile_circuit(CIRCUIT, X, **arguments)


def test_data_that_would_clip_every_input_to_one_number_are_refused():
    with pytest.raises(ValueError, match=r"calibration_x holds 1 alone, .* every input would become the same"):
        compile_circuit(CIRCUIT, np.ones_like(X))
    program = compile_circuit(CIRCUIT, np.ones_like(X), box=(0, 1))
    assert np.array_equal([program.interface.box_low, program.interface.box_high], [[0] * 20, [1] * 20])


@pytest.mark.parametrize("box", [(-np.inf, 1), (0, np.inf), (np.nan, 1)])
def test_a_box_without_an_end_clips_nothing_and_is_refused(box):
    with pytest.raises(ValueError, match="(low|high) holds 20 entries that are NaN or infinite"):
        compile_circuit(CIRCUIT, X, box=box)


def test_a_box_of_ones_own():
    program = compile_circuit(CIRCUIT, X, box=(-0.25, 0.5))
    np.testing.assert_allclose(program.simulate(X), evaluate(CIRCUIT, np.clip(X, -0.25, 0.5)), atol=1e-4)


def test_a_power_of_four_takes_three_levels():
    same = [encrypted.Affine({node: csr_array(np.eye(3))}, np.zeros(3)) for node in range(4)]
    products = (
        encrypted.Product(same[0], None),
        encrypted.Product(same[1], None),
        encrypted.Product(same[2], same[0]),  # x^5, from nodes of two levels
    )
    circuit = encrypted.Circuit((3,), (3,), products, same[3], ("input", "square", "fourth", "fifth"))
    x = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    program = compile_circuit(circuit, x)
    np.testing.assert_allclose(program.simulate(x), x**5, atol=1e-3)
    assert program.interface.parameters.levels == 3 and program.interface.output_level == 0


def test_inputs_of_another_kind_are_refused():
    program = compile_circuit(CIRCUIT, X, packing="interleaved")
    for x, message in ((X[:, :3], "x has shape"), (np.full((1, 20), np.nan), "NaN"), (X[:0], "empty")):
        with pytest.raises(ValueError, match=message):
            program.simulate(x)


def test_a_digest_sees_every_weight():
    program = compile_circuit(CIRCUIT, X)
    step = program.steps[0]
    changed = step.weights.copy()
    changed[0, 0] += 1e-12
    other = program._replace(steps=(step._replace(weights=changed), *program.steps[1:]))
    assert program.digest == compile_circuit(CIRCUIT, X).digest != other.digest


def test_sizes_are_those_of_the_keys_and_ciphertexts():
    program = compile_circuit(CIRCUIT, X, packing="interleaved")
    interface, report = program.interface, program.report()
    client = secrets(interface.parameters)
    keys = [client.relin_keys(serializable=True), client.galois_keys(interface.rotations, serializable=True)]
    upload = client.encrypt(np.zeros(interface.parameters.slots), serializable=True)
    assert sum(len(to_bytes(each)) for each in keys) / 1e6 == pytest.approx(report.keys_megabytes, rel=0.1)
    assert len(to_bytes(upload)) / 1e6 == pytest.approx(report.upload_megabytes, rel=0.1)
    assert report.rotation_keys == len(interface.rotations) and "rotation keys" in str(report)
