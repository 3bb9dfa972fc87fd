"""The rows of the study: what is trained, of which base, and how privately. A new row is one line in METHODS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Method(NamedTuple):
    """One row.

    Attributes:
      label: in the table.
      tuning: a name of `gecko_jax.models.fine_tuning.FINE_TUNINGS`.
      rate: the middle of the grid of learning rates (Adam's), of which validation chooses.
      options: of the fine-tuning: the adapter's reduction, LoRA's rank.
      base: the pre-trained model that it starts from, a name of `bases.BASES`.
      trainable: expressions of the paths that are trained instead of the fine-tuning's own, or None.
      epsilon: the budget of DP-Adam, or None without privacy.
      note: what a reader should know of the row.
    """

    label: str
    tuning: str
    rate: float
    options: Mapping[str, Any] = {}
    base: str = "float"
    trainable: tuple[str, ...] | None = None
    epsilon: float | None = None
    note: str = ""


FULL = "full"
METHODS = {
    FULL: Method("full", "full", 1e-3, note="all parameters; every difference is measured from this row"),
    "head": Method("head only", "head", 3e-3, note="the output layer alone"),
    "adapter16": Method("adapter, r = 16", "adapter", 3e-3, {"reduction": 16}),
    "adapter2": Method("adapter, r = 2", "adapter", 3e-3, {"reduction": 2}),
    "lora": Method("LoRA, rank 8", "lora", 3e-3, {"rank": 8}),
    "prefix": Method("prefix of 8", "prefix", 1e-2, {"length": 8}),
    "bitfit": Method("BitFit", "bitfit", 1e-2, note="the biases"),
    "dp_lora_8": Method("DP-LoRA, ε = 8", "lora", 3e-3, {"rank": 8}, epsilon=8.0),
    "dp_lora_2": Method("DP-LoRA, ε = 2", "lora", 3e-3, {"rank": 8}, epsilon=2.0),
    "dp_full_8": Method("DP-full, ε = 8", "full", 1e-3, epsilon=8.0),
    "dp_full_2": Method("DP-full, ε = 2", "full", 1e-3, epsilon=2.0),
    "lora_4bit": Method(
        "LoRA on a 4-bit base", "lora", 3e-3, {"rank": 8}, base="4bit"
    ),
    "pruned": Method("full, pruned base", "full", 1e-3, base="pruned"),
    # Ablations: which parameters, how many, and whether head and embedding are one table.
    "embedding": Method("embedding only", "embedding", 3e-3),
    "attention": Method("attention only", "full", 1e-3, trainable=("attention/",)),
    "mlp": Method("MLPs only", "full", 1e-3, trainable=("mlp/",)),
    "first_block": Method("first block only", "full", 1e-3, trainable=("block0/",)),
    "last_block": Method("last block only", "full", 1e-3, trainable=("block{last}/",)),
    "adapter4": Method("adapter, r = 4", "adapter", 3e-3, {"reduction": 4}),
    "adapter8": Method("adapter, r = 8", "adapter", 3e-3, {"reduction": 8}),
    "lora1": Method("LoRA, rank 1", "lora", 3e-3, {"rank": 1}),
    "lora32": Method("LoRA, rank 32", "lora", 3e-3, {"rank": 32}),
    "tied_full": Method("full, tied head", "full", 1e-3, base="tied", note="head and embedding are one table"),
    "tied_head": Method("head, tied", "head", 3e-3, base="tied", note="moves the input embedding as well"),
    # Train large, then compress: all weights of the wide model in few bits against a small model of as many bytes.
    "all_4bit": Method("full, wide model in 4 bits", "full", 1e-3, base="all_4bit", note="tables and heads as well"),
    "pruned_4bit": Method("full, pruned wide model in 4 bits", "full", 1e-3, base="pruned_4bit"),
    "small": Method("full, small float model", "full", 1e-3, base="small", note="pre-trained as the wide one was"),
}

ROWS = (FULL, "head", "adapter16", "adapter2", "lora", "dp_lora_8", "dp_full_8", "dp_lora_2", "bitfit", "prefix",
        "dp_full_2", "lora_4bit", "pruned")  # fmt: skip
ABLATIONS = ("embedding", "attention", "mlp", "first_block", "last_block", "adapter16", "adapter8", "adapter4",
             "adapter2", "lora1", "lora", "lora32", "tied_full", "tied_head")  # fmt: skip
COMPRESSION = (FULL, "all_4bit", "pruned_4bit", "small")
