"""A private run without a seed that a test kills: a checkpoint after each epoch, in the folder of the command line."""

import sys

import numpy as np

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.types import Examples

EPOCHS = 40


def train(folder):
    """DP-Adam with an adaptive clip norm, whose noised count is a second draw on each step's key."""
    rng = np.random.default_rng(0)
    data = Examples(rng.normal(size=(30, 6)).astype(np.float32), rng.integers(0, 3, 30).astype(np.int32), np.arange(30))
    model = models.create("mlp", 3, hidden=(4,))
    private = privacy.private_training(
        model, losses.cross_entropy(), clippings.quantile(1.0), n=30, batch_size=10, epochs=EPOCHS, delta=1e-3,
        noise_multiplier=1.0,
    )  # fmt: skip
    return training.fit(private.model, data, folder=folder, **private.options)


if __name__ == "__main__":
    training.ensemble.CHECKPOINT_INTERVAL_SECONDS = 0
    train(sys.argv[1])
