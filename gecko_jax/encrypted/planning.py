"""From a circuit to the steps of a program: levels, gains, layouts, and the diagonals of each affine map."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, hstack

from gecko_jax.encrypted import layouts, rotations
from gecko_jax.encrypted.circuit import Affine, Circuit, Product
from gecko_jax.encrypted.cost_table import Costs
from gecko_jax.encrypted.parameters import HEADROOM_BITS, Parameters
from gecko_jax.encrypted.program import Multiply, Range, Sum
from gecko_jax.encrypted.ranges import value_names

# Shares of entries that are not zero: below the first a map is not tried folded, above the second it is, if it fits.
MIN_FOLDED_SHARE, MAX_SPARSE_SHARE = 0.05, 0.5
# The largest number in a slot of the input and of a product's factors. Rescaling adds the same noise to any number, so
# that larger ones are more precise; but the weights that bring them back are smaller, and lose digits when encoded.
LARGEST_FACTOR = 4.0
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


def required_levels(circuit: Circuit) -> list[int]:
    """Counts rescalings on the longest way from the input: one for each affine map and one for each product.

    Args:
      circuit: the network.

    Returns:
      Those of the nodes 0, 1, ..., and of the output.

    >>> from scipy.sparse import csr_array
    >>> map_ = Affine({0: csr_array(2 * np.eye(2))}, np.zeros(2))
    >>> fourth = (Product(map_, None), Product(Affine({1: csr_array(np.eye(2))}, np.zeros(2)), None))
    >>> required_levels(Circuit((2,), (2,), fourth, Affine({2: csr_array(np.eye(2))}, np.ones(2)), ("", "", "")))
    [0, 2, 3, 4]
    """
    used = [0]

    def levels(affine: Affine, direct: int | None) -> int:
        return used[direct] if direct is not None else 1 + max(used[node] for node in [*affine.terms, 0])

    for product in circuit.products:
        used.append(1 + max(levels(affine, node) for affine, node in zip(*_factors(product), strict=True)))
    return [*used, levels(circuit.output, _unchanged(circuit.output) or None)]


def plan(circuit: Circuit, largest: np.ndarray, parameters: Parameters, width: int, costs: Costs) -> Plan:
    """Plans a circuit for ciphertexts of a width.

    Args:
      circuit: the network.
      largest: `ranges.largest_values` of the calibration data, from which the gains follow.
      parameters: of the ciphertexts.
      width: positions in a ciphertext, a power of two; slots / width samples share it.
      costs: seconds of the operations, by which each map's layout is chosen.

    Returns:
      The plan.
    """
    return _Planner(circuit, parameters, width, costs).run(largest.tolist())


def _unchanged(affine: Affine) -> int | None:
    """The node that a map returns as it is; None if it is another map."""
    if len(affine.terms) != 1 or np.any(affine.bias):
        return None
    ((node, matrix),) = affine.terms.items()
    size = matrix.shape[0]
    same = matrix.shape == (size, size) and matrix.nnz == size and np.all(matrix.diagonal() == 1)
    return node if same else None


def _factors(product: Product) -> tuple[list[Affine], list[int | None]]:
    """A product's maps, one for a square, and the nodes of those that need no map."""
    maps = [product.left] if product.right is None else [product.left, product.right]
    nodes = [_unchanged(each) for each in maps]
    if None not in nodes and nodes[0] == nodes[-1]:
        return maps[:1], nodes[:1]
    if None not in nodes:  # two nodes may lie at different positions, so that one of them is moved
        nodes[1] = None
    return maps, nodes


