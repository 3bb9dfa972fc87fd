"""Trains one network of any combination and saves it.

    python scripts/train.py --weights=xnor --inputs=xnor_input --order=xnor --output=runs/xnor
    python scripts/train.py --weights=int8 --inputs=int8_input --float_layers=none --memory=sram_32kB
    python scripts/train.py --loss=symmetric_cross_entropy --teacher=lenet --models=8
    python scripts/train.py --clipping=flat --epsilon=8 --learning_rate=0.02 --epochs=10
    python scripts/train.py --help

With --clipping each model is trained privately: DP-Adam, or DP-SGD with --optimizer=sgd. The epsilon that is printed
is each model's by itself. It covers the parameters, not the losses and the memberships that are saved beside them.
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags, trains, saves, and prints what came out."""
    with command.reported("train"):
        _main(argv)


def _main(argv: list[str] | None) -> None:
    from experiments import flags  # imported here, so that Ctrl-C while JAX is loaded ends as it does later
    from experiments.one_model import Config, train
    from gecko_jax import costs, datasets, metrics, training
    from gecko_jax.trees import take

    config = flags.parse(flags.define(Config, {"default": Config()}), argv)
    data = datasets.load(config.dataset, config.data_dir)
    saved = train(config, data)
    logits = training.predict_ensemble(saved.model, saved.variables, data.test.x)
    accuracy = [100 * metrics.accuracy(row, data.test.y) for row in logits]
    print(f"test accuracy %: {', '.join(f'{value:.2f}' for value in accuracy)}")
    if saved.privacy:
        print(f"noise multiplier {saved.privacy.noise_multiplier:.4g}; {saved.privacy.epsilon}")
        if saved.privacy.warning:
            print(f"WARNING: {saved.privacy.warning}")
    print(costs.cost(saved.model, take(saved.variables, 0), data.test.x[:1], config.memory).table())
    print(f"saved in {Path(config.output)}; next: python scripts/audit.py --model={config.output}")


if __name__ == "__main__":
    main()
