"""Random Flax modules that an integer network can compute: each seed another one, with random statistics."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import numpy as np

from gecko_jax import models, quantizers

RULES = [
    [],
    [(".*", quantizers.ternary(), None)],
    [("Conv|Dense", quantizers.uniform(4), quantizers.uniform(5, 3.0))],
    [("Conv|Dense", quantizers.binary(), quantizers.binary())],
    [("Conv", quantizers.xnor(), quantizers.xnor_input())],
]


class RandomNetwork(nn.Module):
    """Blocks of what `draws` says."""

    draws: Sequence[dict]

    @nn.compact
    def __call__(self, x):
        for draw in self.draws:
            y = nn.Conv(**draw["conv"])(x)
            if draw["pool"] == "first":
                y = nn.max_pool(y, (2, 2), (1, 2), "SAME")
            if draw["norm"]:
                y = nn.BatchNorm(use_running_average=True)(y)
            if draw["residual"] and y.shape == x.shape:
                y = y + x
            y = {"relu": nn.relu, "relu6": nn.relu6, "none": lambda y: y}[draw["activation"]](y)
            if draw["pool"] == "max":
                y = nn.max_pool(y, (2, 2), (2, 2))
            if draw["pool"] == "average":
                y = nn.avg_pool(y, (3, 2), (2, 2), "SAME", count_include_pad=draw["norm"])
            if draw["pool"] == "sliced":
                y = models.pooling.average_pool(y, 2, 1)
            x = y
        x = x.mean((1, 2)) if len(self.draws) % 2 else x.reshape(len(x), -1)
        return nn.Dense(5)(x)


def random_network(seed: int, rules: int | None = None):
    """Returns (model, variables, x [24, 9, 8, 4])."""
    rng = np.random.default_rng(seed)
    draws, channels = [], 4
    for _ in range(rng.integers(1, 4)):
        features = int(rng.choice([channels, 4, 8]))
        groups = int(rng.choice([1, 1, 2, channels])) if features % channels == 0 else 1
        size = tuple(int(each) for each in rng.integers(1, 4, 2))
        dilation, strides = (2, 1) if rng.random() < 0.2 else (1, 1), tuple(int(e) for e in rng.integers(1, 3, 2))
        conv = dict(features=features, kernel_size=size, strides=strides, kernel_dilation=dilation)
        conv |= dict(padding="SAME", feature_group_count=groups, use_bias=bool(rng.random() < 0.5))
        pool = str(rng.choice(["no", "first", "max", "average", "sliced"]))
        residual, norm = bool(rng.random() < 0.5), bool(rng.random() < 0.6)
        if residual:
            conv |= dict(strides=(1, 1))
        activation = str(rng.choice(["relu", "relu6", "none"]))
        draws.append(dict(conv=conv, pool=pool, norm=norm, residual=residual, activation=activation))
        channels = features
    model = models.from_linen(RandomNetwork(draws))
    x = rng.normal(size=(24, 9, 8, 4)).astype(np.float32) * 2
    variables = jax.jit(model.init)(jax.random.key(seed), x[:1])
    variables = jax.tree_util.tree_map_with_path(lambda path, leaf: shaken(rng, str(path[-1].key), leaf), variables)
    chosen = RULES[seed % len(RULES) if rules is None else rules]
    return (models.quantized(model, chosen, float_layers=()) if chosen else model), variables, x


def shaken(rng, name, leaf):
    """A leaf with noise: scales of BatchNorm that are negative, variances that are not 1."""
    if name == "kernel":
        return leaf
    noise = {"scale": rng.choice([-1.0, 0.0], leaf.shape, p=[0.3, 0.7]) * 2, "var": rng.uniform(-0.5, 3, leaf.shape)}
    return leaf + noise.get(name, rng.normal(size=leaf.shape) / 2).astype(np.float32)
