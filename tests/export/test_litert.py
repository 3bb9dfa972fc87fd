"""Networks as .tflite files compute the codes of graph.run, bit for bit: by LiteRT's reference kernels and by TFLM."""

import dataclasses
import re
import subprocess
import sys
import time

import flax.linen as nn
import jax
import numpy as np
import pytest

from gecko_jax import export, integer, models, quantizers
from gecko_jax.digests import sha256
from gecko_jax.export.folders import random_codes
from gecko_jax.export.litert.encoding import encode
from gecko_jax.export.litert.lowering import lower
from gecko_jax.export.litert.memory import with_memory
from gecko_jax.integer import nodes
from gecko_jax.integer.fixed_point import quantize_multiplier
from gecko_jax.programs import Lifetime


class Images(nn.Module):
    """A user's own module: borders that LiteRT has and has not, groups, dilation, pools, a residual sum."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3), strides=(2, 1), name="stem")(x))
        y = nn.BatchNorm(use_running_average=True)(nn.Conv(8, (3, 2), feature_group_count=8)(x))
        x = nn.relu6(x + nn.Conv(8, (3, 3), kernel_dilation=(2, 1), feature_group_count=2)(nn.relu(y)))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        x = nn.avg_pool(x, (2, 3), (1, 2), "SAME", count_include_pad=False)
        x = nn.Conv(6, (2, 2), padding=((2, 0), (1, 1)), name="askew")(x)
        x = nn.avg_pool(x, (2, 2), (1, 1), ((1, 0), (0, 1)), count_include_pad=True)
        return nn.Dense(5, name="head")(nn.relu(nn.Dense(7)(x.reshape(len(x), -1))))


class Vectors(nn.Module):
    """Dense layers, the last one with a single output."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.relu(nn.Dense(9)(x)) + nn.Dense(9)(x))


def frozen(module, shape, rules=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, *shape)).astype(np.float32)
    model = models.from_linen(module)
    variables = jax.jit(model.init)(jax.random.key(0), x[:1])
    variables = jax.tree.map(lambda leaf: leaf + rng.normal(size=leaf.shape).astype(np.float32) / 8, variables)
    return integer.freeze(models.quantized(model, rules, float_layers=()) if rules else model, variables, x)


@pytest.fixture(scope="module")
def networks():
    """{name: graph}; the second has ternary and 4-bit weights."""
    rules = [("Dense_0", quantizers.ternary(), None), ("Dense_1", quantizers.uniform(4), None)]
    return {"images": frozen(Images(), (9, 8, 3)), "vectors": frozen(Vectors(), (6,), rules)}


