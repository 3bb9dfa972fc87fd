"""Networks in ONNX, run by ONNX Runtime: bit for bit on integers, and within one code a layer in the form QDQ."""

import subprocess
import sys

import drawn_graphs
import numpy as np
import pytest

from gecko_jax import export, integer
from gecko_jax.export.folders import random_codes
from gecko_jax.integer import nodes
from gecko_jax.integer.fixed_point import quantize_multiplier


def by_onnx_runtime(folder, x):
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("name", drawn_graphs.NETWORKS)
def test_onnx_runtime_computes_the_codes_of_the_network(name, tmp_path):
    graph = drawn_graphs.NETWORKS[name]()
    x = random_codes(graph, 1500, 7)
    expected = np.asarray(graph.run(x))
    assert len(np.unique(expected)) > 2 or name == "binary"
    np.testing.assert_array_equal(by_onnx_runtime(export.to_onnx(graph, tmp_path), x), expected)


def test_means_of_all_totals_are_exact(tmp_path):
    """Windows of 2, 3, 6 and 12 codes, where ties fall on halves that float32 may miss."""
    for window in (1, 2), (3, 1), (2, 3), (4, 3):
        shapes = ("input", (*window, 40)), ("mean", (1, 1, 40))
        tensors = tuple(nodes.IntegerTensor(name, shape, 0.1, 5) for name, shape in shapes)
        mean = nodes.AveragePool("mean", (0,), 1, window, window, ((0, 0), (0, 0)), False)
        graph = integer.IntegerGraph(tensors, (mean,), 0, 1)
        x = random_codes(graph, 200, 1)
        np.testing.assert_array_equal(by_onnx_runtime(export.to_onnx(graph, tmp_path), x), np.asarray(graph.run(x)))


def layer(bad=0):
    """A convolution, whose factors are those of its scales."""
    rng, scales = np.random.default_rng(3), np.float64(np.float32([0.003, 0.011, 0.02]))
    tensors = (
        nodes.IntegerTensor("input", (6, 5, 4), float(np.float32(0.02)), 11),
        nodes.IntegerTensor("conv", (6, 5, 3), float(np.float32(0.07)), -90, -90, 127),
    )
    pairs = [quantize_multiplier(tensors[0].scale * scale / tensors[1].scale) for scale in scales]
    multipliers, shifts = (np.array(each, np.int32) for each in zip(*pairs, strict=True))
    weights = rng.integers(-127, 128, (3, 3, 4, 3)).astype(np.int8)
    bias = rng.integers(-3000, 3000, 3).astype(np.int32)
    stage = nodes.Rescale(multipliers + np.int32(bad), shifts, -90, 127)
    geometry = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1, "pad_code": 11}
    conv = nodes.Conv("conv", (0,), 1, weights, scales, 8, bias, stage, **geometry)
    return integer.IntegerGraph(tensors, (conv,), 0, 1)


def test_a_layer_in_the_form_qdq_is_at_most_one_code_off(tmp_path):
    graph = layer()
    x = random_codes(graph, 1000, 1)
    gap = np.abs(by_onnx_runtime(export.to_onnx(graph, tmp_path, qdq=True), x).astype(int) - np.asarray(graph.run(x)))
    print(f"{np.mean(gap > 0):.3%} of {gap.size} codes differ")
    assert gap.max() <= 1 and np.mean(gap > 0) < 0.01  # two roundings meet a tie about once in 2^8 sums
    with pytest.raises(ValueError, match="layer 'conv' multiplies sums of output 0"):
        export.to_onnx(layer(bad=1), tmp_path, qdq=True)


def test_the_folder_checks_itself_and_notices_a_changed_vector(tmp_path):
    folder = export.to_onnx(layer(), tmp_path / "out")
    done = subprocess.run([sys.executable, folder / "check.py"], capture_output=True, text=True)
    assert done.returncode == 0 and "0 of 1440 outputs differ (0.00%)" in done.stdout, done.stdout + done.stderr
    outputs = np.load(folder / "outputs.npy")
    outputs[0, 0, 0, 0] ^= 1
    np.save(folder / "outputs.npy", outputs)
    done = subprocess.run([sys.executable, folder / "check.py"], capture_output=True, text=True)
    assert done.returncode == 1 and "1 of 1440 outputs differ (0.07%), by at most 1" in done.stdout
