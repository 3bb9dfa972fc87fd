"""Compiles a network: extracts its circuit, tries rings and widths, and keeps the cheapest that is precise enough."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.encrypted import cost_table, parameters, planning
from gecko_jax.encrypted.circuit import Circuit, evaluate, products_of, real_rows
from gecko_jax.encrypted.parameters import Parameters
from gecko_jax.encrypted.program import Interface, Program
from gecko_jax.encrypted.ranges import flat_box, largest_values, value_names
from gecko_jax.encrypted.report import count, parameter_line, seconds
from gecko_jax.encrypted.simulation import simulate
from gecko_jax.types import Array, Model

GOALS = ("latency", "throughput")
PACKINGS = ("interleaved", "tiled", "sample")
MAX_SCALAR_PRODUCTS = 300_000  # of a network in which each feature has a ciphertext
MAX_CHECKED_EXAMPLES = 64  # of the calibration data, whose error is simulated
MIN_MARGIN = 4.0  # the bound over the largest value on the calibration data


class Settings(NamedTuple):
    """The settings of `compile`, which describes them."""

    security: int = 128
    goal: str = "latency"
    packing: str | int | None = None
    degree: int | None = None
    tolerance: float = 1e-3
    box: tuple[Any, Any] | None = None


def compile(  # noqa: A001, the name says what it does
    model: Model,
    variables: Any,
    calibration_x: Array,
    *,
    security: int = 128,
    goal: str = "latency",
    packing: str | int | None = None,
    degree: int | None = None,
    tolerance: float = 1e-3,
    box: tuple[Any, Any] | None = None,
) -> Program:
    """Compiles a polynomial network for ciphertexts.

    Args:
      model: of linear layers and polynomials; ReLU, max-pool and softmax are refused, with what to use instead.
      variables: the model's.
      calibration_x: inputs [b, *input_shape] that span what clients will send: the values of all layers on them fix the
        gains.
      security: 128, 192 or 256 bits.
      goal: "latency": few seconds for a run; "throughput": few seconds for an example.
      packing: "interleaved": a ciphertext holds all features of a node for several examples; "tiled": a node takes
        several ciphertexts; "sample": each feature has a ciphertext; an integer: positions in a ciphertext, a power of
        two; None: whichever is the fastest by the cost table.
      degree: N; the smallest that is deep and precise enough if None.
      tolerance: the largest error of an output that is accepted, relative to the largest output.
      box: (low, high), numbers or arrays of the input's shape, that clients clip to, such as a certificate's; None:
        from the smallest to the largest number of `calibration_x`.

    Returns:
      The program.

    Raises:
      ValueError: a network that cannot run: a layer that is not a polynomial, too many activations for the modulus,
        values that overflow, or a predicted error above the tolerance.

    >>> import flax.linen as nn
    >>> import jax
    >>> from gecko_jax import models
    >>> model, x = models.from_linen(nn.Dense(2)), np.eye(3)
    >>> program = compile(model, model.init(jax.random.key(0), x), x)
    >>> program.interface.samples  # each of the three features has its own ciphertext, of N / 2 slots
    2048
    """
    from gecko_jax.encrypted.extraction import extract

    settings = Settings(security, goal, packing, degree, tolerance, box)
    return compile_circuit(extract(model, variables, calibration_x), calibration_x, **settings._asdict())


def compile_circuit(circuit: Circuit, calibration_x: Array, **settings: Any) -> Program:
    """Compiles a circuit for ciphertexts; `compile` extracts it from a model first.

    Args:
      circuit: the network.
      calibration_x: as in `compile`.
      **settings: security, goal, packing, degree, tolerance and box, as in `compile`.

    Returns:
      The program.

    Raises:
      ValueError: a network that cannot run, as in `compile`.

    >>> from scipy.sparse import csr_array
    >>> from gecko_jax.encrypted.circuit import Affine, Product
    >>> same = Affine({0: csr_array(np.eye(2))}, np.zeros(2))
    >>> total = Affine({1: csr_array(np.ones((1, 2)))}, np.ones(1))
    >>> circuit = Circuit((2,), (1,), (Product(same, None),), total, ("input", "square"))
    >>> program = compile_circuit(circuit, np.array([[1.0, 2.0]]))
    >>> simulate(program, np.array([[1.0, 2.0]])).round(3).tolist()
    [[6.0]]
    """
    products_of(circuit)
    security, goal, packing, degree, tolerance, box = Settings(**settings)
    checks.one_of("goal", goal, GOALS)
    checks.positive("tolerance", tolerance)
    checks.lookup("security", security, parameters.MAX_LOG_QP)  # type: ignore[arg-type]
    x = real_rows("calibration_x", calibration_x, circuit.input_shape)
    if box is None and x.min() == x.max():
        raise ValueError(
            f"calibration_x holds {x.min():g} alone, and clients clip to its range: every input would become the same. "
            "Pass data like those that clients will send, or box=(low, high)."
        )
    corners = flat_box(circuit, *((x.min(), x.max()) if box is None else box))
    x = np.clip(x, *(corner.reshape(1, *circuit.input_shape) for corner in corners))
    choices = _choices(circuit, degree, security)
    largest, refusals = _largest(circuit, x), []
    for chosen in choices:
        widths = _widths(packing, circuit, chosen)
        programs = [_assemble(circuit, corners, largest, chosen, width)._replace(goal=goal) for width in widths]
        program = min(programs, key=lambda program: _price(program, goal))
        _check_margins(program)
        rows = x[: min(MAX_CHECKED_EXAMPLES, program.interface.samples)]
        try:
            error = np.abs(simulate(program, rows) - evaluate(circuit, rows)).max() / (largest[-1] or 1.0)
        except (OverflowError, ValueError):  # noise as large as what the last level holds
            error = np.inf
        if error <= tolerance:
            return program
        refusals.append(f"{error:.2g} with {parameter_line(chosen)}")
    raise ValueError(
        f"The simulated error of the outputs, relative to the largest, is above tolerance={tolerance:g}: "
        f"{'; '.join(refusals)}. Use fewer activations, normalize the layers so that their channels have like ranges, "
        "or raise the tolerance."
    )


def _choices(circuit: Circuit, degree: int | None, security: int) -> list[Parameters]:
    """Parameters for each ring that allows the circuit's depth, small rings first."""
    limits = parameters.MAX_LOG_QP[security]
    degrees = list(limits) if degree is None else [checks.one_of("degree", degree, list(limits))]
    levels = planning.required_levels(circuit)
    deep_enough = [each for each in degrees if parameters.max_depth(each, security) >= max(levels)]
    if not deep_enough:
        allowed = parameters.max_depth(degrees[-1], security)
        names = [*circuit.layers, "the output"]
        first = next(name for name, used in zip(names, levels, strict=True) if used > allowed)
        raise ValueError(
            f"{first} needs more than {allowed} levels, all that N={degrees[-1]} allows at {security}-bit security; "
            f"the network needs {max(levels)}, one for each linear map and each product. Use fewer activations, "
            f"polynomials of a lower degree{', or a larger degree=' if degrees[-1] < max(limits) else ''}."
        )
    return [parameters.choose(max(levels), each, security) for each in deep_enough]


