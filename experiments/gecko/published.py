"""Figures printed in arXiv 2010.00912 for Fashion-MNIST, in per cent: train, test and attack accuracy.

Their attack figures on Fashion-MNIST are not valid (the notebooks index the confidence vector with one-hot vectors);
they are shown beside ours as what was printed.
"""

FASHION_MNIST = {
    ("lenet", "full"): (100.0, 92.35, 57.46),
    ("lenet", "binary_net"): (88.68, 86.9, 55.45),
    ("lenet", "xnor"): (87.19, 85.68, 51.05),
    ("mlp", "full"): (99.34, 89.88, 54.86),
    ("mlp", "binary_net"): (97.61, 89.60, 54.30),
    ("mlp", "xnor"): (92.67, 86.68, 51.74),
}


def published(dataset: str, architecture: str, method: str) -> dict[str, float] | None:
    """Returns what the paper prints for a row, by column key; None if it prints nothing."""
    if dataset != "fashion_mnist" or (architecture, method) not in FASHION_MNIST:
        return None
    return dict(zip(("train", "test", "attack"), FASHION_MNIST[architecture, method], strict=True))
