"""A frozen network: integers in, integers out, the very model that a device runs."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gecko_jax import checks
from gecko_jax.integer.arena import ArenaPlan, plan_arena
from gecko_jax.integer.execution import run_node
from gecko_jax.integer.gap import Gap, gap_of
from gecko_jax.integer.node_costs import PayloadBytes, node_macs, payload
from gecko_jax.integer.nodes import IntegerTensor, Node, Reshape, Weighted
from gecko_jax.programs import Lifetime
from gecko_jax.text_tables import aligned
from gecko_jax.types import Array, Model, Variables


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class IntegerGraph:
    """An integer network; `freeze` makes it.

    Attributes:
      tensors: all activations.
      nodes: in the order in which they run.
      input, output: numbers of the tensors that go in and come out.

    >>> import flax.linen as nn
    >>> from gecko_jax import models
    >>> from gecko_jax.integer import freeze
    >>> model, x = models.from_linen(nn.Dense(2)), np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    >>> variables = {"params": {"kernel": np.eye(3, 2, dtype=np.float32), "bias": np.ones(2, np.float32)}}
    >>> graph = freeze(model, variables, x)
    >>> codes = graph.run(graph.encode(x))
    >>> bool((graph.decode(codes) == graph.predict(x)).all()), codes[3].tolist()
    (True, [101, 127])
    >>> graph.arena().offsets, graph.buffers()
    ((0, 3), {0: 0, 1: 1})
    >>> graph.gap(model, variables, x).agreement, graph.cost().total, [each.bytes for each in graph.lifetimes()]
    (1.0, 20, [3, 2])
    >>> graph, graph.macs(), graph.arena().bytes
    (IntegerGraph(1 nodes, (3,) -> (2,), 20 B), {(2, 8): 6}, 5)
    >>> print(graph.table())
    layer  node   output  bits  weight bits  bytes  MACs
    (top)  Dense       2     8            2     20     6
    """

    tensors: tuple[IntegerTensor, ...]
    nodes: tuple[Node, ...]
    input: int
    output: int

    def encode(self, x: Array) -> Array:
        """Returns the int8 codes of inputs [b, *shape]: round(x / scale) + zero point, half away from zero, clipped."""
        tensor = self.tensors[self.input]
        _check_rows(x, tensor)
        if not isinstance(x, Tracer):
            checks.finite("x", x)  # NaN would become a code, and an answer
        x = jnp.asarray(x, jnp.float32)
        if tensor.bits == 1:
            return jnp.where(x >= 0, np.int8(1), np.int8(-1))
        ratio = x / np.float32(tensor.scale)
        codes = jnp.sign(ratio) * jnp.floor(jnp.abs(ratio) + 0.5) + tensor.zero_point
        return jnp.clip(codes, tensor.low, tensor.high).astype(jnp.int8)

    def run(self, x: Array) -> Array:
        """Computes the output's codes with integers alone; it may be compiled and mapped.

        Args:
          x: int8 codes [b, *shape], or floats, which are encoded first.

        Returns:
          int8 codes [b, *shape of the output].

        Raises:
          ValueError: inputs of another shape or type, NaN or infinite, or codes that are not the input's; under a
            transformation, shape and type alone are checked.
        """
        if jnp.issubdtype(jnp.result_type(x), jnp.floating):
            x = self.encode(x)
        tensor = self.tensors[self.input]
        _check_rows(x, tensor)
        if jnp.result_type(x) != jnp.int8:
            raise ValueError(
                f"x is {jnp.result_type(x)}; expected int8 codes, or floats, which are encoded. Bytes of an image are "
                "not codes: pass them as the numbers that the network was trained on."
            )
        if not isinstance(x, Tracer):
            _check_codes(np.asarray(x), tensor)
        return self._compiled(x)

    @functools.cached_property
    def _compiled(self) -> Any:
        return jax.jit(self._run_nodes)

    def _run_nodes(self, codes: Array) -> Array:
        values: dict[int, Array] = {self.input: codes}
        for node in self.nodes:
            read = [self.tensors[number] for number in node.inputs]
            inputs = [values[number] for number in node.inputs]
            values[node.output] = run_node(node, inputs, read, self.tensors[node.output])
        return values[self.output]

    def decode(self, codes: Array) -> Array:
        """Returns the float32 numbers that the output's codes stand for."""
        tensor = self.tensors[self.output]
        return (jnp.asarray(codes).astype(jnp.float32) - tensor.zero_point) * np.float32(tensor.scale)

    def predict(self, x: Array) -> Array:
        """Returns the outputs as float32 numbers: the network as a predictor."""
        return self.decode(self.run(x))

    def gap(self, model: Model, variables: Variables, x: Array) -> Gap:
        """Compares the outputs with those of a model, float or fake-quantized, on inputs [b, *shape]; print it."""
        return gap_of(self, model, variables, x)

    def cost(self) -> PayloadBytes:
        """Counts the bytes of all constants."""
        return PayloadBytes(*(sum(column) for column in zip(*map(payload, self.nodes), strict=True)))

    def macs(self) -> dict[tuple[int, int], int]:
        """Counts the multiply-accumulates of one example, {(weight bits, input bits): how many}."""
        counts: Counter[tuple[int, int]] = Counter()
        for node in self.nodes:
            if isinstance(node, Weighted):
                bits = node.weight_bits, self.tensors[node.inputs[0]].bits
                counts[bits] += node_macs(node, self.tensors[node.output])
        return dict(counts)

    def buffers(self) -> dict[int, int]:
        """Returns the buffer of each tensor, {number of the tensor: number of the buffer}.

        Each has its own but a reshaped tensor, which shares its input's.
        """
        buffers, count = {self.input: 0}, 1
        for node in self.nodes:
            shared = isinstance(node, Reshape)
            buffers[node.output] = buffers[node.inputs[0]] if shared else count
            count += not shared
        return buffers

    def lifetimes(self) -> tuple[Lifetime, ...]:
        """Returns when each buffer of one example is written and last read, in steps; step 0 is the first node.

        The input is written before the first node, and the output is read after the last. A code takes one byte.
        """
        buffers, written, read = self.buffers(), {0: 0}, {0: 0}
        for step, node in enumerate(self.nodes):
            written.setdefault(buffers[node.output], step)
            for number in (*node.inputs, node.output):
                read[buffers[number]] = step
        read[buffers[self.output]] = max(len(self.nodes) - 1, 0)
        sizes = {buffer: self.tensors[number].size for number, buffer in buffers.items()}
        return tuple(Lifetime(sizes[buffer], step, read[buffer]) for buffer, step in written.items())

    def arena(self, alignment: int = 1) -> ArenaPlan:
        """Plans one block of memory for all activations of one example.

        Args:
          alignment: bytes of which every buffer's address must be a multiple, such as 4 for reads of whole words.

        Returns:
          A plan with one offset for each buffer: tensor t lies at `plan.offsets[graph.buffers()[t]]`.
        """
        return plan_arena([each._replace(alignment=alignment) for each in self.lifetimes()])

    def table(self) -> str:
        """Returns the nodes as a short text table: what each writes, and its constants and multiply-accumulates."""
        rows = [("layer", "node", "output", "bits", "weight bits", "bytes", "MACs")]
        for node in self.nodes:
            tensor = self.tensors[node.output]
            size, kind = "x".join(map(str, tensor.shape)), type(node).__name__
            weights = str(node.weight_bits) if isinstance(node, Weighted) else ""
            counts = f"{payload(node).total:,}", f"{node_macs(node, tensor):,}"
            rows.append((node.path or "(top)", kind, size, str(tensor.bits), weights, *counts))
        return "\n".join(aligned(rows, left=2, rule=False))

    def __repr__(self) -> str:
        shapes = f"{self.tensors[self.input].shape} -> {self.tensors[self.output].shape}"
        return f"IntegerGraph({len(self.nodes)} nodes, {shapes}, {self.cost().total:,} B)"

    def __str__(self) -> str:
        return self.table()


def check_graph(graph: Any) -> IntegerGraph:
    """Returns what is an IntegerGraph, or raises ValueError with the way to one."""
    if not isinstance(graph, IntegerGraph):
        raise ValueError(
            f"graph is a {type(graph).__name__}; expected an IntegerGraph: integer.freeze(model, variables, "
            "calibration_x)."
        )
    return graph


def _check_codes(codes: np.ndarray, tensor: IntegerTensor) -> None:
    if not codes.size:
        return
    low, high = int(codes.min()), int(codes.max())
    if low < tensor.low or high > tensor.high or (tensor.bits == 1 and not codes.all()):
        expected = "-1 or +1" if tensor.bits == 1 else f"{tensor.low} to {tensor.high}"
        raise ValueError(f"x holds codes from {low} to {high}; expected {expected}. Take graph.encode of the numbers.")


def _check_rows(x: Any, tensor: IntegerTensor) -> None:
    if jnp.ndim(x) != len(tensor.shape) + 1 or jnp.shape(x)[1:] != tensor.shape:
        raise ValueError(f"x has shape {jnp.shape(x)}; expected {('b', *tensor.shape)}.")