def by_litert(data, x):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    start, end = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(start, x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(start, x)
    interpreter.invoke()
    return interpreter.get_tensor(end)


def by_tflm(data, x):
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(data, arena_size=2**18)
    rows = []
    for row in x:
        interpreter.set_input(row[None], 0)
        interpreter.invoke()
        rows.append(interpreter.get_output(0))
    return np.concatenate(rows)


def codes_of(graph, x):
    return np.asarray(graph.run(x))


@pytest.mark.parametrize("name", ["images", "vectors"])
def test_both_interpreters_compute_the_codes_of_the_network(networks, name):
    graph, data = networks[name], encode(with_memory(lower(networks[name])).model, "")
    x = random_codes(graph, 1000, 1)
    expected = codes_of(graph, x)
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(by_litert(data, x), expected)
    np.testing.assert_array_equal(by_tflm(data, x[:300]), expected[:300])


def test_the_networks_have_every_operator(networks):
    codes = {operator.code for graph in networks.values() for operator in lower(graph).operators}
    assert {"ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "PADV2", "RESHAPE"} <= codes


def test_clips_and_rescalings_are_exact(networks):
    """A requantizer and clips that no fused activation makes, by hand."""
    tensors = [nodes.IntegerTensor(name, (4,), scale, zero) for name, scale, zero in
               [("input", 0.1, 3), ("b", 0.25, -7), ("c", 0.03, 9)]]  # fmt: skip
    steps = []
    for number, (low, high) in enumerate([(-100, 90), (9, 127)]):
        factor = quantize_multiplier(tensors[number].scale / tensors[number + 1].scale)
        stage = nodes.Rescale(*(np.array([each], np.int32) for each in factor), low, high)
        steps.append(nodes.Requantize(f"step{number}", (number,), number + 1, stage))
    graph = integer.IntegerGraph(tuple(tensors), tuple(steps), 0, 2)
    x = random_codes(graph, 300, 0)
    assert {"QUANTIZE", "MAXIMUM", "MINIMUM"} <= {operator.code for operator in lower(graph).operators}
    np.testing.assert_array_equal(by_litert(encode(lower(graph), ""), x), codes_of(graph, x))
    np.testing.assert_array_equal(by_tflm(encode(lower(graph), ""), x), codes_of(graph, x))


def test_the_plan_of_the_arena_is_valid_and_reaches_the_bound(networks):
    import tflite

    model, arena = with_memory(lower(networks["images"]))
    file = tflite.Model.GetRootAs(encode(model, ""))
    entry = file.Metadata(0)
    plan = np.frombuffer(file.Buffers(entry.Buffer()).DataAsNumpy(), np.int32)
    assert entry.Name() == b"OfflineMemoryAllocation"
    assert plan[2] == len(model.tensors) == file.Subgraphs(0).TensorsLength()
    spans = {}  # by hand: the first step that writes a place, and the last that reads or writes it
    for step, operator in enumerate(model.operators):
        for number in (*operator.inputs, operator.output):
            if model.tensors[number].data is None:
                spans.setdefault(number, [step, step])[1] = step
    spans[model.input][0] = 0
    aliases = {operator.output: operator.inputs[0] for operator in model.operators if operator.code == "RESHAPE"}
    for a, (first, last) in spans.items():
        for b, (start, end) in spans.items():
            if a < b and aliases.get(a) != b and aliases.get(b) != a and first <= end and start <= last:
                places = [(plan[3 + n], plan[3 + n] + np.prod(model.tensors[n].shape)) for n in (a, b)]
                assert places[0][1] <= places[1][0] or places[1][1] <= places[0][0], (a, b)
    assert arena.optimal and arena.bytes == arena.bound
    assert all(plan[3 + n] == -1 for n, tensor in enumerate(model.tensors) if tensor.data is not None)


def test_the_folder_checks_itself(networks, tmp_path):
    start = time.process_time()
    folder = export.to_tflite(networks["vectors"], tmp_path / "out")
    assert time.process_time() - start < 2
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert sha256((folder / name).read_bytes()) == digest
    data = (folder / "model.tflite").read_bytes()
    listing = re.search(r"\{\n(.*)\n\}", (folder / "model_data.cc").read_text(), re.S)[1]
    assert bytes(int(each) for each in listing.replace("\n", "").replace(" ", "").split(",") if each) == data
    assert "MicroMutableOpResolver<3>" in (folder / "operators.h").read_text()
    done = subprocess.run([sys.executable, folder / "check.py"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": 0 of 16 outputs differ") == 2, done.stdout + done.stderr
    outputs = np.load(folder / "outputs.npy")
    outputs[3, 0] ^= 1
    np.save(folder / "outputs.npy", outputs)
    done = subprocess.run([sys.executable, folder / "check.py"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout.count(": 1 of 16 outputs differ") == 2


def test_a_network_that_litert_would_compute_otherwise_is_refused(networks, tmp_path):
    graph = networks["vectors"]

    def changed(number, **fields):
        steps = list(graph.nodes)
        steps[number] = dataclasses.replace(steps[number], **fields)
        return dataclasses.replace(graph, nodes=tuple(steps))

    stage = graph.nodes[0].stage
    other = stage._replace(multipliers=stage.multipliers + np.int32(1))
    with pytest.raises(ValueError, match=f"layer '{graph.nodes[0].path}' multiplies sums of output 0 by .* give"):
        export.to_tflite(changed(0, stage=other), tmp_path)
    with pytest.raises(ValueError, match="compares sums with thresholds"):
        export.to_tflite(changed(0, stage=nodes.Thresholds(stage.multipliers)), tmp_path)
    with pytest.raises(ValueError, match="its sums are rounded more finely"):
        export.to_tflite(changed(0, stage=stage._replace(left_shift=12)), tmp_path)
    bit = nodes.IntegerTensor("input", (6,), 1.0, 0, -1, 1, 1)
    with pytest.raises(ValueError, match="single bits"):
        export.to_tflite(dataclasses.replace(graph, tensors=(bit, *graph.tensors[1:])), tmp_path)
    images = [nodes.IntegerTensor(name, (4, 4, 1), 0.1) for name in ("input", "mean")]
    mean = nodes.AveragePool("mean", (0,), 1, (3, 3), (1, 1), ((2, 0), (1, 1)), False)
    with pytest.raises(ValueError, match="layer 'mean' averages windows with a border"):
        export.to_tflite(integer.IntegerGraph(tuple(images), (mean,), 0, 1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_memory_of_one_step():
    graph = integer.IntegerGraph(
        (nodes.IntegerTensor("input", (4, 4, 1), 0.1), nodes.IntegerTensor("pool", (2, 2, 1), 0.1)),
        (nodes.MaxPool("pool", (0,), 1, (2, 2), (2, 2), ((0, 0), (0, 0))),), 0, 1,
    )  # fmt: skip
    assert (
        with_memory(lower(graph)).arena.bytes
        == 16 + 16
        == integer.liveness_bound(integer.as_tflm([Lifetime(16, 0, 0), Lifetime(4, 0, 0)]))
    )
