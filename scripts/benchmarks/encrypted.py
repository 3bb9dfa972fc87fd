"""What encrypted inference costs and how exact it is: promised figures, and TenSEAL's tutorial side by side.

    pip install -e .[he,sklearn]          (TenSEAL, whose binding of SEAL does the arithmetic of both sides)
    python -m scripts.benchmarks.encrypted [--sections=digits] [--output=encrypted.json]

digits: an MLP 64-32-10, 64 examples in a run.
tutorial: the network of TenSEAL's tutorial 4, trained on 28x28 digits: this library's program for latency, and TenSEAL
  as the tutorial runs it, one example a run. Half of TenSEAL's examples are those with the largest logits, where its
  parameters leave the least room; the other half are the first ones.
throughput: the same network, a slot for each example, 4,096 in a run.
fashion: two convolutions and three trained quadratics on Fashion-MNIST (N=16384).

Each answer comes from a server without a secret key, over bytes, of a verified program. Seconds are CPU seconds of all
threads; a run's are the median of the runs after the first, which encodes the weights. Predictions are
`Program.report(measured=True)`: timings of single operations on this machine, times how often each is counted.
"""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import time
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags, logging

from gecko_jax import encrypted, extras, files, json_values, text_tables
from scripts.benchmarks.cases import encrypted_networks, tenseal_tutorial

SECTIONS = ("digits", "tutorial", "throughput", "fashion")
flags.DEFINE_multi_enum("sections", list(SECTIONS), list(SECTIONS), "What is measured.")
flags.DEFINE_integer("samples", 360, "Test examples whose labels are compared.", lower_bound=1)
flags.DEFINE_integer("peer_samples", 10, "Examples of them that TenSEAL runs, at about 4 seconds each.", lower_bound=1)
flags.DEFINE_integer("epochs", None, "Of training, for a trial: promises are not judged.", lower_bound=1)
flags.DEFINE_string("output", None, "JSON file for all figures.")
FLAGS = flags.FLAGS

PREDICTED = ("run_seconds", "keys_megabytes", "upload_megabytes", "download_megabytes")
MAX_PREDICTION_ERROR = 0.25


class Measured(NamedTuple):
    """A program's figures, all measured.

    Attributes:
      examples, samples: compared in all, and in one run.
      run_seconds: of the server, a run.
      encrypt_seconds, decrypt_seconds: of the client, a run.
      seconds_per_sample: run_seconds over samples.
      setup_seconds: of the first run beyond that: encoding the weights.
      keys_seconds: making, sending and reading the evaluation keys.
      keys_megabytes, upload_megabytes, download_megabytes: 10^6 bytes, as sent.
      rotation_keys: how many.
      max_error: largest absolute error of a logit, against float64.
      largest_logit: on the same examples.
      same_label: share of equal labels.
    """

    examples: int
    samples: int
    run_seconds: float
    encrypt_seconds: float
    decrypt_seconds: float
    seconds_per_sample: float
    setup_seconds: float
    keys_seconds: float
    keys_megabytes: float
    upload_megabytes: float
    download_megabytes: float
    rotation_keys: int
    max_error: float
    largest_logit: float
    same_label: float


def measure(program: encrypted.Program, x: np.ndarray) -> Measured:
    """Encrypts, computes and decrypts x, run by run, and compares with the network in float64."""
    expected = encrypted.evaluate(program.circuit, x)
    client, server = program.client(), program.server()
    start = time.process_time()
    server.add_keys(keys := client.evaluation_keys())
    keys_seconds = time.process_time() - start
    outputs, seconds, question, answer = [], [], b"", b""
    samples = program.interface.samples
    for first in range(0, len(x), samples):
        times = [time.process_time()]
        question = client.encrypt(x[first : first + samples])
        times.append(time.process_time())
        answer = server.answer(question)
        times.append(time.process_time())
        outputs.append(client.decrypt(answer, question))
        seconds.append(np.diff([*times, time.process_time()]))
    logits = np.concatenate(outputs)
    encrypt, run, decrypt = (statistics.median(column) for column in zip(*(seconds[1:] or seconds), strict=True))
    return Measured(
        examples=len(x),
        samples=samples,
        run_seconds=run,
        encrypt_seconds=encrypt,
        decrypt_seconds=decrypt,
        seconds_per_sample=run / samples,
        setup_seconds=seconds[0][1] - run,
        keys_seconds=keys_seconds,
        keys_megabytes=len(keys) / 1e6,
        upload_megabytes=len(question) / 1e6,
        download_megabytes=len(answer) / 1e6,
        rotation_keys=len(program.interface.rotations),
        max_error=float(np.abs(logits - expected).max()),
        largest_logit=float(np.abs(expected).max()),
        same_label=float(np.mean(logits.argmax(1) == expected.argmax(1))),
    )


def judged(name: str, value: float, bound: float, at_least: bool = False) -> dict[str, Any]:
    """A promise: what was found, what was promised, and whether it was met."""
    met = value >= bound if at_least else value <= bound
    verdict = "not judged" if FLAGS.epochs else "met" if met else "NOT MET"
    print(f"  {name}: {value:.4g}, promised {'>=' if at_least else '<='} {bound:g}: {verdict}", flush=True)
    return {"promise": name, "value": value, "bound": bound, "at_least": at_least, "met": bool(met)}


