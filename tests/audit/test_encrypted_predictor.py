"""Encrypted predictions are audited like any other's: labels alone, and logits with the noise of decryption."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from gecko_jax import audit
from gecko_jax.encrypted import Affine, Circuit, Product, compile_circuit
from gecko_jax.types import Examples

ROWS, FEATURES, UNITS = 48, 6, 40


@pytest.fixture(scope="module")
def parts():
    """(members, non-members, x -> logits, client, server) of squares of random features, fitted to the members."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2 * ROWS, FEATURES)), rng.integers(0, 3, 2 * ROWS)
    w, b = rng.normal(size=(UNITS, FEATURES)) / 2, rng.normal(size=UNITS)
    squares = (x @ w.T + b[None]) ** 2
    fitted = np.linalg.lstsq(squares[:ROWS], np.eye(3)[y[:ROWS]], rcond=None)[0]
    first, last = Affine({0: csr_array(w)}, b), Affine({1: csr_array(fitted.T)}, np.zeros(3))
    program = compile_circuit(Circuit((FEATURES,), (3,), (Product(first, None),), last, ("input", "squares")), x)
    client, server = program.client(), program.server()
    server.add_keys(client.evaluation_keys())
    members, others = (Examples(x[rows], y[rows], rows) for rows in np.arange(2 * ROWS).reshape(2, ROWS))
    return members, others, lambda x: (np.asarray(x, float) @ w.T + b[None]) ** 2 @ fitted, client, server


def test_labels_of_an_encrypted_predictor_leak_what_those_of_the_network_leak(parts):
    members, others, logits, client, server = parts
    encrypted = audit.audit(lambda x: client.predict_labels(server, x), members, others, outputs="labels")
    plain = audit.audit(lambda x: logits(x).argmax(1), members, others, outputs="labels")
    assert encrypted.rows["gap"]["auc"].low > 0.5, "it has learned its members by heart, and labels show it"
    assert {name: row["auc"].value for name, row in encrypted.rows.items()} == {
        name: row["auc"].value for name, row in plain.rows.items()
    }


def test_logits_are_audited_with_the_noise_of_decryption(parts):
    members, others, logits, client, server = parts
    noise = []

    def predict(x):
        outputs = client.predict(server, x)
        noise.append(np.abs(outputs - logits(x)).max())
        return outputs

    report, plain = (audit.audit(each, members, others, attacks=["loss", "gap"]) for each in (predict, logits))
    assert 0 < max(noise) < 1e-3
    for name in ("loss", "gap"):
        assert report.rows[name]["auc"].value == pytest.approx(plain.rows[name]["auc"].value, abs=0.02)
