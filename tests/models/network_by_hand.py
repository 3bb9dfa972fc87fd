"""A network of blocks in NumPy: what the tests of architectures compare with. No line of the library."""

from __future__ import annotations

import numpy as np
from by_hand import convolve, same
from flax import traverse_util


class ByHand:
    """A network in NumPy, in float64, from the variables of the model; it notes which of them it reads."""

    def __init__(self, variables, order, border="even"):
        self.variables, self.order, self.border, self.read = variables, order, border, set()

    def leaf(self, path, collection="params"):
        self.read.add((collection, *path.split("/")))
        tree = self.variables[collection]
        for part in path.split("/"):
            tree = tree[part]
        return np.asarray(tree, np.float64)

    def norm(self, h, path):
        mean, var = self.leaf(f"{path}/mean", "batch_stats"), self.leaf(f"{path}/var", "batch_stats")
        return (h - mean) / np.sqrt(var + 1e-4) * self.leaf(f"{path}/scale") + self.leaf(f"{path}/bias")

    def layer(self, h, path, stride=1, groups=1):
        kernel = self.leaf(f"{path}/kernel")
        if kernel.ndim == 2:
            return h @ kernel + self.leaf(f"{path}/bias")
        pads = [(len(kernel) // 2,) * 2] * 2
        if self.border == "same":
            pads = [same(length, window, stride) for length, window in zip(h.shape[1:], kernel.shape[:2], strict=False)]
        parts = zip(np.split(h, groups, -1), np.split(kernel, groups, -1), strict=True)
        y = np.concatenate([convolve(x, k, (stride, stride), pads, 0) for x, k in parts], -1)
        biased = ("params", *path.split("/"), "bias") in traverse_util.flatten_dict(self.variables)
        return y + (self.leaf(f"{path}/bias") if biased else 0)

    def block(self, h, path, block, pool=lambda h: h, act=lambda h: np.maximum(h, 0), first=False, **options):
        if self.order == "xnor":
            h = h if first else self.norm(h, f"{block}/BatchNorm_0")
            return pool(act(self.layer(h, path, **options)))
        return act(self.norm(pool(self.layer(h, path, **options)), f"{block}/BatchNorm_0"))

    def end(self, h):
        return self.norm(h, "BatchNorm_0") if self.order == "xnor" else h