class _Planner:
    def __init__(self, circuit: Circuit, parameters: Parameters, width: int, costs: Costs):
        self.circuit, self.parameters, self.width, self.costs = circuit, parameters, width, costs
        self.steps: list[Sum | Multiply] = []
        self.ranges: list[Range] = []
        self.names = list(value_names(circuit))
        self.nodes: list[Node] = []
        self.registers = 1
        # Nodes that are multiplied as they are keep numbers up to 1, because no map would bring their powers back.
        self.unscaled = {node for product in circuit.products for node in _factors(product)[1]}
        self.unscaled.add(_unchanged(circuit.output))

    def run(self, largest: list[float]) -> Plan:
        parameters, circuit = self.parameters, self.circuit
        features = layouts.of_input(circuit.input_shape, self.width)
        gain = (1.0 if 0 in self.unscaled else LARGEST_FACTOR) / (largest[0] or 1.0)
        first = Node(0, features, gain, parameters.levels, parameters.scale)
        self.nodes.append(first)
        self._range(largest[0], first)
        for layer, product in zip(circuit.layers[1:], circuit.products, strict=True):
            self._product(layer, product, largest)
        if same := _unchanged(circuit.output):
            output = self.nodes[same]
        else:
            (output,) = self._sums(self.names[-1], [(circuit.output, OUTPUT_SHARE / (largest[-1] or 1.0))])
        self._range(largest[-1], output)
        return Plan(first, output, tuple(self.steps), tuple(self.ranges))

    def _product(self, layer: str, product: Product, largest: list[float]) -> None:
        count = 1 if product.right is None else 2
        extremes = largest[len(self.ranges) : len(self.ranges) + count + 1]
        maps, unchanged = _factors(product)
        size = 1.0 if len(self.nodes) in self.unscaled else LARGEST_FACTOR
        gains = [size / (extreme or 1.0) for extreme in extremes]
        computed = [(m, g) for m, g, node in zip(maps, gains, unchanged, strict=False) if node is None]
        fixed = next((self.nodes[node].features for node in unchanged if node is not None), None)
        results = iter(self._sums(layer, computed, fixed) if computed else ())
        factors = [next(results) if node is None else self.nodes[node] for node in unchanged]
        left, right = factors[0], factors[-1]
        level, scale = min(left.level, right.level), left.scale * right.scale
        before = self.parameters.bound(level, scale) / (left.gain * right.gain)
        target = self._register()
        self.steps.append(Multiply(target, left.register, right.register if len(factors) > 1 else -1, layer))
        scale /= self.parameters.moduli[level]
        node = Node(target, left.features, left.gain * right.gain, level - 1, scale)
        self.nodes.append(node)
        for extreme, factor in zip(extremes[:-1], (left, right)[:count], strict=True):
            self._range(extreme, factor)
        self._range(extremes[-1], node, before)

    def _sums(self, layer: str, maps: list[tuple[Affine, float]], features: np.ndarray | None = None) -> list[Node]:
        """Adds the steps of maps that share one layout, `features` if given; each map comes with its result's gain."""
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
        placed = (
            self._cheapest(matrices, columns, level) if features is None else layouts.at(matrices, columns, features)
        )
        diagonals = np.unique(np.concatenate([keys[:, 2] for keys, _ in placed.matrices]))
        split = rotations.split(diagonals, placed.period, len(columns), len(placed.features))
        shift = split.start if features is None else 0  # free positions move, so that the giants start at 0
        features = np.roll(placed.features, shift, axis=1)
        results = []
        for (affine, gain), (keys, weights) in zip(maps, placed.matrices, strict=True):
            counted = (keys[:, 2] - split.start) % placed.period
            babies = counted % split.base
            giants = counted - babies + split.start - shift
            turned = np.stack([np.roll(line, shift + giant) for line, giant in zip(weights, giants, strict=True)])
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
        filled = max(matrix.nnz / max(matrix.shape[0] * matrix.shape[1], 1) for matrix in matrices)
        candidates = [layouts.folded(matrices, columns) if filled > MIN_FOLDED_SHARE else None]
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

    def _range(self, largest: float, node: Node, before: float = float("inf")) -> None:
        bound = min(self.parameters.bound(node.level, node.scale) / node.gain, before)
        self.ranges.append(Range(self.names[len(self.ranges)], float(largest), float(bound)))
