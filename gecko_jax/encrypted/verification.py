"""Runs a program on real ciphertexts and compares every output with the network's own."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.encrypted.circuit import evaluate, real_rows
from gecko_jax.encrypted.packing import outside_box
from gecko_jax.encrypted.program import Program
from gecko_jax.types import Array


class NotVerified(ValueError):
    """An encrypted output is not the network's: the program must not be used."""


class Verification(NamedTuple):
    """What a verification found; all figures are measured on real ciphertexts.

    Attributes:
      examples: how many were compared.
      clipped: how many of them the client clipped to the program's box, and the network is asked about as clipped.
      max_error: the largest absolute error of an output.
      largest_output: the largest absolute output of the network.
      same_label: share of the examples with the network's own label.
      encrypt_seconds, run_seconds, decrypt_seconds: CPU seconds of all runs, setup included.
      key_bytes, input_bytes, output_bytes: of the evaluation keys, and of one run's input and output.
    """

    examples: int
    clipped: int
    max_error: float
    largest_output: float
    same_label: float
    encrypt_seconds: float
    run_seconds: float
    decrypt_seconds: float
    key_bytes: int
    input_bytes: int
    output_bytes: int


def verify(program: Program, x: Array, tolerance: float = 1e-3) -> Verification:
    """Encrypts examples, runs the program on them as a server would, decrypts, and compares with the network.

    Args:
      program: what `encrypted.compile` returned.
      x: inputs [b, ...], such as 64 test examples.
      tolerance: the largest error, relative to the largest output of the network on x.

    Returns:
      What was found.

    Raises:
      ImportError: if the package behind the extra "he" is not installed.
      NotVerified: if an output differs by more, or a label differs although its lead is larger than both errors.

    Example:
      >>> import jax
      >>> from gecko_jax import encrypted, models
      >>> model = models.create("mlp", 2, hidden=(4,), activation="square")
      >>> x = np.random.default_rng(0).normal(size=(8, 3))
      >>> program = encrypted.compile(model, model.init(jax.random.key(0), x), x)
      >>> verify(program, x).max_error < 1e-4
      True
    """
    from gecko_jax.encrypted.client import Client
    from gecko_jax.encrypted.server import Server

    server, interface = Server(program), program.interface
    x = real_rows("x", x, interface.input_shape)
    inside = np.clip(x.reshape(len(x), -1), interface.box_low, interface.box_high)
    expected = evaluate(program.circuit, inside.reshape(x.shape)).reshape(len(x), -1)
    client = Client(interface, program.digest)
    server.add_keys(keys := client.evaluation_keys())
    seconds = np.zeros(3)
    outputs, question, answer = [], b"", b""
    for start in range(0, len(x), interface.samples):
        times = [time.process_time()]
        question = client.encrypt(x[start : start + interface.samples])
        times.append(time.process_time())
        answer = server.answer(question)
        times.append(time.process_time())
        outputs.append(client.decrypt(answer, question))
        seconds += np.diff([*times, time.process_time()])
    encrypted = np.concatenate(outputs).reshape(expected.shape)
    result = Verification(
        examples=len(x),
        clipped=int(np.count_nonzero(outside_box(x, interface))),
        max_error=float(np.abs(encrypted - expected).max()),
        largest_output=float(np.abs(expected).max()),
        same_label=float(np.mean(encrypted.argmax(1) == expected.argmax(1))),
        encrypt_seconds=float(seconds[0]),
        run_seconds=float(seconds[1]),
        decrypt_seconds=float(seconds[2]),
        key_bytes=len(keys),
        input_bytes=len(question),
        output_bytes=len(answer),
    )
    check_agreement(encrypted, expected, tolerance)
    return result


def check_agreement(encrypted: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Compares the outputs of an encrypted run with the network's.

    Args:
      encrypted, expected: float64 [b, outputs].
      tolerance: the largest error, relative to the largest expected output.

    Raises:
      NotVerified: if they disagree.

    >>> check_agreement(np.array([[1.0, 2.0]]), np.array([[1.0, 2.001]]), 1e-3)
    """
    checks.positive("tolerance", tolerance)
    errors = np.abs(encrypted - expected)
    allowed = tolerance * float(np.abs(expected).max())
    if not errors.max() <= allowed:
        row, column = np.unravel_index(np.argmax(np.nan_to_num(errors, nan=np.inf)), errors.shape)
        raise NotVerified(
            f"Encrypted output {column} of example {row} is {encrypted[row, column]:.6g}, the network's is "
            f"{expected[row, column]:.6g}: an error of {errors[row, column]:.3g}, allowed is {allowed:.3g}. "
            "Compile with calibration data of the same range, or with a larger degree."
        )
    other = np.flatnonzero(encrypted.argmax(1) != expected.argmax(1))
    lead = expected.max(1) - np.take_along_axis(expected, encrypted.argmax(1)[:, None], 1)[:, 0]
    if len(other := other[lead[other] > 2 * errors.max()]):
        raise NotVerified(f"The encrypted label of examples {checks.listed(other.tolist())} is not the network's.")
