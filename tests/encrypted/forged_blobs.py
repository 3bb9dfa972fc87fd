"""What a stranger could send, and whether the server still serves afterwards."""

import numpy as np

from gecko_jax.encrypted import blobs


def rewritten(blob, parts=None, **changes):
    """A blob with other fields or parts and the digest that belongs to them, as a forger writes it."""
    header = blobs.peek(blob)
    return blobs.write(
        header._replace(**changes), blobs.read(blob, header.kind, len(blob))[1] if parts is None else parts
    )


def serves(exchange):
    question = exchange.client.encrypt(exchange.x)
    answer = exchange.server.answer(question)
    return np.abs(exchange.client.decrypt(answer, question) - exchange.expected).max() < 1e-4
