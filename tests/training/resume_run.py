"""A run that a test kills: trains with a checkpoint after each epoch, in the folder that the command line names."""

import sys

import jax
import numpy as np

from gecko_jax import models, training
from gecko_jax.types import Examples

EPOCHS = 40


def train(folder, epochs=EPOCHS):
    """Two models with all that a state can hold: BatchNorm's statistics, Adam's moments, a transition, a schedule."""
    rng = np.random.default_rng(0)
    data = Examples(rng.normal(size=(30, 6)).astype(np.float32), rng.integers(0, 3, 30).astype(np.int32), np.arange(30))
    member = np.stack([np.arange(30) < 24, np.arange(30) >= 12])
    model = models.create("mlp", 3, hidden=(4,), normalize=True, activation="quadratic")
    start = jax.eval_shape(model.init, jax.random.key(0), data.x[:1])
    start = jax.tree.map(lambda leaf: rng.uniform(0.1, 0.5, (2, *leaf.shape)).astype(np.float32), start)
    return training.fit_ensemble(
        model, data, member, epochs=epochs, batch_size=8, init=start, 
        schedules={"learning_rate": training.cosine, "transition": training.linear(5 / epochs, 30 / epochs)},
        optimizer=training.optimizer("adam", 0.01), folder=folder,
    )  # fmt: skip


if __name__ == "__main__":
    training.ensemble.CHECKPOINT_INTERVAL_SECONDS = 0
    train(sys.argv[1])
