"""Runs a program over any backend: the same steps on ciphertexts, on simulated ones, and on counters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from gecko_jax.encrypted.backend import Backend
from gecko_jax.encrypted.program import Program, Sum

MAX_CACHED_BYTES = 4 * 2**30  # of encoded weights


class Executor:
    """Runs a program; encoded weights are kept between runs.

    Args:
      program: what to run.
      backend: that evaluates; it lives as long as the executor.
    """

    def __init__(self, program: Program, backend: Backend):
        self.program, self.backend = program, backend
        self.samples = program.interface.samples
        self._last_babies: tuple[tuple[bytes, int], dict[tuple[int, int], Any]] = (b"", 0), {}
        self._plaintexts: dict[tuple[int, int], Any] = {}
        self._keeps = encoded_bytes(program) <= MAX_CACHED_BYTES

    def __call__(self, inputs: Sequence[Any], progress: Callable[[int, int], None] | None = None) -> list[Any]:
        """Runs the steps on one set of input ciphertexts.

        Args:
          inputs: one ciphertext for each row of the interface's `input_features`.
          progress: called with (steps done, all steps) after each step; None for silence.

        Returns:
          The output's ciphertexts.

        Raises:
          ValueError: another number of ciphertexts, or one of another level or scale than a fresh one.
        """
        backend, parameters = self.backend, self.backend.parameters
        expected = len(self.program.interface.input_features)
        if len(inputs) != expected:
            raise ValueError(f"{len(inputs)} input ciphertexts; the program reads {expected}.")
        for ciphertext in inputs:
            level, scale = backend.level(ciphertext), backend.scale(ciphertext)
            if (level, scale) != (parameters.levels, parameters.scale):
                raise ValueError(
                    f"An input ciphertext has level {level} and scale {scale:g}; expected a fresh one, of level "
                    f"{parameters.levels} and scale {parameters.scale:g}."
                )
        registers: dict[int, list[Any]] = {0: list(inputs)}
        self._last_babies = (b"", 0), {}
        for number, step in enumerate(self.program.steps):
            if isinstance(step, Sum):
                registers[step.target] = self._sum(number, step, registers)
            else:
                left = registers[step.left]
                right = left if step.right < 0 else registers[step.right]
                registers[step.target] = [self._product(*pair) for pair in zip(left, right, strict=True)]
            for register in self._last_uses.get(number, ()):
                del registers[register]
            if progress is not None:
                progress(number + 1, len(self.program.steps))
        self._last_babies = (b"", 0), {}
        return registers[self.program.output]

    @property
    def _last_uses(self) -> dict[int, list[int]]:
        """{step: registers that no later step reads}, so that their memory is freed."""
        last: dict[int, int] = {}
        for number, step in enumerate(self.program.steps):
            read = step.sources[:, 0].tolist() if isinstance(step, Sum) else [step.left, step.right]
            last |= dict.fromkeys(read, number)
        last = {register: number for register, number in last.items() if register not in (-1, self.program.output)}
        return {number: [r for r, n in last.items() if n == number] for number in set(last.values())}

    def _product(self, left: Any, right: Any) -> Any:
        backend = self.backend
        level = min(backend.level(left), backend.level(right))
        if left is right:
            return backend.rescale(backend.multiply(left, left))
        left, right = backend.mod_switch(left, level), backend.mod_switch(right, level)
        return backend.rescale(backend.multiply(left, right))

    def _sum(self, number: int, step: Sum, registers: dict[int, list[Any]]) -> list[Any]:
        backend = self.backend
        scale = backend.parameters.scale
        product_scale = scale * backend.parameters.moduli[step.level]
        inputs = [backend.mod_switch(registers[r][c], step.level) for r, c in step.sources.tolist()]
        rotated = self._babies(step, inputs, (step.sources.tobytes(), step.level))
        rows = sorted(range(len(step.diagonals)), key=lambda row: tuple(step.diagonals[row, [0, 2]]))
        outputs: list[Any] = [None] * len(step.bias)
        for output, of_output in groupby(rows, key=lambda row: int(step.diagonals[row, 0])):
            total, previous = None, 0
            # Horner's rule from the largest giant step down: rotating the sum takes one key for equal distances.
            groups = [(giant, list(group)) for giant, group in groupby(of_output, lambda r: int(step.diagonals[r, 2]))]
            for giant, group in reversed(groups):
                if total is not None:
                    total = self._rotated(total, previous - giant)
                for row in group:
                    source, baby = int(step.diagonals[row, 1]), int(step.diagonals[row, 3])
                    plaintext = self._plaintext(number, step, row, product_scale / backend.scale(inputs[source]))
                    term = backend.mul_plain(rotated[source, baby], plaintext, product_scale)
                    total = term if total is None else backend.add(total, term)
                previous = giant
            if previous:
                total = self._rotated(total, previous)
            outputs[output] = self._finish(step, total, step.bias[output])
        return outputs

    def _babies(self, step: Sum, inputs: list[Any], key: tuple[bytes, int]) -> dict[tuple[int, int], Any]:
        """{(input, baby step): rotated ciphertext}, each one rotated on from the one before.

        The second factor of a product often needs those of the first; they are kept until a step reads other inputs.
        """
        if self._last_babies[0] != key:
            self._last_babies = key, {}
        rotated = self._last_babies[1]
        for source, baby in sorted({(int(row[1]), int(row[3])) for row in step.diagonals}):
            if (source, baby) in rotated:
                continue
            earlier = max((b for s, b in rotated if s == source and b < baby), default=0)
            if baby == earlier:
                rotated[source, baby] = inputs[source]
            else:
                start = rotated.get((source, earlier), inputs[source])
                rotated[source, baby] = self._rotated(start, baby - earlier)
        return rotated

    def _rotated(self, ciphertext: Any, positions: int) -> Any:
        step = positions * self.samples % self.backend.parameters.slots
        return self.backend.rotate(ciphertext, step) if step else ciphertext

    def _finish(self, step: Sum, total: Any, bias: np.ndarray) -> Any:
        backend = self.backend
        total = backend.rescale(total, backend.parameters.scale)
        for fold in step.folds:
            total = backend.add(self._rotated(total, fold), total)
        if np.any(bias):
            values = bias if len(bias) == 1 else np.repeat(bias, self.samples)
            # A bias that cancels against larger terms may itself be too large for a plaintext: it is added in parts.
            parts = max(1, math.ceil(np.abs(values).max() / self._room(step.level - 1)))
            plaintext = backend.encode(values / parts, step.level - 1, backend.parameters.scale)
            for _ in range(parts):
                total = backend.add_plain(total, plaintext)
        return total

    def _room(self, level: int) -> float:
        """Returns the largest number that a plaintext of a level holds, by a quarter of its modulus."""
        parameters = self.backend.parameters
        return math.exp(sum(map(math.log, parameters.moduli[: level + 1])) - math.log(parameters.scale)) / 4

    def _plaintext(self, number: int, step: Sum, row: int, scale: float) -> Any:
        if step.weights.shape[1] == 1:  # one number in all slots: encoding costs less than keeping it
            return self.backend.encode(step.weights[row], step.level, scale)
        if (number, row) not in self._plaintexts:
            plaintext = self.backend.encode(np.repeat(step.weights[row], self.samples), step.level, scale)
            if not self._keeps:
                return plaintext
            self._plaintexts[number, row] = plaintext
        return self._plaintexts[number, row]


def encoded_bytes(program: Program) -> int:
    """Returns the bytes of all weights once they are encoded.

    Args:
      program: whose weights of width 1 are encoded when they are used, and are not counted.
    """
    degree = program.interface.parameters.degree
    sums = [step for step in program.steps if isinstance(step, Sum) and step.weights.shape[1] > 1]
    return sum(len(step.diagonals) * (step.level + 1) * degree * 8 for step in sums)
