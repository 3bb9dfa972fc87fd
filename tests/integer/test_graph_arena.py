"""The arena of a frozen network: its bytes as counted by hand, and the network run in one block of memory."""

from __future__ import annotations

import jax
import naive_graph
import numpy as np
import pytest

from gecko_jax import integer, models
from gecko_jax.integer import as_tflm, check_arena, tflm_greedy

PIXELS = np.random.default_rng(0)


def frozen(name, outputs, shape, **options):
    """A network of the table with random variables, whose batch statistics are positive."""
    model, x = models.create(name, outputs, **options), PIXELS.normal(size=(1, *shape)).astype(np.float32)
    draws = np.random.default_rng(1)

    def draw(leaf):
        values = draws.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        return (np.abs(values) + 0.1 if leaf.ndim == 1 else values).astype(np.float32)

    variables = jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0), x))
    return integer.freeze(model, variables, x)


@pytest.fixture(scope="module")
def resnet():
    return frozen("resnet8", 3, (8, 8, 2), channels=(4, 6))


class Memory:
    """One block in which all tensors lie: what is overwritten too early is read wrongly."""

    def __init__(self, graph, offsets):
        self.graph, self.offsets, self.buffers = graph, offsets, graph.buffers()
        ends = [offset + each.bytes for offset, each in zip(offsets, graph.lifetimes(), strict=True)]
        self.block = np.full(max(ends), 99, np.int8)

    def place(self, number):
        tensor, start = self.graph.tensors[number], self.offsets[self.buffers[number]]
        return self.block[start : start + tensor.size].reshape(1, *tensor.shape)

    def __getitem__(self, number):
        return self.place(number).astype(np.int64)

    def __setitem__(self, number, codes):
        self.place(number)[...] = codes


def run_in(graph, offsets, codes):
    return naive_graph.run(graph, codes, Memory(graph, offsets))


def test_a_network_runs_in_its_arena(resnet):
    plan = resnet.arena(alignment=4)
    codes = PIXELS.integers(-128, 128, (1, 8, 8, 2), np.int8)
    expected = np.asarray(resnet.run(codes))
    np.testing.assert_array_equal(run_in(resnet, plan.offsets, codes), expected)
    # In a layout that the check refuses the sum reads what another node has written over.
    wrong = [offset if i != 1 else plan.offsets[3] for i, offset in enumerate(plan.offsets)]
    with pytest.raises(ValueError, match="overlap while both are alive"):
        check_arena(resnet.lifetimes(), wrong)
    assert (run_in(resnet, wrong, codes) != expected).any()


def test_the_bytes_are_those_counted_by_hand(resnet):
    """256 bytes at 4 channels, 96 at 6 and half size; three of the first live at once, in convolutions and in a sum."""
    plan = resnet.arena()
    assert [each.bytes for each in resnet.lifetimes()] == [128, 256, 256, 256, 256, 96, 96, 96, 96, 6, 3]
    # Input; stem, two convolutions, sum; shortcut, two convolutions, sum; mean, which a reshape shares; outputs.
    written, read = [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10], [0, 3, 2, 3, 5, 7, 6, 7, 8, 10, 10]
    assert [each[1:3] for each in resnet.lifetimes()] == list(zip(written, read, strict=True))
    assert (plan.bytes, plan.bound, plan.optimal) == (3 * 256, 3 * 256, True)
    assert check_arena(resnet.lifetimes(), plan.offsets) == 768
    buffers = resnet.buffers()
    assert len(set(buffers.values())) == len(resnet.lifetimes()) == len(plan.offsets)
    assert set(buffers) == {resnet.input, *(node.output for node in resnet.nodes)}


def test_the_beginning_of_the_mobilenet_needs_a_quarter_less_than_tflm_plans():
    """Its first four layers need most: 18,432 and 36,864 bytes are alive at once, and so it is in the whole network."""
    graph = frozen("mobilenet_v1", 2, (96, 96, 3), width=0.25, stages=((64, 1), (128, 2)))
    plan, arrays = graph.arena(alignment=16), as_tflm(graph.lifetimes())
    assert (plan.bytes, plan.bound, plan.optimal) == (55_296, 55_296, True)
    assert check_arena(arrays, tflm_greedy(arrays)) == 73_728
