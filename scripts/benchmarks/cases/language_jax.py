"""The language model of scripts.benchmarks.fine_tuning with gecko_jax: plain and private gradients, and whole fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.models import fine_tuning
from gecko_jax.trees import named_leaves, select_leaves, trainable_leaves
from gecko_jax.types import Batch, Examples, Model

CLIP_NORM = 1.0
NOISE_MULTIPLIER = 1.0
LEARNING_RATE = 1e-3
LOSS = losses.sequence_cross_entropy(padding=-1)


class Settings(NamedTuple):
    """A language model and what of it is trained.

    Attributes:
      length: tokens of a row, all of which are read; each has a next one.
      tied: whether the head's table is the embedding's.
      rank: of low-rank factors beside the query and value layers; 0 to train all parameters.
      alpha: their scale times the rank.
    """

    vocabulary: int = 2048
    layers: int = 4
    width: int = 128
    heads: int = 4
    length: int = 64
    tied: bool = False
    rank: int = 0
    alpha: float = 16.0


SETTINGS = {"full": Settings(), "full, tied head": Settings(tied=True), "LoRA": Settings(rank=8)}


class Case(NamedTuple):
    """Attributes:
    settings: what it was made of.
    model: tuned.
    variables: none at a value, such as 0, that would hide a gradient.
    batch: rows of weight 1.
    trainable: expressions of the trained parameters; None for all.
    """

    settings: Settings
    model: Model
    variables: Any
    batch: Batch
    trainable: tuple[str, ...] | None

    def trained(self, tree: Any) -> Any:
        """Returns the trained leaves of a tree of parameters."""
        return select_leaves(tree, trainable_leaves(self.variables["params"], self.trainable))

    def trained_paths(self) -> list[str]:
        """Returns the paths of the trained leaves, in the tree's order."""
        return [path for path, _ in named_leaves(self.trained(self.variables["params"]))]

    def start(self) -> dict[str, np.ndarray]:
        """Returns all parameters by path."""
        return {path: np.asarray(leaf) for path, leaf in named_leaves(self.variables["params"])}


def make(settings: Settings, rows: int) -> Case:
    s = settings
    base = models.create(
        "transformer", s.vocabulary, layers=s.layers, width=s.width, heads=s.heads, max_length=s.length, tied=s.tied
    )
    method = fine_tuning.lora(s.rank, alpha=s.alpha) if s.rank else fine_tuning.full()
    model, draws = method.apply(base), np.random.default_rng(0)
    x = draws.integers(1, s.vocabulary, (rows, s.length)).astype(np.int32)
    y = draws.integers(1, s.vocabulary, (rows, s.length)).astype(np.int32)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.asarray(x[:1]))
    variables = jax.tree.map(lambda leaf: leaf + 0.02 * draws.standard_normal(leaf.shape, np.float32), variables)
    batch = jax.tree.map(jnp.asarray, Batch(x, y, np.ones(rows, np.float32)))
    return Case(s, model, variables, batch, method.trainable)


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def one_by_one(case: Case) -> np.ndarray:
    """The oracle: one gradient after another, clipped and summed by NumPy in double precision."""
    of_one = privacy.example_loss(case.model, LOSS)
    one = jax.jit(jax.grad(lambda params, example: of_one({**case.variables, "params": params}, example)[0]))
    total = 0.0
    for row in range(len(case.batch.weight)):
        gradient = flat(case.trained(one(case.variables["params"], jax.tree.map(lambda leaf: leaf[row], case.batch))))  # noqa: B023
        total = total + gradient * min(1.0, CLIP_NORM / max(float(np.linalg.norm(gradient)), 1e-30))
    return total


def runner(case: Case, gradients: Callable[..., Any]) -> Callable[[], Any]:
    arguments = (case.variables, case.batch, jax.random.key(1))
    program = jax.jit(lambda *each: case.trained(gradients(*each)[0])).lower(*arguments).compile()
    return lambda: jax.block_until_ready(program(*arguments))


def private(case: Case, noise_multiplier: float, method: str = "auto") -> Callable[..., Any]:
    noise = {} if noise_multiplier else {"noise": lambda key, tree, std: jax.tree.map(jnp.zeros_like, tree)}
    of_one, rule = privacy.example_loss(case.model, LOSS), clippings.flat(CLIP_NORM)
    return privacy.private_gradients(
        of_one, rule, noise_multiplier, len(case.batch.weight), method=method, trainable=case.trainable, **noise
    )


def ways(case: Case) -> Mapping[tuple[str, str], Callable[[], Any]]:
    """{(side, way): compile -> run}, the plain step first."""
    steps = {
        ("JAX", "plain"): lambda: training.batch_gradients(case.model, LOSS, case.trainable),
        ("ours", "clipped"): lambda: private(case, 0.0),
        ("ours", "clipped, with noise"): lambda: private(case, NOISE_MULTIPLIER),
        ("ours", "vmap"): lambda: private(case, 0.0, "vmap"),
    }
    return {key: lambda make=make: runner(case, make()) for key, make in steps.items()}


def examples(case: Case, steps: int) -> Examples:
    """`steps` batches of random tokens."""
    draws, shape = np.random.default_rng(1), (steps * len(case.batch.weight), case.settings.length)
    x, y = (draws.integers(1, case.settings.vocabulary, shape).astype(np.int32) for _ in range(2))
    return Examples(x, y, np.arange(shape[0]))


def whole_fit(case: Case, data: Examples) -> Callable[[], Any]:
    """One epoch by `training.fit` with Adam."""
    init = jax.tree.map(np.asarray, case.variables)
    adam = training.optimizer("adam", LEARNING_RATE)
    settings = {"epochs": 1, "batch_size": len(case.batch.weight), "optimizer": adam, "trainable": case.trainable}
    return lambda: training.fit(case.model, data, loss=LOSS, init=init, seed=0, **settings)
