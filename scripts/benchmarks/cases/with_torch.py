"""The models of scripts.benchmarks.private in PyTorch, and the ways of Opacus to a clipped step.

The architectures are those of with_jax.py; what Opacus refuses is replaced as Opacus says: its own attention
layer, and a table for the positions in the place of a bare parameter. The plain step is of the same network. A way is
a function without arguments that returns `run`; `run()` does one step and waits for its end.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from opacus.grad_sample import prepare_module
from opacus.layers import DPMultiheadAttention
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn

warnings.filterwarnings("ignore", module="(torch|opacus|scripts.benchmarks)")  # of hooks, at every way's first step
CLIP_NORM = 1.0
RATE = 0.1
PEER = "Opacus"
MODES = {  # name: (grad_sample_mode, its options)
    "hooks": ("hooks", {}),
    "functorch": ("functorch", {}),
    "expanded weights": ("ew", {}),
    "ghost": ("ghost", {"max_grad_norm": CLIP_NORM}),
    "fast gradient": ("ghost", {"max_grad_norm": CLIP_NORM, "use_ghost_clipping": False}),
}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def cnn() -> nn.Module:
    first = (nn.Conv2d(1, 16, 8, stride=2, padding=2), nn.Tanh(), nn.MaxPool2d(2, 1))
    second = (nn.Conv2d(16, 32, 4, stride=2), nn.Tanh(), nn.MaxPool2d(2, 1))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(512, 32), nn.Tanh(), nn.Linear(32, 10))


class TransformerBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = nn.LayerNorm(128), nn.LayerNorm(128)
        self.attention = DPMultiheadAttention(128, 4, batch_first=True)
        self.up, self.down = nn.Linear(128, 512), nn.Linear(512, 128)

    def forward(self, x):
        y = self.before(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.down(nn.functional.gelu(self.up(self.after(x)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(1000, 128), nn.Embedding(64, 128)
        self.blocks = nn.Sequential(*(TransformerBlock() for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, 10)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device).repeat(len(tokens), 1)
        x = self.blocks(self.tokens(tokens) + self.places(places))
        return self.head(self.norm(x).mean(1))


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, first):
        super().__init__()
        self.before, self.after = nn.GroupNorm(16, inputs), nn.GroupNorm(16, outputs)
        self.one, self.two = conv(inputs, outputs, stride=stride), conv(outputs, outputs)
        self.short = conv(inputs, outputs, 1, stride) if first else None

    def forward(self, x):
        y = torch.relu(self.before(x))
        short = x if self.short is None else self.short(y)
        return short + self.two(torch.relu(self.after(self.one(y))))


class WideResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, inputs, blocks = conv(3, 16), 16, []
        for group, width in enumerate((64, 128, 256)):
            for block in range(2):
                blocks.append(ResidualBlock(inputs, width, 2 if group and not block else 1, block == 0))
                inputs = width
        self.blocks, self.norm, self.head = nn.Sequential(*blocks), nn.GroupNorm(16, 256), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.blocks(self.stem(x)))).mean((2, 3)))


MODELS = {"MLP": mlp, "CNN": cnn, "transformer": Transformer, "WRN-16-4": WideResNet}


class Case:
    """One model and its batch on a device; every way trains a copy of the same start."""

    def __init__(self, name: str, x: np.ndarray, y: np.ndarray, device: str):
        self.name, self.device = name, device
        x = torch.from_numpy(x)
        if x.dim() == 4:
            # A copy, for with one channel .contiguous() keeps the strides of NHWC, at which Opacus' hooks sum wrongly.
            x = torch.empty(len(x), *(x.shape[axis] for axis in (3, 1, 2))).copy_(x.permute(0, 3, 1, 2))
        self.x = (x.long() if x.dtype == torch.int32 else x).to(device)
        self.y = torch.from_numpy(y).long().to(device)

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return MODELS[self.name]().to(self.device)

    def wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()


def flat(tensors: list[Any]) -> np.ndarray:
    return np.concatenate([tensor.detach().double().cpu().numpy().ravel() for tensor in tensors])


def set_format(exact: bool) -> None:
    """Multiplies in float32, or in TF32 on a card that has it; convolutions have a setting of their own."""
    torch.set_float32_matmul_precision("highest" if exact else "high")
    torch.backends.cudnn.allow_tf32 = not exact


@contextlib.contextmanager
def exactly():
    """A block in which products and convolutions are in float32."""
    before = torch.get_float32_matmul_precision() == "highest"
    set_format(exact=True)
    try:
        yield
    finally:
        set_format(before)


def plain(case: Case, update: bool) -> Callable[[], list[Any]]:
    model, loss = case.model(), nn.CrossEntropyLoss()
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, RATE)

    def run():
        optimizer.zero_grad()
        loss(model(case.x), case.y).backward()
        gradients = [p.grad for p in parameters]
        if update:
            optimizer.step()
        case.wait()
        return gradients

    return run


@exactly()
def naive(case: Case) -> list[Any]:
    """The oracle: one backward pass an example in float32, clipped, summed."""
    model, loss = case.model(), nn.CrossEntropyLoss()
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for row in range(len(case.y)):
        gradient = torch.autograd.grad(loss(model(case.x[row : row + 1]), case.y[row : row + 1]), parameters)
        norm = torch.sqrt(sum((each.double() ** 2).sum() for each in gradient))
        factor = min(1.0, CLIP_NORM / max(float(norm), 1e-30))
        for so_far, each in zip(total, gradient, strict=True):
            so_far += factor * each
    return total


def opacus(case: Case, mode: str, multiplier: float | None) -> Callable[[], list[Any]]:
    """A clipped sum (multiplier None) or a whole step of SGD with noise, as Opacus' own optimizers make them."""
    grad_sample_mode, options = MODES[mode]
    fast = grad_sample_mode == "ghost"
    model = prepare_module(case.model(), grad_sample_mode, **options)
    parameters = [p for p in model.parameters() if p.requires_grad]
    kind = DPOptimizerFastGradientClipping if fast else DPOptimizer
    optimizer = kind(
        torch.optim.SGD(parameters, RATE),
        noise_multiplier=multiplier or 0.0,
        max_grad_norm=CLIP_NORM,
        expected_batch_size=len(case.y),
    )
    loss = nn.CrossEntropyLoss()
    criterion = DPLossFastGradientClipping(model, optimizer, loss) if fast else loss

    def run():
        optimizer.zero_grad(set_to_none=True)
        criterion(model(case.x), case.y).backward()
        if multiplier is not None:
            optimizer.step()
            gradients = [p.grad for p in parameters]
        elif fast:
            gradients = [p.grad for p in parameters]
        else:
            optimizer.clip_and_accumulate()
            gradients = [p.summed_grad for p in parameters]
        optimizer.zero_grad(set_to_none=True)  # frees the examples' gradients
        case.wait()
        return gradients

    return run


def ways(case: Case, multiplier: float | None = None) -> dict[tuple[str, str], Callable[[], Any]]:
    """{(side, way): build -> run}, the plain step first."""
    runs = {("PyTorch", "plain"): lambda: plain(case, multiplier is not None)}
    return runs | {(PEER, mode): lambda mode=mode: opacus(case, mode, multiplier) for mode in MODES}
