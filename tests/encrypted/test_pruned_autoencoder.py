"""An autoencoder of digits, pruned for encrypted inference: what it saves, and what the reconstruction loses."""

import numpy as np

from gecko_jax import datasets, losses, models, training
from gecko_jax.encrypted import compile_circuit, diagonal_count, extract
from gecko_jax.types import Examples


def test_a_pruned_autoencoder_is_cheaper_and_nearly_as_good():
    data = datasets.load("digits")
    x, other = (np.asarray(part.x, np.float32).reshape(len(part.x), -1) for part in (data.train, data.test))
    x, other = x[:600], other[:300]
    net = models.create("mlp", 64, hidden=(64, 16, 64), activation="quadratic")
    schedules = {"learning_rate": training.cosine}
    errors, diagonals, reports = [], [], []
    for model in (net, models.pruned(net, 0.6, "band")):
        optimizer = training.optimizer("adam", 4e-3)
        fitted = training.fit(
            model, Examples(x, x), loss=losses.squared_error(), epochs=50, batch_size=30, optimizer=optimizer,
            schedules=schedules,
        )  # fmt: skip
        variables = models.without_pruning_state(fitted.variables)
        errors.append(float(np.mean((np.asarray(net.apply(variables, other)[0]) - other) ** 2)))
        circuit = extract(net, variables, other)
        squares = circuit._replace(products=tuple(product._replace(right=None) for product in circuit.products))
        diagonals.append(diagonal_count(squares))
        reports.append(compile_circuit(circuit, x, packing="interleaved", degree=16384).report())
    dense, pruned = reports
    assert diagonals[1] <= 0.41 * diagonals[0]
    assert errors[1] <= 1.3 * errors[0] < other.var(0).mean() / 4
    assert pruned.operations["mul_plain"] <= 0.41 * dense.operations["mul_plain"]
    assert pruned.run_seconds <= 0.65 * dense.run_seconds
    assert pruned.server_megabytes < 0.8 * dense.server_megabytes