def run(network: encrypted_networks.Trained, x: np.ndarray, **options: Any) -> tuple[dict[str, Any], Measured]:
    """Compiles a network, predicts what it costs, measures it, and prints both."""
    start = time.process_time()
    program = encrypted.compile(network.model, network.variables, network.calibration, **options)
    compile_seconds = time.process_time() - start
    predicted, found = program.report(measured=True), measure(program, x)
    bits = [modulus.bit_length() for modulus in program.interface.parameters.moduli]
    print(f"  N={predicted.degree}, moduli of {bits} bits, compiled in {compile_seconds:.1f} s; "
          f"accuracy before encryption {network.accuracy:.3f}")  # fmt: skip
    rows = [["", "measured", "predicted"]]
    for name, value in found._asdict().items():
        forecast = getattr(predicted, name, None)
        rows.append([name.replace("_", " "), f"{value:.4g}", "" if forecast is None else f"{forecast:.4g}"])
    print("\n".join(f"  {line}" for line in text_tables.aligned(rows, left=1)), flush=True)
    promises = [judged(f"{name.replace('_', ' ')}: error of the prediction",
                       abs(getattr(predicted, name) / getattr(found, name) - 1), MAX_PREDICTION_ERROR)
                for name in PREDICTED]  # fmt: skip
    record = {"degree": predicted.degree, "modulus_bits": bits, "compile_seconds": compile_seconds,
              "measured": found, "predicted": predicted, "promises": promises}  # fmt: skip
    return record, found


def digits() -> dict[str, Any]:
    network = encrypted_networks.digits(**epochs())
    record, found = run(network, network.x[: FLAGS.samples])
    record["promises"] += [
        judged("ms per sample, 64 in a run", 1000 * found.run_seconds / 64, 2),
        judged("share of equal labels", found.same_label, 1, at_least=True),
    ]
    return record


def tutorial() -> dict[str, Any]:
    network = encrypted_networks.tutorial(**epochs())
    record, found = run(network, network.x[: FLAGS.samples])
    peer = theirs(network)
    record["peer"] = peer
    record["promises"] += [
        judged("CPU seconds a run", found.run_seconds, 0.7),
        judged("largest error", found.max_error, 1e-2),
        judged("share of equal labels", found.same_label, 1, at_least=True),
        judged("times as fast as TenSEAL, a run", peer["run_seconds"] / found.run_seconds, 5, at_least=True),
        judged("times as exact as TenSEAL", peer["max_error"] / found.max_error, 1000, at_least=True),
    ]
    return record


def theirs(network: encrypted_networks.Trained) -> dict[str, Any]:
    """TenSEAL's figures."""
    from gecko_jax import training

    logits = training.predict(network.model, network.variables, network.x[: FLAGS.samples])
    half = -(-FLAGS.peer_samples // 2)
    chosen = [*np.argsort(-np.abs(logits).max(1))[:half].tolist(), *range(FLAGS.peer_samples - half)]
    answer = tenseal_tutorial.build(network.variables)
    seconds, errors, same = [], [], []
    for row in chosen:
        start = time.process_time()
        output = answer(network.x[row, :, :, 0])
        seconds.append(time.process_time() - start)
        errors.append(float(np.abs(output - logits[row]).max()))
        same.append(bool(output.argmax() == logits[row].argmax()))
    record = {
        "examples": len(chosen),
        "samples": 1,
        "run_seconds": statistics.median(seconds),
        "max_error": max(errors),
        "max_error_of_first_examples": max(errors[half:], default=None),
        "same_label": float(np.mean(same)),
    }
    print("  TenSEAL's tutorial, measured:")
    for name, value in record.items():
        print(f"    {name.replace('_', ' ')}: {value}", flush=True)
    return record


def throughput() -> dict[str, Any]:
    network = encrypted_networks.tutorial(**epochs())
    x = np.resize(network.x[: FLAGS.samples], (4096, *network.x.shape[1:]))
    record, found = run(network, x, goal="throughput")
    record["promises"] += [
        judged("ms per sample, 4,096 in a run", 1000 * found.seconds_per_sample, 6),
        judged("largest error", found.max_error, 1e-2),
        judged("share of equal labels", found.same_label, 1, at_least=True),
    ]
    return record


def fashion() -> dict[str, Any]:
    network = encrypted_networks.fashion(**epochs())
    record, found = run(network, network.x[: min(FLAGS.samples, 200)], degree=16384)
    record["promises"].append(judged("share of equal labels", found.same_label, 1, at_least=True))
    return record


def epochs() -> dict[str, int]:
    return {"epochs": FLAGS.epochs} if FLAGS.epochs else {}


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.ERROR)
    extras.require("tenseal", "scripts.benchmarks.encrypted")
    record: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    record |= {name: importlib.metadata.version(name) for name in ("jax", "tenseal")}
    print(", ".join(f"{name} {value}" for name, value in record.items()), flush=True)
    for section in SECTIONS:
        if section in FLAGS.sections:
            print(f"\n{section}", flush=True)
            record[section] = {"digits": digits, "tutorial": tutorial, "throughput": throughput, "fashion": fashion}[
                section
            ]()
    if FLAGS.output:
        print(f"\nwritten: {files.write_atomic(FLAGS.output, json_values.dumps(record, indent=1) + chr(10))}")


if __name__ == "__main__":
    app.run(main)
