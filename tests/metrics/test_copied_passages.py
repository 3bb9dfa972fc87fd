"""Copied passages: tuples in a dictionary, and sums that collide."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from gecko_jax import metrics


def by_loop(generated, tokens, length, document, public):
    """{passage: (documents, times generated)}, and the number of different generated passages."""

    def windows(rows):
        return [(i, tuple(row[j : j + length])) for i, row in enumerate(rows.tolist())
                for j in range(len(row) - length + 1) if 0 not in row[j : j + length]]  # fmt: skip

    times = collections.Counter(passage for _, passage in windows(generated))
    documents = collections.defaultdict(set)
    for i, passage in windows(tokens):
        documents[passage].add(document[i])
    known = {passage for _, passage in windows(public)}
    copies = {p: (len(documents[p]), n) for p, n in times.items() if p in documents and p not in known}
    return dict(sorted(copies.items())), len(times)


@pytest.mark.parametrize("length", [2, 3, 5])
def test_it_is_the_loop(length):
    rng = np.random.default_rng(length)
    generated, tokens, public = (rng.integers(0, 6, (n, 9)) for n in (30, 60, 4))
    generated[::2] = tokens[:15]
    document = rng.integers(0, 20, 60)
    expected, windows = by_loop(generated, tokens, length, document, public)
    copies = metrics.copied_passages(generated, tokens, length, document, public)
    assert copies.windows == windows and len(expected) > 3
    assert [tuple(passage) for passage in copies.passages.tolist()] == list(expected)
    assert list(zip(copies.documents.tolist(), copies.generated.tolist(), strict=True)) == list(expected.values())
    count = metrics.eidetic_counts(np.ones(len(expected), bool), copies.documents, k=(1,))[0]
    assert count.extracted == sum(documents == 1 for documents, _ in expected.values())


def test_equal_sums_are_not_equal_passages(monkeypatch):
    """With equal weights every order of the same tokens has the same sum."""
    generator = collections.namedtuple("Generator", "integers")(lambda high, size, dtype: np.ones(size, dtype))
    monkeypatch.setattr(np.random, "default_rng", lambda seed: generator)
    copies = metrics.copied_passages([[3, 1, 2], [1, 2, 3]], [[2, 1, 3], [3, 1, 2], [2, 3, 1]], 3)
    assert copies.passages.tolist() == [[3, 1, 2]] and copies.documents.tolist() == [1] and copies.windows == 2


def test_without_a_copy_there_is_none():
    copies = metrics.copied_passages([[1, 2, 3]], [[4, 5, 6]], 2)
    assert copies.passages.shape == (0, 2) and copies.windows == 2 and not len(copies.documents)
    assert metrics.copied_passages([[1, 0, 3]], [[4, 5, 6]], 2).windows == 0


def test_bad_passages_are_named():
    for call, words in (
        (lambda: metrics.copied_passages([[1, 2]], [[1, 2]], 1), "length=1 must be at least 2"),
        (lambda: metrics.copied_passages([[1, 2]], [[1, 2, 3]], 3), "generated has rows of 2 tokens"),
        (lambda: metrics.copied_passages([[1, 2]], [[1]], 2), "tokens has rows of 1 tokens"),
        (lambda: metrics.copied_passages([[1.0, 2.0]], [[1, 2]], 2), "generated has dtype float64"),
        (lambda: metrics.copied_passages([[1, 2]], [[1, 2]], 2, document=[1, 2]), "document has shape"),
        (lambda: metrics.copied_passages([[1, 2]], [[1, 2]], 2, public=[1, 2]), "public has shape"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