def _largest(circuit: Circuit, x: np.ndarray) -> np.ndarray:
    largest = largest_values(circuit, x)
    for name, value in zip(value_names(circuit), largest, strict=True):
        if not np.isfinite(value):
            raise ValueError(
                f"{name} overflows float64 on the calibration data. Train with a range penalty, normalize the layers, "
                "or use fewer activations."
            )
    return largest


def _widths(packing: str | int | None, circuit: Circuit, chosen: Parameters) -> list[int]:
    """Widths to try, powers of two."""
    sizes = [int(np.prod(circuit.input_shape)), *(len(left.bias) for left, _ in circuit.products)]
    sizes.append(len(circuit.output.bias))
    full_width = 1 << (max(sizes) - 1).bit_length()
    tiles = [full_width >> shift for shift in (1, 2, 3) if full_width >> shift > 1]
    if packing is None:
        affines = [side for product in circuit.products for side in product if side is not None]
        products = sum(matrix.nnz for each in [*affines, circuit.output] for matrix in each.terms.values())
        widths = [full_width, *tiles[:1]] + [1] * (products <= MAX_SCALAR_PRODUCTS)
        return sorted({min(width, chosen.slots) for width in widths})
    if isinstance(packing, str):
        checks.one_of("packing", packing, PACKINGS)
        if packing == "interleaved" and full_width > chosen.slots:
            raise ValueError(
                f'packing="interleaved" needs {full_width} positions for the largest layer, of {max(sizes)} features; '
                f'a ciphertext has {chosen.slots} at N={chosen.degree}. Use packing="tiled", or a larger degree.'
            )
        widths = {"interleaved": [full_width], "sample": [1], "tiled": tiles or [1]}[packing]
        return sorted({min(width, chosen.slots) for width in widths})
    width = checks.integer("packing", packing, 1)
    if width & (width - 1) or width > chosen.slots:
        raise ValueError(f"packing={width} positions must be a power of two of at most {chosen.slots}, N / 2.")
    return [width]


def _price(program: Program, goal: str) -> float:
    run = seconds(count(program).counts, cost_table.table(program.interface.parameters))
    return run / program.interface.samples if goal == "throughput" else run


def _check_margins(program: Program) -> None:
    for layer, largest, bound in program.ranges:
        if not bound >= MIN_MARGIN * largest:
            raise ValueError(
                f"{layer} reaches {largest:.3g} on the calibration data, and its ciphertext wraps around above "
                f"{bound:.3g}: a margin of {bound / largest:.2g}; at least {MIN_MARGIN:g} is needed. Normalize the "
                "layer or train with a range penalty."
            )


def _assemble(
    circuit: Circuit, corners: tuple[np.ndarray, np.ndarray], largest: np.ndarray, chosen: Parameters, width: int
) -> Program:
    plan = planning.plan(circuit, largest, chosen, width, cost_table.table(chosen))
    interface = Interface(
        parameters=chosen,
        samples=chosen.slots // width,
        input_shape=tuple(circuit.input_shape),
        output_shape=tuple(circuit.output_shape),
        input_features=plan.input.features,
        output_features=plan.output.features,
        input_gain=plan.input.gain,
        output_gain=plan.output.gain,
        rotations=(),
        relinearizes=bool(circuit.products),
        output_level=plan.output.level,
        box_low=corners[0],
        box_high=corners[1],
        output_bound=plan.ranges[-1].bound,
    )
    program = Program(interface, plan.steps, plan.output.register, circuit, plan.ranges, GOALS[0])
    return program._replace(interface=interface._replace(rotations=tuple(sorted(count(program).rotations))))
