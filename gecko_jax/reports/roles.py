"""What a column means, by its key: the one convention on names that the explorer and the recommendation rely on.

  role         keys
  accuracy     accuracy, test, test_accuracy
  leak         any key with one of the words attack, auc, tpr, leak, advantage: auc, lira_tpr_at_1pct, label_only_attack
  flash        bytes, file, flash, deployed, deployed_bytes, stored_bytes, flash_bytes
  ram          peak, ram, arena, peak_bytes, peak_activation_bytes, ram_bytes
  energy       energy
  epsilon      epsilon
  calibration  ece, test_ece

Words of a key are joined by "_". Any other column can be shown, drawn and bounded too, under its own name. Headings,
units and better ends are the `Column`'s own; a role has a better end because results.csv alone does not say it.
"""

from __future__ import annotations

from typing import NamedTuple

from gecko_jax.reports.rows import Column, Table

RATES = ("accuracy", "leak", "calibration")  # roles whose figures are at most 1
LEAK_WORDS = frozenset(("attack", "auc", "tpr", "leak", "advantage"))


class Role(NamedTuple):
    """What some columns are about.

    Attributes:
      label: what a reader sees.
      better: "high" or "low".
      keys: those of its columns, the most usual first; () if `LEAK_WORDS` decide.
    """

    label: str
    better: str
    keys: tuple[str, ...] = ()


ROLES = {
    "accuracy": Role("Accuracy", "high", ("test", "accuracy", "test_accuracy")),
    "leak": Role("Leak", "low"),
    "flash": Role(
        "Flash", "low", ("bytes", "deployed", "deployed_bytes", "flash", "flash_bytes", "file", "stored_bytes")
    ),
    "ram": Role("RAM", "low", ("peak", "ram", "arena", "peak_bytes", "peak_activation_bytes", "ram_bytes")),
    "energy": Role("Energy", "low", ("energy",)),
    "epsilon": Role("ε", "low", ("epsilon",)),
    "calibration": Role("Calibration error", "low", ("ece", "test_ece")),
}


def role_of(key: str) -> str | None:
    """Returns the role of a column's key, or None.

    >>> [role_of(key) for key in ("test", "attack_accuracy", "lira_tpr_at_1pct", "bytes", "bytes_sent", "macs")]
    ['accuracy', 'leak', 'leak', 'flash', None, None]
    """
    if LEAK_WORDS & set(key.split("_")):
        return "leak"
    return next((name for name, role in ROLES.items() if key in role.keys), None)


def columns_of(table: Table, name: str) -> list[Column]:
    """Returns the columns of a role that some row has a figure for: in the role's order, leaks in the table's."""
    columns = [column for column in table.columns if role_of(column.key) == name]
    columns = [column for column in columns if any(column.key in row.figures for row in table.rows)]
    keys = ROLES[name].keys
    return sorted(columns, key=lambda column: keys.index(column.key)) if keys else columns


def better_end(column: Column) -> str | None:
    """Returns "high" or "low", as the column says or else its role; None if neither does."""
    role = role_of(column.key)
    return column.better or (ROLES[role].better if role else None)
