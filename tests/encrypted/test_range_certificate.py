"""Ranges against headroom: measured as by hand, bounds that nothing exceeds, every escape flagged."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from extracted_circuits import Function, draws, variables_of

from gecko_jax import models
from gecko_jax.encrypted import (
    certify,
    compile_circuit,
    evaluate,
    extract,
    interval_bounds,
    largest_values,
    shifted,
    value_names,
)


def network(layers, width=6, scale=1.0):
    class Deep(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(layers):
                x = nn.Dense(width)(x)
                x = 0.3 * x * x + 0.5 * x
            return nn.Dense(2)(x)

    model, x = models.from_linen(Deep()), draws((16, 4))
    variables = jax.tree.map(lambda leaf: scale * leaf, variables_of(model, x))
    return model, variables, x, extract(model, variables, x)


def test_values_are_those_of_the_network():
    model, variables, x, circuit = network(1)
    kernel, bias = (np.asarray(variables["params"]["Dense_0"][name], np.float64) for name in ("kernel", "bias"))
    z = x.astype(np.float64) @ kernel + bias[None]
    s, t = np.sqrt(0.3), 0.5 / (2 * np.sqrt(0.3))
    expected = [np.abs(x).max(), np.abs(s * z + t).max(), ((s * z + t) ** 2).max(), np.abs(evaluate(circuit, x)).max()]
    np.testing.assert_allclose(largest_values(circuit, x), expected, rtol=1e-6)
    assert [name.rpartition(", ")[2] for name in value_names(circuit)][1] == "before the square"


def test_many_rows_are_as_good_as_one():
    *_, circuit = network(2)
    x = draws((700, 4))
    expected = np.max([largest_values(circuit, row[None]) for row in x], axis=0)
    np.testing.assert_allclose(largest_values(circuit, x), expected, rtol=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_no_input_in_the_box_exceeds_the_bounds(layers):
    *_, circuit = network(layers)
    random = np.random.default_rng(0)
    low = random.normal(size=4) - 1
    high = low + random.uniform(0, 3, size=4)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(4, -1).T
    x = np.concatenate([random.uniform(low, high, size=(3000, 4)), corners])
    bounds = interval_bounds(circuit, low, high)
    assert np.all(largest_values(circuit, x) <= bounds)
    np.testing.assert_allclose(bounds[:3], largest_values(circuit, corners)[:3], rtol=1e-6)  # one layer: exact


def test_bounds_hold_for_products_of_different_factors():
    x = draws((64, 4))
    circuit = extract(models.from_linen(Function(lambda x: (x + 1) * x[:, ::-1] * 2 + x)), {}, x)
    bounds = interval_bounds(circuit, x.min(0), x.max(0))
    assert np.all(largest_values(circuit, x) <= bounds) and bounds[-1] < 100


@pytest.mark.parametrize("layers", [2, 12])
@pytest.mark.parametrize("scale", [0.3, 0.8, 1.0])
def test_every_escape_on_shifted_data_is_flagged(layers, scale):
    *_, x, circuit = network(layers, scale=scale)
    headroom = 64.0
    data = {"train": x, **shifted(x)}
    certificate = certify(circuit, data, headroom)
    for name, rows in data.items():
        with np.errstate(over="ignore", invalid="ignore"):
            escapes = not np.all(largest_values(circuit, rows) < headroom)
        assert any(flag.startswith(f"{name}:") for flag in certificate.flags) == escapes
        assert (certificate.margins[name] <= 1) == escapes


def test_escapes_occur_on_shifted_data_alone_and_clipping_stops_some():
    *_, x, circuit = network(3)
    worst = largest_values(circuit, x)
    certificate = certify(circuit, {"train": x, "times 3": 3 * x}, 1.5 * worst)
    (flag,) = certificate.flags
    assert flag.startswith("times 3: input reaches") and certificate.margins["train"] == pytest.approx(1.5)
    assert certificate.moved["train"] == 0 and certificate.moved["times 3"] == np.mean(
        (3 * x > x.max()) | (3 * x < x.min())
    )
    assert np.all(certificate.clipped["times 3"][:1] <= worst[:1])
    assert "FLAG times 3" in certificate.table() and "margin" in certificate.table()


def test_the_sound_share_is_the_largest():
    *_, x, circuit = network(2)
    headroom = interval_bounds(circuit, -1, 1) * 1.000001
    certificate = certify(circuit, {"train": x}, headroom, box=(-2, 2))
    assert certificate.sound_share == pytest.approx(0.5, abs=1e-4) and not certificate.sound
    assert certify(circuit, {"train": x}, headroom, box=(-0.9, 0.9)).sound
    assert certify(circuit, {"train": x}, 1e-9).sound_share == 0


def test_a_network_that_overflows_float64_has_an_infinite_range():
    x = draws((4, 3))
    circuit = extract(models.from_linen(Function(lambda x: (x * x + (x * x)[:, ::-1]) ** 2)), {}, x)
    assert np.isinf(largest_values(circuit, 1e100 * x.astype(np.float64))[-1])
    assert np.isinf(interval_bounds(circuit, -1e100, 1e100)[-1])


def test_check_raises_if_clipping_does_not_help():
    *_, x, circuit = network(2)
    certify(circuit, {"train": x}, 1e6).check()
    with pytest.raises(
        ValueError, match="leave their ciphertexts on train. train: .* still leave it. Train with a range"
    ):
        certify(circuit, {"train": x}, 0.5).check()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": {}}, "data is empty"),
        ({"data": np.ones((2, 4))}, "data is a ndarray; expected"),
        ({"box": (-np.inf, 1)}, "low holds 4 entries that are NaN or infinite"),
        ({"headroom": 0}, "headroom=0 must be above 0"),
        ({"headroom": [1.0, 2.0]}, r"headroom has shape \(2,\)"),
        ({"box": (1, 0)}, "low=1 must not be above high=0"),
        ({"box": (np.zeros(3), 1)}, r"low has shape \(3,\)"),
        ({"data": {"train": np.full((2, 4), np.inf)}}, r"data\['train'\] holds 8 entries"),
        ({"data": {"train": np.ones((2, 5))}}, r"data\['train'\] has shape \(2, 5\); expected \(any, 4\)"),
    ],
)
def test_arguments_are_checked(change, message):
    *_, x, circuit = network(1)
    with pytest.raises(ValueError, match=message):
        certify(**({"circuit": circuit, "data": {"train": x}, "headroom": 10.0} | change))


def test_shifts_are_what_they_say():
    x = np.array([[0.0, 1.0], [0.5, 0.25]], np.float32)
    changed = shifted(x)
    np.testing.assert_array_equal(changed["inverted"], 1 - x)
    np.testing.assert_allclose(changed["offset"] - x, x.std() / 2, rtol=1e-6)
    assert all(each.dtype == np.float32 and each.shape == x.shape for each in changed.values())
    assert jnp.all(changed["times 1.5"] == 1.5 * x)


def test_the_headroom_is_that_of_a_compiled_program():
    *_, x, circuit = network(2)
    program = compile_circuit(circuit, x)
    headroom = [each.bound for each in program.ranges]
    far = 1e4 * x
    certificate = certify(circuit, {"calibration": x, "far": far}, headroom)
    np.testing.assert_allclose(
        certificate.measured["calibration"], [each.largest for each in program.ranges], rtol=1e-9
    )
    assert certificate.margins["calibration"] >= 4 and certificate.margins["far"] < 1
    (flag,) = certificate.flags
    assert flag.startswith("far: ") and flag.endswith("clipped to the box, the data stay within it.")
    certificate.check()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool])
def test_integers_are_not_shifted_because_they_would_wrap_around(dtype):
    with pytest.raises(ValueError, match="would wrap around; expected floats"):
        shifted(np.array([[0, 200]]).astype(dtype))
