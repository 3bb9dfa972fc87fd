"""Data: name -> host arrays; who is a member; batches of indices. NumPy only."""

from __future__ import annotations

from gecko_jax.datasets.batches import Batches, batches, eval_batches

__all__ = ["Batches", "batches", "eval_batches"]
