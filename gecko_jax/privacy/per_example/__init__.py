"""Clipped sums of per-example gradients: the way from a loss of one example to sum_i scale(|g_i|) g_i.

    loss(params, example)              any traceable function of ONE example
      | trace      graph.py            flat steps; which depend on parameters, on data, or on both
      | plan       plan.py             sites: steps where a value made of parameters alone (a weight) meets data
      | backward   bookkeeping.py      ONE forward and one backward pass of the whole batch: at each site the examples'
      |                                inputs a_i and the cotangents c_i of its outputs
      | norms      sites.py            |g_i|^2 from a_i and c_i: of a matrix product with one row |a_i|^2 |c_i|^2, with
      |            convolution_site.py several rows an inner product of two Gram matrices; a convolution is a product of
      |            table_site.py       its patches; of a table from its rows' indices, also if the same table is a
      |            shared_matrix.py    product's matrix; whatever has no rule has its g_i made (`instantiate`)
      v weighted   clipped.py          sum_i s_i g_i, s_i = scale(|g_i|): one product a site, no second backward pass
    sum, norms

Around it: `paths.py` says which parameters have a gradient at all, `weights.py` which rows are real, `states.py` what
else a forward pass may change; `rows.py` cuts padding off, and `microbatch.py` and `looped.py` bound the memory.
`choice.py` picks the way for a device (`vmapped.py` forms all gradients), and `precision.py` the format of products.

A network of two layers, h = A x and loss = b . h - y, whose gradients are known: of A it is b x^T, of b it is h.

>>> import jax.numpy as jnp
>>> from gecko_jax.privacy.per_example.bookkeeping import bookkeep
>>> from gecko_jax.privacy.per_example.graph import trace
>>> from gecko_jax.privacy.per_example.plan import plan
>>> params = {"A": jnp.eye(2), "b": jnp.array([1.0, 2.0])}
>>> batch = jnp.array([[3.0, 4.0], [0.0, 1.0]]), jnp.array([1.0, 1.0])         # x [2, 2], y [2]
>>> loss = lambda params, example: (params["b"] @ (params["A"] @ example[0]) - example[1],)

Trace: three steps. The first mixes A with x, the second b with h; each is a site, and alone has its parameter.

>>> graph, _ = trace(loss, params, (batch[0][0], batch[1][0]))
>>> [step.name for step in graph.steps]
['dot_general', 'dot_general', 'sub']
>>> planned = plan(graph)
>>> [(site.step.name, site.weights, site.saved) for site in planned.sites]     # inputs: (weight, what is saved)
[('dot_general', (0,), (1,)), ('dot_general', (0,), (1,))]
>>> [(part.params, part.sites, part.direct) for part in planned.parts]
[((0,), (0,), True), ((1,), (1,), True)]

Backward and norms: site 1 has a_i = x_i and c_i = b, site 2 has a_i = h_i and c_i = 1. No gradient is made.

>>> books = bookkeep(loss, params, batch)
>>> books.squared.tolist()                                                     # |b|^2 |x_i|^2 and |h_i|^2
[[125.0, 25.0], [5.0, 1.0]]

The weighted sum, with a factor 1 for the first example and 1/2 for the second:

>>> factors = jnp.array([[1.0, 1.0], [0.5, 0.5]])                              # [examples, parameters]
>>> total = books.weighted(factors, jnp.array([True, True]))
>>> total["A"].tolist(), total["b"].tolist()
([[3.0, 4.5], [6.0, 9.0]], [3.0, 4.5])

`gecko_jax.privacy` lists the public names.
"""
