"""The student on ciphertexts: compiled, verified, and asked by a client of a server that holds no key."""

from __future__ import annotations

import math

import numpy as np

from experiments.he_friendly.config import Config
from experiments.he_friendly.methods import METHODS
from experiments.he_friendly.train import Trained
from gecko_jax import encrypted, reports
from gecko_jax.trees import take
from gecko_jax.types import Array, Dataset, Estimate

CERTIFIED_IMAGES = 500  # of each data set, whose ranges are measured

COLUMNS = (
    reports.Column("same", "Labels as in the clear", "%", 2, "high"),
    reports.Column("error", "Largest error of a logit", "", 6, "low"),
    reports.Column("logit", "Largest logit", "", 1),
    reports.Column("margin", "Range margin, test", "", 1, "high"),
    reports.Column("shifted_margin", "Range margin, shifted", "", 1, "high"),
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
    certificate = certify(program, data)
    predicted, verified = program.report(), program.verify(x)
    runs = math.ceil(len(x) / program.interface.samples)
    margins = certificate.margins
    figures = {
        "same": reports.percent(Estimate(verified.same_label, n=len(x))),
        "error": Estimate(verified.max_error, n=len(x)),
        "logit": Estimate(verified.largest_output, n=len(x)),
        "margin": Estimate(margins["test"], n=CERTIFIED_IMAGES),
        "shifted_margin": Estimate(min(margins.values()), n=CERTIFIED_IMAGES),
        "degree": Estimate(predicted.degree, kind="counted"),
        "modulus": Estimate(predicted.modulus_bits, kind="counted", unit="bit"),
        "samples": Estimate(program.interface.samples, kind="counted"),
        "predicted": Estimate(predicted.run_seconds + predicted.setup_seconds / runs, kind="modeled", unit="s"),
        "run": Estimate(verified.run_seconds / runs, unit="s", n=runs),
        "each": Estimate(1000 * verified.run_seconds / len(x), unit="ms", n=len(x)),
        "keys": Estimate(verified.key_bytes / 1e6, unit="MB"),
        "upload": Estimate(verified.input_bytes / 1000, unit="kB"),
        "download": Estimate(verified.output_bytes / 1000, unit="kB"),
    }
    first = slice(program.interface.samples)
    labels = ask(program, x[first])
    method = METHODS[trained.method]
    return reports.Study(
        title=f"The HE-friendly student on encrypted images of {data.name}",
        summary=f"The first model of the row {method.label!r}, compiled for CKKS at {predicted.security} bits of "
        f"security and run on {len(x)} encrypted test images by a server that holds evaluation keys and no secret "
        "key. Seconds are CPU seconds of one core; the encoding of the weights, which is done once, is shared by the "
        f"{runs} runs. A range margin is the headroom of a ciphertext over the largest value in it: below 1, it would "
        "wrap around. Shifted: the smallest of images that are brighter by half, offset, noisy or inverted. Clients "
        "clip to the training images' range.",
        rows=(reports.Row(method.label, figures, "", method.note),),
        columns=COLUMNS,
        notes=reports.Notes(
            headline="Encrypted predictions, by a server that holds no key that decrypts: "
            f"{np.sum(labels == y[first])} of {len(labels)} right; the first image is a "
            f"{labels[0]} (true label {y[0]}).",
            warnings=certificate.flags,
        ),
    )


def certify(program: encrypted.Program, data: Dataset) -> encrypted.Certificate:
    """Returns the range certificate of a program on training, test and shifted test images.

    Args:
      program: the compiled network.
      data: the data set.
    """
    train, test = (np.asarray(part.x[:CERTIFIED_IMAGES]) for part in (data.train, data.test))
    box = tuple(
        side.reshape(program.interface.input_shape) for side in (program.interface.box_low, program.interface.box_high)
    )
    images = {"train": train, "test": test, **encrypted.shifted(test)}
    return encrypted.certify(program.circuit, images, [each.bound for each in program.ranges], box)


def ask(program: encrypted.Program, x: Array) -> np.ndarray:
    """Asks a server about images: only bytes pass between the two, and the secret key stays with the client.

    Args:
      program: the compiled network.
      x: images [b, ...], at most those of one run.

    Returns:
      The labels, int64 [b]: all that leaves the client.
    """
    server = encrypted.Server(program)
    client = encrypted.Client.from_bytes(server.interface())
    server.add_keys(client.evaluation_keys())
    question = client.encrypt(x)
    return client.labels(server.answer(question), question)
