"""What just-fine-tune-twice guarantees to the secrets of rows.

Guarantee. Let D and D' be two sets of n rows with the same redacted rows, which differ in at most
`records` rows. For every set S of outcomes (both trained models, together), P[D gives S] <= e^epsilon P[D' gives S] +
delta. Proof: the first training reads the redacted rows alone, which are equal. The second is (epsilon, delta)
differentially private for replaced rows, whatever it starts from. An average over starts keeps that.

Covered: what stands at a place that the policy finds, of any length, against any other text that it finds there.
Not covered:
- words that the policy does not find, in any row (`text.coverage` counts known ones);
- that a row exists, that it has a secret, and where: for this, train on all rows privately;
- a secret in more than `records` rows (`SelectiveRows.rows_per`);
- what public words let a reader infer about a secret;
- settings, a tokenizer, a policy or a cleaning of the texts that were chosen by looking at secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gecko_jax.privacy.accounting.epsilon import Epsilon


class SelectiveEpsilon(NamedTuple):
    """A guarantee for the secrets of rows, with its assumptions; see the head of this file.

    Attributes:
      epsilon: of the second training, for replaced rows.
      policy: name of the policy that says what is secret.
      rows: n.
      rows_per: {"secret", "document", "user": the most rows with a secret that one of them has}. It is read off the
        private rows: what is printed of it is not protected.
    """

    epsilon: Epsilon
    policy: str
    rows: int
    rows_per: Mapping[str, int]

    def __float__(self) -> float:
        return float(self.epsilon)

    def __str__(self) -> str:
        records = self.epsilon.records
        beyond = [f"a {unit} with up to {k:,}" for unit, k in self.rows_per.items() if k > records]
        exceptions = f" NOT for {', '.join(beyond)} of them." if beyond else ""
        return (
            f"selective: for two sets of {self.rows:,} rows with the same redacted rows that differ in at most "
            f"{records} {'row' if records == 1 else 'rows'}.{exceptions} Public: every word that the policy "
            f"({self.policy}) does not find, and where it finds one. {self.epsilon}"
        )
