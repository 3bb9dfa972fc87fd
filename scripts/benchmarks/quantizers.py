"""What each quantization scheme costs in accuracy on the digits, at 8 and 4 bits, trained so and rounded afterwards.

    python -m scripts.benchmarks.quantizers [--schemes=int,lsq] [--seeds=3] [--epochs=25]

A multilayer perceptron 64-64-64-10, all of its layers quantized, weights and inputs. The mean over seeds stands beside
the float network's, and the schemes are promised to stay within one percentage point of it.
"""

from __future__ import annotations

import jax
import numpy as np
import optax
from absl import app, flags

from experiments import command
from gecko_jax import datasets, models, quantizers, training
from gecko_jax.types import Dataset, Model, Variables

PROMISED_POINTS = 1.0
CALIBRATION_ROWS = 512
SCHEMES = {  # name -> (bits) -> (quantizer of weights, of inputs)
    "dorefa": lambda bits: (quantizers.dorefa(bits), quantizers.dorefa_input(bits)),
    "pact": lambda bits: (quantizers.dorefa(bits), quantizers.pact(bits)),
    "lsq": lambda bits: (quantizers.lsq(bits), quantizers.lsq_input(bits)),
    "lsq_plus": lambda bits: (quantizers.lsq_plus(bits), quantizers.lsq_plus_input(bits)),
    "int": lambda bits: (
        (quantizers.int8(), quantizers.int8_input()) if bits == 8 else (quantizers.int4(), quantizers.int4_input())
    ),
    "ttq": lambda bits: (quantizers.ttq(), quantizers.int8_input() if bits == 8 else quantizers.int4_input()),
}
ROUNDED = {"8": (8, True), "4": (4, False), "2": (2, False), "1.58": (2, True)}  # bits -> (bits, narrow) of lsq

flags.DEFINE_list("schemes", [*SCHEMES, "rounded"], "Which schemes; rounded: post-training quantization.")
flags.DEFINE_integer("seeds", 3, "Networks trained of each.", lower_bound=1)
flags.DEFINE_integer("epochs", 25, "Of each training.", lower_bound=1)
FLAGS = flags.FLAGS


def trained(model: Model, data: Dataset, seed: int) -> Variables:
    options = dict(epochs=FLAGS.epochs, batch_size=64, optimizer=optax.adam(2e-3))
    return training.fit(model, data.train, seed=seed, **options).variables


def percent_correct(model: Model, variables: Variables, data: Dataset) -> float:
    logits = jax.jit(lambda variables, x: model.apply(variables, x)[0])(variables, data.test.x)
    return 100 * float((np.asarray(logits).argmax(-1) == data.test.y).mean())


def rounded_afterwards(network: Model, nets: list[Variables], data: Dataset) -> dict[str, list[float]]:
    """{how: accuracy of each network} of weights rounded to nearest, and by reconstruction; inputs of 8 bits."""
    table: dict[str, list[float]] = {}
    x = data.train.x[:CALIBRATION_ROWS]
    for name, (bits, narrow) in ROUNDED.items():
        weights = quantizers.lsq(bits, per_channel=True, narrow=narrow, start="mse")
        model = models.quantized(network, [("", weights, quantizers.int8_input())], float_layers=())
        for variables in nets:
            nearest = models.calibrate(model, variables, x)
            layers, block = (models.reconstruct(model, nearest, x, blocks) for blocks in (None, [""]))
            for how, each in (("nearest", nearest), ("layer by layer", layers), ("one block", block)):
                table.setdefault(f"{name} bits, {how}", []).append(percent_correct(model, each, data))
    return table


def main(argv):
    del argv
    data, network = datasets.load("digits"), models.create("mlp", 10, hidden=(64, 64))
    nets = [trained(network, data, seed) for seed in range(FLAGS.seeds)]
    reference = float(np.mean([percent_correct(network, variables, data) for variables in nets]))
    print(f"float {reference:.2f} % correct, means of {FLAGS.seeds} seeds, jax {jax.__version__}")
    for name in FLAGS.schemes:
        if name == "rounded":
            for how, percents in rounded_afterwards(network, nets, data).items():
                print(f"  {how:24}{np.mean(percents):7.2f} %", flush=True)
            continue
        for bits in (8, 4):
            model = models.quantized(network, [("", *SCHEMES[name](bits))], float_layers=())
            percents = [percent_correct(model, trained(model, data, seed), data) for seed in range(FLAGS.seeds)]
            met = "met" if np.mean(percents) > reference - PROMISED_POINTS else "NOT MET"
            print(f"  {name:12}{bits} bits  {np.mean(percents):7.2f} %, promised within 1 point: {met}", flush=True)


if __name__ == "__main__":
    command.absl_main("benchmarks.quantizers", lambda: app.run(main))
