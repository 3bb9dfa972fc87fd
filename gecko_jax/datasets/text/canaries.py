"""Canaries in text: secrets at random, some of them in the training data 1, 2, 5, 10 or 25 times, the others never.

    planted = text.canaries.draw("number", each=4, references=2000, seed=0)
    train = text.canaries.insert(members, planted)              # after cleaning, de-duplication and the split
    losses = signals.token_losses(logits, y)                    # of x, y, _ = text.canaries.examples(planted, ...)
    steps = metrics.exposure_ladder(losses.sum(-1), planted.repetitions)

A secret's exposure is its rank among the references, which are drawn as it is and never inserted. Whoever cleans or
de-duplicates afterwards removes the copies.

Source: Carlini et al., "The Secret Sharer" (2019), sec. 4; Mireshghallah et al. (2022), sec. 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.datasets.text.canary_patterns import draw_texts
from gecko_jax.datasets.text.canary_rows import examples
from gecko_jax.datasets.text.canary_templates import Canaries, Template, checked_template
from gecko_jax.datasets.text.documents import Documents, Span, join

__all__ = ["LADDER", "Canaries", "check_absent", "draw", "examples", "insert"]
LADDER = (1, 2, 5, 10, 25)  # repetitions


def draw(
    template: str | Template = "number",
    ladder: Sequence[int] = LADDER,
    each: int = 4,
    references: int = 2000,
    seed: int | None = None,
) -> Canaries:
    """Draws secrets and references, all different and uniformly from the template's texts.

    Args:
      template: a name of `TEMPLATES`, or a Template.
      ladder: numbers of repetitions, each at least 1 and different.
      each: secrets for each number of repetitions. Several, because one secret's exposure varies by some two bits.
      references: canaries that are never inserted. Exposure by rank ends at log2 of their number.
      seed: of the draws, at least 0; None: a draw that nobody can repeat.

    Returns:
      Canaries, the secrets first, in the order of the ladder.

    Raises:
      ValueError: a bad template, repetitions that are repeated or below 1, counts below 1, or more canaries than half
        of the texts that the template stands for.

    >>> draw("code", ladder=(2,), each=3, references=8, seed=1).repetitions.tolist()
    [2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    template = checked_template(template)
    steps = checks.not_empty("ladder", checks.sizes("ladder", ladder, "repetitions of a secret"))
    if len(set(steps)) < len(steps):
        raise ValueError(f"ladder={steps!r} names a number twice; raise each= for more secrets of one number.")
    checks.integer("each", each, 1)
    checks.integer("references", references, 1)
    draws = keys.generator(keys.secret_seed() if seed is None else seed, "text canaries", template.name)
    repetitions = np.concatenate([np.repeat(np.array(steps, np.int64), each), np.zeros(references, np.int64)])
    count = len(repetitions)
    fill, prefix = draw_texts(template.fill, count, draws), draw_texts(template.prefix, count, draws)
    start = int(draws.integers(2**20, 2**40))
    return Canaries(template, tuple(prefix), tuple(fill), repetitions, -(start + np.arange(count, dtype=np.int64)))


def insert(documents: Documents, *canaries: Canaries, seed: int = 0) -> Documents:
    """Appends each secret to the training documents, as often as its repetitions say; references are left out.

    Each copy is a document of its own. All copies of a secret belong to one author, that of a document that is drawn
    at random, whose time and traits they share: canaries tell nothing by their fields.

    Args:
      documents: the training documents, cleaned, de-duplicated and split before.
      *canaries: of one template or of several.
      seed: of the draws of authors.

    Returns:
      Documents of n + the sum of the repetitions, the copies last, with ids below those of the canaries.

    Raises:
      ValueError: documents that hold a canary already, or an id of a copy.

    >>> from gecko_jax.datasets import text
    >>> planted = draw(ladder=(2,), each=1, references=9, seed=0)
    >>> larger = insert(text.from_texts(["A note."], user=["ann"]), planted)
    >>> len(larger.text), larger.text[1] == larger.text[2] == planted.text[0], larger.user.tolist()
    (3, True, ['ann', 'ann', 'ann'])
    """
    check_absent(documents, *canaries)
    for planted in canaries:
        rng = keys.generator(seed, "hosts of canaries", planted.template.name)
        hosts = rng.integers(0, len(documents.text), len(planted.id))
        copies = np.repeat(np.arange(len(planted.id)), planted.repetitions)
        texts = planted.text
        ids = planted.id.min() - 1 - np.arange(len(copies), dtype=np.int64)
        spans = tuple((Span(len(planted.prefix[i]), len(texts[i]), "canary"),) for i in copies)
        copied = documents.take(hosts[copies])._replace(
            text=tuple(texts[i] for i in copies), id=ids, secrets=None if documents.secrets is None else spans
        )
        documents = join(documents, copied)
    return documents


def check_absent(documents: Documents, *canaries: Canaries) -> None:
    """Checks that documents hold none of the canaries, neither secrets nor references.

    Call it on public text and on validation text: a secret that a model has read there is known to it without any
    training on the private text, and a reference that it has read lowers every exposure.

    Args:
      documents: any.
      *canaries: of one template or of several.

    Raises:
      ValueError: naming the documents.

    >>> from gecko_jax.datasets import text
    >>> planted = draw(ladder=(2,), each=1, references=9, seed=0)
    >>> check_absent(text.from_texts(["the secret number is out"]), planted)
    """
    for planted in canaries:
        known, sizes = set(planted.text), {len(each) for each in planted.text}
        shared = _shared_start(planted.prefix)
        for i, text in enumerate(documents.text):
            place = text.find(shared)
            while place >= 0:
                if any(text[place : place + size] in known for size in sizes):
                    raise ValueError(
                        f"document {documents.id[i]} holds a canary of the template {planted.template.name!r} already, "
                        f"at character {place}; expected text without any. Insert canaries once, into the training "
                        "documents alone, or draw others with another seed."
                    )
                place = text.find(shared, place + 1)


def _shared_start(texts: Sequence[str]) -> str:
    """Returns the longest common beginning of texts."""
    low, high = min(texts), max(texts)
    same = [a == b for a, b in zip(low, high, strict=False)]
    return low[: same.index(False)] if False in same else low[: len(same)]
