"""The student on ciphertexts: compiled, verified, and asked by a client of a server that holds no key."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments.he_friendly.config import Config
from experiments.he_friendly.methods import METHODS
from experiments.he_friendly.train import Trained
from gecko_jax import encrypted, metrics, reports
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Estimate

COLUMNS = (
    reports.Column("macro_f1", "Macro-F1, encrypted", "%", 2, "high"),
    reports.Column("same", "Labels as in the clear", "%", 2, "high"),
    reports.Column("error", "Largest error of a logit", "", 6, "low"),
    reports.Column("logit", "Largest logit", "", 1),
    reports.Column("degree", "N", "", 0, "low"),
    reports.Column("modulus", "log₂ QP", "bit", 0, "low"),
    reports.Column("samples", "Images a run", "", 0, "high"),
    reports.Column("predicted", "Predicted run", "s", 3, "low"),
    reports.Column("run", "Server's run", "s", 3, "low"),
    reports.Column("each", "Server, an image", "ms", 2, "low"),
    reports.Column("keys", "Evaluation keys", "MB", 1, "low"),
    reports.Column("upload", "Upload", "kB", 0, "low"),
    reports.Column("download", "Download", "kB", 0, "low"),
)


def study(config: Config, trained: Trained, data: Dataset) -> reports.Study:
    """Compiles the first model of a row, asks a server about test images under encryption, and returns the table.

    Args:
      config: the settings.
      trained: the row of the student.
      data: the data set. The training images' range is the box that clients clip to.
    """
    if trained.variables is None:
        raise ValueError(f"The student was not trained, and there is nothing to encrypt: {trained.failure}")
    x, y = data.test.x[: config.samples], np.asarray(data.test.y[: config.samples])
    program = encrypted.compile(trained.model, take(trained.variables, 0), data.train.x)
    predicted, checked = program.report(), program.verify(x)
    labels, client_says = ask(program, x)
    runs = math.ceil(len(x) / program.interface.samples)
    figures = {
        "macro_f1": reports.percent(Estimate(float(metrics.macro_f1(np.eye(data.num_classes)[labels], y)), n=len(x))),
        "same": reports.percent(Estimate(checked.same_label, n=len(x))),
        "error": Estimate(checked.max_error, n=len(x)),
        "logit": Estimate(checked.largest_output, n=len(x)),
        "degree": Estimate(predicted.degree, kind="counted"),
        "modulus": Estimate(predicted.modulus_bits, kind="counted", unit="bit"),
        "samples": Estimate(program.interface.samples, kind="counted"),
        "predicted": Estimate(predicted.run_seconds, kind="modeled", unit="s"),
        "run": Estimate(checked.run_seconds / runs, unit="s", n=runs),
        "each": Estimate(1000 * checked.run_seconds / len(x), unit="ms", n=len(x)),
        "keys": Estimate(checked.key_bytes / 1e6, kind="counted", unit="MB"),
        "upload": Estimate(checked.input_bytes / 1000, kind="counted", unit="kB"),
        "download": Estimate(checked.output_bytes / 1000, kind="counted", unit="kB"),
    }
    method = METHODS[trained.method]
    return reports.Study(
        title=f"The HE-friendly student on encrypted images of {data.name}",
        summary=f"The first model of the row {method.label!r}, compiled for CKKS at {predicted.security} bits of "
        f"security and run on {len(x)} encrypted test images by a server that holds evaluation keys and no secret "
        "key. Seconds are CPU seconds of one core.",
        rows=(reports.Row(method.label, figures, "", method.note),),
        columns=COLUMNS,
        notes=reports.Notes(headline=client_says(y)),
    )


def ask(program: Any, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """Asks a server about images: only bytes pass between the two, and the secret key stays with the client.

    Args:
      program: the compiled network.
      x: images [b, ...].

    Returns:
      (labels int64 [b], true labels -> the sentence that the client can say).
    """
    server = encrypted.Server(program)
    client = encrypted.Client.from_bytes(server.interface())
    server.add_keys(client.evaluation_keys())
    labels, per_run = [], program.interface.samples
    for start in range(0, len(x), per_run):
        question = client.encrypt(x[start : start + per_run])
        labels.append(client.labels(server.answer(question), question))
    labels = np.concatenate(labels)

    def says(y: np.ndarray) -> str:
        return (
            f"Encrypted predictions, by a server that holds no key that decrypts: {np.sum(labels == y)} of {len(y)} "
            f"right; the first image is a {labels[0]} (true label {y[0]})."
        )

    return labels, says
