"""Clipped sums of per-example gradients: trace, plan, one backward pass, norms, weighted sum.

`gecko_jax.privacy` lists the public names.
"""
