"""Random Linen modules out of every kind of layer, each weight with the axes that it was built with: no library code.

A module is a chain of pieces, each [b, T, D] -> [b, T, D]. Lengths coincide on purpose (a scan over D layers of D x D),
so that no axis can be told by its length.
"""

from __future__ import annotations

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

T, D, HEADS = 3, 4, 2
PARAMS = {"params": True}


class Residual(nn.Module):
    """The body of a loop: two dense layers."""

    @nn.compact
    def __call__(self, x, _=None):
        return x + nn.Dense(D)(nn.tanh(nn.Dense(D)(x))), None


class Tied(nn.Module):
    @nn.compact
    def __call__(self, x):
        table = nn.Embed(D, D, name="table")
        return table.attend(x + table(jnp.argmax(x, -1)))


class Bare(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x @ self.param("bare", nn.initializers.lecun_normal(), (D, D))


class Heads(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.DenseGeneral((HEADS, D), axis=-1, name="split")(x)
        return nn.DenseGeneral(D, axis=(-2, -1), name="join")(nn.tanh(x))


class Positions(nn.Module):
    """Another dense layer for each of the T positions, by the layer's own batch axis."""

    @nn.compact
    def __call__(self, x):
        return jnp.moveaxis(nn.DenseGeneral(D, batch_dims=0)(jnp.moveaxis(x, 1, 0)), 0, 1)


class Transposed(nn.Module):
    """A dense layer whose weight is stored [outputs, inputs]."""

    @nn.compact
    def __call__(self, x):
        def turn(tree):
            return {"params": {name: w.T for name, w in tree.get("params", {}).items()}}

        start = self.is_initializing()
        layer = nn.map_variables(nn.Dense, "params", turn, turn, init=start, mutable=start)
        return layer(D, name="layer")(x)


class Recurrent(nn.Module):
    cell: type[nn.Module]

    @nn.compact
    def __call__(self, x):
        return nn.RNN(self.cell(D))(x)


class Shared(nn.Module):
    @nn.compact
    def __call__(self, x):
        layer = nn.Dense(D)
        return layer(nn.tanh(layer(x)))


def scanned(axis, length=D, body=Residual, **options):
    lifted = nn.scan(body, variable_axes={"params": axis}, split_rngs=PARAMS, length=length, **options)
    return lambda name: (lambda x: lifted(name=name)(x, None)[0])


def mapped(layer, axis, **options):
    """Another layer for each of the T positions."""
    lifted = nn.vmap(layer, variable_axes={"params": axis}, split_rngs=PARAMS, in_axes=1, out_axes=1)
    return lambda name: lifted(name=name, **options)


def recurrent(cell):
    return lambda name: Recurrent(cell, name=name)


LAST = {"kernel": ((), (-1,))}  # every weight by its leaf's path: (axes of the layers, axes of the outputs)
# name -> (name of the piece -> a function of x, {regular expression in a leaf's path: (layer axes, output axes)})
PIECES = {
    "dense": (lambda name: nn.Dense(D, name=name), LAST),
    "heads": (
        lambda name: Heads(name=name),
        {"split/kernel": ((), (1, 2)), "join/kernel": ((), (2,))},
    ),
    "batch_dims": (lambda name: Positions(name=name), {"kernel": ((0,), (2,))}),
    "attention": (
        lambda name: nn.MultiHeadDotProductAttention(HEADS, qkv_features=2 * D, out_features=D, name=name),
        {"(query|key|value)/kernel": ((), (1, 2)), "out/kernel": ((), (2,))},
    ),
    "einsum": (
        lambda name: nn.Einsum((D, HEADS, D), "btd,ehd->bte", use_bias=False, name=name),
        {"kernel": ((), (0,))},
    ),
    "grouped": (lambda name: nn.Conv(D, (3,), feature_group_count=2, name=name), LAST),
    "depthwise": (lambda name: nn.Conv(D, (3,), feature_group_count=D, name=name), LAST),
    "local": (lambda name: nn.ConvLocal(D, (3,), name=name), {"kernel": ((0,), (2,))}),
    "transposed": (lambda name: nn.ConvTranspose(D, (3,), name=name), LAST),
    "transposed_kernel": (
        lambda name: nn.ConvTranspose(D, (3,), transpose_kernel=True, name=name),
        {"kernel": ((), (1,))},
    ),
    "scan": (scanned(0), {"kernel": ((0,), (2,))}),
    "scan_axis_1": (scanned(1), {"kernel": ((1,), (2,))}),
    "scan_last_axis": (scanned(-1), {"kernel": ((2,), (1,))}),
    "scan_of_remat": (scanned(0, body=nn.remat(Residual)), {"kernel": ((0,), (2,))}),
    "vmap": (mapped(nn.Dense, 0, features=D), {"kernel": ((0,), (2,))}),
    "vmap_axis_1": (mapped(nn.Dense, 1, features=D), {"kernel": ((1,), (2,))}),
    "vmap_of_heads": (
        mapped(Heads, 1),
        {"split/kernel": ((1,), (2, 3)), "join/kernel": ((1,), (3,))},
    ),
    "stored_transposed": (lambda name: Transposed(name=name), {"kernel": ((), (0,))}),
    "remat": (lambda name: nn.remat(nn.Dense)(D, name=name), LAST),
    "jit": (lambda name: nn.jit(Shared)(name=name), LAST),
    "shared": (lambda name: Shared(name=name), LAST),
    "rnn": (recurrent(nn.SimpleCell), LAST),
    "gru": (recurrent(nn.GRUCell), LAST),
    "lstm": (recurrent(nn.LSTMCell), LAST),
    "optimized_lstm": (recurrent(nn.OptimizedLSTMCell), {}),  # its gates give away their kernels: they stay in float
    "tied": (lambda name: Tied(name=name), {"embedding": ((), (1,))}),
    "bare": (lambda name: Bare(name=name), {}),
}


class Generated(nn.Module):
    """A chain of pieces between two dense layers, the last of which gives D logits."""

    pieces: tuple[str, ...]

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(D, name="enter")(x)
        for i, piece in enumerate(self.pieces):
            x = nn.tanh(PIECES[piece][0](f"piece{i}_{piece}")(x))
        return nn.Dense(D, name="leave")(x.mean(1))


def generated(seed: int, most: int = 3) -> tuple[Generated, jax.Array]:
    """A module of 1 to `most` different pieces, and a batch of inputs [2, T, D]."""
    rng = np.random.default_rng(seed)
    pieces = rng.choice(sorted(PIECES), rng.integers(1, most + 1), replace=False)
    return Generated(tuple(str(piece) for piece in pieces)), jnp.asarray(rng.normal(size=(2, T, D)), jnp.float32)


def axes_of(module: Generated, path: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(axes of the layers, axes of the outputs) of the weight at `path` ("piece0_scan/Dense_0/kernel"), or None."""
    root = path.split("/")[0]
    table = LAST if root in ("enter", "leave") else PIECES[root.split("_", 1)[1]][1]
    return next((axes for pattern, axes in table.items() if re.search(pattern + "$", path)), None)
