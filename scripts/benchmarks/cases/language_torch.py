"""The language model of scripts.benchmarks.fine_tuning in PyTorch, plain and with Opacus.

The network is gecko_jax.models.Transformer's, layer by layer, and starts from its variables. A way is a function
without arguments that returns `run`; `run()` does one step and waits for its end.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from opacus.grad_sample import prepare_module
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn
from torch.nn import functional

warnings.filterwarnings("ignore", module="(torch|opacus|scripts.benchmarks)")  # of hooks, at every way's first step
PEER = "Opacus"
CLIP_NORM, LEARNING_RATE = 1.0, 1e-3
MODES = {  # name: (grad_sample_mode, whether the norms are computed without the gradients)
    "hooks": ("hooks", None),
    "functorch": ("functorch", None),
    "ghost": ("ghost", True),
    "fast gradient": ("ghost", False),
}


class LowRank(nn.Module):
    """A dense layer with low-rank factors beside it."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base, self.scale = base, alpha / rank
        self.a, self.b = nn.Linear(base.in_features, rank, False), nn.Linear(rank, base.out_features, False)

    def forward(self, x):
        return self.base(x) + self.b(self.a(x)) * self.scale


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value", "output")})
        self.mlp = nn.ModuleDict({"up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width)})

    def forward(self, x):
        y = self.norm1(x)
        split = (len(x), x.shape[1], self.heads, -1)
        query, key, value = (self.attention[name](y).view(split).transpose(1, 2) for name in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attention["output"](mixed.transpose(1, 2).reshape(x.shape))
        return x + self.mlp["down"](functional.gelu(self.mlp["up"](self.norm2(x)), approximate="tanh"))


class Language(nn.Module):
    """A causal transformer; if tied, the head is the embedding's own weight."""

    def __init__(self, vocabulary: int, layers: int, width: int, heads: int, length: int, tied: bool):
        super().__init__()
        self.embed, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.final_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device).repeat(len(tokens), 1)  # Opacus wants each row's
        x = self.embed(tokens) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        return self.head(self.final_norm(x))


class SequenceLoss(nn.Module):
    """The mean over a row's tokens, then over rows; Opacus' ghost clipping sets `reduction` to "none"."""

    def __init__(self):
        super().__init__()
        self.reduction = "mean"

    def forward(self, logits, targets):
        each = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        each = each.view(targets.shape).mean(1)
        return each if self.reduction == "none" else each.mean()


class Case:
    """One method of fine-tuning, its start and its batch; every way trains a copy of the same start.

    Attributes:
      settings, start: see `language_jax.Settings` and `Case.start`.
      trained: {our path of a trained parameter: (PyTorch's path, whether its matrix is transposed)}.
    """

    def __init__(self, ours: Any, device: str):
        self.settings, self.start, self.device = ours.settings, ours.start(), device
        self.x, self.y = (torch.from_numpy(np.array(each)).long().to(device) for each in (ours.batch.x, ours.batch.y))
        self.trained = {path: theirs(path, bool(self.settings.rank)) for path in ours.trained_paths()}

    def model(self) -> nn.Module:
        s = self.settings
        model = Language(s.vocabulary, s.layers, s.width, s.heads, s.length, s.tied)
        if s.rank:
            for block in model.blocks:
                for name in ("query", "value"):
                    block.attention[name] = LowRank(block.attention[name], s.rank, s.alpha)
        parameters = dict(model.named_parameters())
        wanted = {name for name, _ in self.trained.values()}
        with torch.no_grad():
            for path, value in self.start.items():
                name, transposed = theirs(path, low_rank=bool(s.rank))
                parameters.pop(name).copy_(torch.from_numpy(np.array(value.T if transposed else value)))
        if parameters:
            raise ValueError(f"nothing of ours starts {sorted(parameters)}")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in wanted)
        return model.to(self.device)

    def flat(self, gradients: Mapping[str, torch.Tensor]) -> np.ndarray:
        """Returns the gradients in our order and layout, as one row."""
        arrays = {name: gradient.detach().double().cpu().numpy() for name, gradient in gradients.items()}
        ours = [arrays[name].T if transposed else arrays[name] for name, transposed in self.trained.values()]
        return np.concatenate([each.ravel() for each in ours])

    def wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()


def theirs(path: str, low_rank: bool = False) -> tuple[str, bool]:
    """Returns PyTorch's path of our parameter, and whether its matrix is transposed there.

    Args:
      path: such as "block0/mlp/up/kernel".
      low_rank: whether the query and value layers stand within a LowRank.
    """
    *names, kind = path.removeprefix("fine_tuning/lora/").split("/")
    if names[0].startswith("block"):
        names = ["blocks", names[0].removeprefix("block"), *names[1:]]
    if low_rank and names[-1] in ("query", "value"):
        names.append("base")
    kinds = {"embedding": "weight", "scale": "weight", "kernel": "weight", "bias": "bias"}
    return ".".join([*names, kinds[kind]]), kind == "kernel"


def step(case: Case, model: nn.Module, loss: nn.Module, after: Callable[[], Mapping[str, Any]]) -> Callable[[], Any]:
    def run():
        loss(model(case.x), case.y).backward()
        gradients = after()
        case.wait()
        return gradients

    return run


def trained_of(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def plain(case: Case) -> Callable[[], Any]:
    model = case.model()
    parameters = trained_of(model)

    def after():
        gradients = {name: parameter.grad for name, parameter in parameters.items()}
        model.zero_grad()
        return gradients

    return step(case, model, SequenceLoss(), after)


def opacus(case: Case, mode: str, noise_multiplier: float) -> Callable[[], Any]:
    """A clipped sum (multiplier 0), or the noised mean before a step, as Opacus' own optimizers make it."""
    grad_sample_mode, ghost = MODES[mode]
    options = {} if ghost is None else {"max_grad_norm": CLIP_NORM, "use_ghost_clipping": ghost}
    model = case.model().train()
    parameters = trained_of(model)
    wrapped = prepare_module(model, grad_sample_mode, **options)
    optimizer = (DPOptimizer if ghost is None else DPOptimizerFastGradientClipping)(
        torch.optim.SGD(list(parameters.values()), 0.1),
        noise_multiplier=noise_multiplier,
        max_grad_norm=CLIP_NORM,
        expected_batch_size=len(case.y),
    )
    loss = SequenceLoss() if ghost is None else DPLossFastGradientClipping(wrapped, optimizer, SequenceLoss())

    def after():
        if ghost is None:
            optimizer.clip_and_accumulate()
        gradients = {n: p.grad if ghost is not None else p.summed_grad for n, p in parameters.items()}
        if noise_multiplier:
            if ghost is not None:
                optimizer.accumulate()
            optimizer.add_noise()
            optimizer.scale_grad()
            gradients = {name: parameter.grad for name, parameter in parameters.items()}
        optimizer.zero_grad(set_to_none=True)  # frees the examples' gradients
        return gradients

    return step(case, wrapped, loss, after)


def ways(case: Case) -> dict[tuple[str, str], Callable[[], Any]]:
    """{(side, way): build -> run}, the plain step first."""
    runs = {(PEER, mode): lambda mode=mode: opacus(case, mode, 0.0) for mode in MODES}
    return {("PyTorch", "plain"): lambda: plain(case)} | runs


def whole_loop(case: Case, rows: int, data: Any) -> Callable[[], None]:
    """What one writes first: one epoch over batches, Adam."""
    x, y = (torch.from_numpy(np.asarray(each)).long().to(case.device) for each in (data.x, data.y))

    def run():
        model, loss = case.model(), SequenceLoss()
        optimizer = torch.optim.Adam(list(trained_of(model).values()), LEARNING_RATE)
        order = torch.randperm(len(x))
        for start in range(0, len(x), rows):
            batch = order[start : start + rows]
            optimizer.zero_grad()
            loss(model(x[batch]), y[batch]).backward()
            optimizer.step()
        case.wait()

    return run
