"""From a circuit to the steps of a program: levels, gains, layouts, and the diagonals of each affine map."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, hstack

from gecko_jax.encrypted import layouts, rotations
from gecko_jax.encrypted.circuit import Affine, Circuit
from gecko_jax.encrypted.cost_table import Costs
from gecko_jax.encrypted.parameters import HEADROOM_BITS, Parameters
from gecko_jax.encrypted.program import Multiply, Range, Sum

MAX_SPARSE_SHARE = 0.5  # of entries that are not zero, above which a map that can be folded is folded
OUTPUT_SHARE = 2.0 ** (HEADROOM_BITS - 1) / 8  # the output's largest number: an eighth of what wraps around


class Node(NamedTuple):
    """A register and what is known of it.

    Attributes:
      register: of its ciphertexts.
      features: int32 [ciphertexts, width], the feature at each position.
      gain: a number in a slot is the feature times the gain.
      level, scale: of its ciphertexts.
    """

    register: int
    features: np.ndarray
    gain: float
    level: int
    scale: float


class Plan(NamedTuple):
    """Steps for one width.

    Attributes:
      input, output: the nodes.
      steps: of the program.
      ranges: of the input, the products' values and factors, and the output.
    """

    input: Node
    output: Node
    steps: tuple[Sum | Multiply, ...]
    ranges: tuple[Range, ...]


class Extremes(NamedTuple):
    """The largest absolute values on the calibration data.

    Attributes:
      input, output: of the circuit's.
      factors: of each product, (left, right); right is None for a square.
      products: of each product's value.
    """

    input: float
    factors: tuple[tuple[float, float | None], ...]
    products: tuple[float, ...]
    output: float


def required_levels(circuit: Circuit) -> int:
    """Counts the rescalings on the longest way: one for each affine map and one for each product.

    Args:
      circuit: the network.
    """
    used = [0]
    for left, right in circuit.products:
        used.append(2 + max(used[node] for side in (left, right) if side is not None for node in [*side.terms, 0]))
    return 1 + max(used[node] for node in [*circuit.output.terms, 0])


def plan(circuit: Circuit, extremes: Extremes, parameters: Parameters, width: int, costs: Costs) -> Plan:
    """Plans a circuit for ciphertexts of a width.

    Args:
      circuit: the network.
      extremes: of its values, from which the gains follow.
      parameters: of the ciphertexts.
      width: positions in a ciphertext, a power of two; slots / width samples share it.
      costs: seconds of the operations, by which each map's layout is chosen.

    Returns:
      The plan.
    """
    return _Planner(circuit, parameters, width, costs).run(extremes)


class _Planner:
    def __init__(self, circuit: Circuit, parameters: Parameters, width: int, costs: Costs):
        self.circuit, self.parameters, self.width, self.costs = circuit, parameters, width, costs
        self.steps: list[Sum | Multiply] = []
        self.ranges: list[Range] = []
        self.nodes: list[Node] = []
        self.registers = 1

    def run(self, extremes: Extremes) -> Plan:
        parameters, circuit = self.parameters, self.circuit
        size = int(np.prod(circuit.input_shape))
        ciphertexts = -(-size // self.width)
        features = np.full(ciphertexts * self.width, -1, np.int32)
        features[:size] = np.arange(size)
        gain = 1 / (extremes.input or 1.0)
        first = Node(0, features.reshape(-1, self.width), gain, parameters.levels, parameters.scale)
        self.nodes.append(first)
        self._range(circuit.layers[0], extremes.input, first)
        for number, (left, right) in enumerate(circuit.products):
            self._product(circuit.layers[number + 1], (left, right), extremes, number)
        gain = OUTPUT_SHARE / (extremes.output or 1.0)
        (output,) = self._sums("the output", [(circuit.output, gain)])
        self._range("the output", extremes.output, output)
        return Plan(first, output, tuple(self.steps), tuple(self.ranges))

    def _product(self, layer: str, sides: tuple[Affine, Affine | None], extremes: Extremes, number: int) -> None:
        largest = extremes.factors[number]
        maps = [(side, 1 / (value or 1.0)) for side, value in zip(sides, largest, strict=True) if side is not None]
        factors = self._sums(layer, maps)
        left, right = factors[0], factors[-1]
        scale = left.scale * right.scale
        before = self.parameters.bound(left.level, scale) / (left.gain * right.gain)
        target = self._register()
        self.steps.append(Multiply(target, left.register, right.register if len(factors) > 1 else -1, layer))
        scale /= self.parameters.moduli[left.level]
        node = Node(target, left.features, left.gain * right.gain, left.level - 1, scale)
        self.nodes.append(node)
        for factor, value, name in zip(factors, largest, ("left", "right"), strict=False):
            name = f"{name} factor" if len(factors) > 1 else "before the square"
            self._range(f"{layer}, {name}", value or 0.0, factor)
        self._range(layer, extremes.products[number], node, before)

    def _sums(self, layer: str, maps: list[tuple[Affine, float]]) -> list[Node]:
        """Adds the steps of maps that share one layout; each comes with the gain of its result."""
        read = sorted({node for affine, _ in maps for node in affine.terms} or {0})
        nodes = [self.nodes[node] for node in read]
        level = min(node.level for node in nodes)
        sizes = [self._size(node) for node in read]
        offsets = np.cumsum([0, *sizes])
        columns = np.concatenate(
            [
                np.where(node.features >= 0, node.features + start, -1)
                for node, start in zip(nodes, offsets[:-1], strict=True)
            ]
        )
        sources = np.array([(node.register, i) for node in nodes for i in range(len(node.features))], np.int32)
        matrices = [self._matrix(affine, gain, read, sizes) for affine, gain in maps]
        placed = self._cheapest(matrices, columns, level)
        diagonals = np.unique(np.concatenate([keys[:, 2] for keys, _ in placed.matrices]))
        split = rotations.split(diagonals, placed.period, len(columns), len(placed.features))
        features = np.roll(placed.features, split.start, axis=1)
        results = []
        for (affine, gain), (keys, weights) in zip(maps, placed.matrices, strict=True):
            counted = (keys[:, 2] - split.start) % placed.period
            babies = counted % split.base
            giants = counted - babies
            turned = np.stack([np.roll(line, split.start + giant) for line, giant in zip(weights, giants, strict=True)])
            table = np.stack([keys[:, 0], keys[:, 1], giants, babies], 1).astype(np.int32)
            bias = np.where(features >= 0, affine.bias[features] * gain, 0.0)
            target = self._register()
            self.steps.append(Sum(target, sources, table, turned, bias, placed.folds, level, layer))
            results.append(Node(target, features, gain, level - 1, self.parameters.scale))
        return results

    def _matrix(self, affine: Affine, gain: float, read: list[int], sizes: list[int]) -> Any:
        """A map as one matrix of the slots' numbers."""
        blocks = []
        for node, size in zip(read, sizes, strict=True):
            block = affine.terms.get(node)
            block = csr_array((len(affine.bias), size)) if block is None else block * (gain / self.nodes[node].gain)
            blocks.append(block)
        return csr_array(hstack(blocks, format="csr"))

    def _cheapest(self, matrices: list[Any], columns: np.ndarray, level: int) -> layouts.Placed:
        candidates = [layouts.folded(matrices, columns)]
        filled = max(matrix.nnz / max(matrix.shape[0] * matrix.shape[1], 1) for matrix in matrices)
        if candidates[0] is None or filled < MAX_SPARSE_SHARE:
            candidates += [layouts.sparse(matrices, columns, price) for price in layouts.ROTATION_PRICES]
        return min((placed for placed in candidates if placed is not None), key=lambda p: self._seconds(p, level))

    def _seconds(self, placed: layouts.Placed, level: int) -> float:
        total = 0.0
        for keys, _ in placed.matrices:
            split = rotations.split(np.unique(keys[:, 2]), placed.period, 1, 1)
            sources, outputs = len(np.unique(keys[:, 1])), len(placed.features)
            turns = split.babies * sources + split.giants * outputs
            total += turns * self.costs["rotate", level + 1]
            total += len(keys) * (self.costs["mul_plain", level + 1] + self.costs["add", level + 1])
            total += len(placed.folds) * outputs * self.costs["rotate", level]
        return total

    def _size(self, node: int) -> int:
        if node == 0:
            return int(np.prod(self.circuit.input_shape))
        return len(self.circuit.products[node - 1].left.bias)

    def _register(self) -> int:
        self.registers += 1
        return self.registers - 1

    def _range(self, layer: str, largest: float, node: Node, before: float = float("inf")) -> None:
        bound = min(self.parameters.bound(node.level, node.scale) / node.gain, before)
        self.ranges.append(Range(layer, float(largest), float(bound)))
