"""One model audited: with shadow models where there are some, else by split halves of its own records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks import SIGNALS
from gecko_jax.audit.reading.class_names import check_columns
from gecko_jax.audit.reading.encoding import entered
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.shadows import Shadows
from gecko_jax.audit.report.class_labels import named
from gecko_jax.audit.report.compose import compose
from gecko_jax.audit.report.privacy_claim import check_claim, check_coins
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring import thresholds
from gecko_jax.audit.scoring.feasible import left_out, of_outputs
from gecko_jax.audit.scoring.selection import Choice, Entry, Seen, as_list, by_name, choose, not_run
from gecko_jax.audit.validity import inputs
from gecko_jax.audit.validity.blind_baselines import Baselines, baselines
from gecko_jax.audit.validity.containers import is_numeric
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array


def audit_model(
    logits: Array,
    y: Array,
    member: Array,
    attacks: Iterable | str | None = None,
    shadows: Shadows | None = None,
    x: Array | None = None,
    epsilon: Epsilon | None = None,
    *,
    queries: Sequence[Array] = (),
    probed: Mapping[str, Array] | None = None,
    population: tuple[Readings, Array] | None = None,
    slices: Mapping[str, Array] | None = None,
    ids: Array | None = None,
    outputs: str = "logits",
    classes: Sequence | None = None,
    coins: bool | None = None,
) -> Report:
    """Audits one model from its outputs.

    Args:
      logits: [n, c] outputs on n records, without augmentation; of a binary model with one output [n] or [n, 1]; or
        predicted labels, integers [n].
      y: [n] labels.
      member: [n] bool, who was in the training set.
      attacks: which; every listed one that can run on what there is, if None. See `audit`.
      shadows: outputs of shadow models, or None: then the attack accuracy comes by split halves.
      x: records [n, ...], for the blind baseline and to show the most exposed; without them there is neither.
      epsilon: the guarantee that the model is said to have; a bound from the attacks is then put below it, for which
        each record must have been a member by a fair coin.
      queries: further logits [n, c], of moved copies of the records, each; attacks average their scores over them.
      probed: signals of `attacks.PROBED` [n, ...].
      population: readings and labels [z] of records that no model was trained on; the shadows' are among theirs.
      slices: name -> bool [n], records to look at by themselves, beside the classes.
      ids: [n] names of the records.
      outputs: what `logits` and `queries` hold: "logits", "probabilities", or "labels", which integers [n] are taken
        for; attacks that read more are then left out.
      classes: the label that each column stands for (scikit-learn's model.classes_), where it is not its number.
      coins: whether each record was a member by a fair coin, as `epsilon` needs; see `audit`.

    Returns:
      A Report of one target, intervals over its records: one model is one draw, and they do not say how much another
      training would differ.

    Raises:
      ClaimRefuted: the bound exceeds `epsilon`.
      ValueError: wrong shapes or values, or fewer than two members or non-members.
    """
    check_claim(epsilon)
    check_coins(coins)
    given = entered(logits, y, queries, probed, outputs, classes)
    checks.shape("logits", given.readings.logits, (None, None))
    count = 0 if shadows is None else len(shadows.member)
    attacks = as_list(attacks)
    chosen = choose(attacks, count, given.readings.probed, population is not None)
    lacking = not_run(attacks, count, given.readings.probed, population is not None, [one.name for one in chosen])
    chosen, notes = of_outputs(chosen, given.outputs, asked=by_name(attacks))
    y = inputs.check_labels(given.y, *given.readings.logits.shape)
    report = audit_choices(
        chosen, given.readings, y, member, shadows, x, epsilon,
        population=population, slices=slices, ids=ids, notes=notes, asked=by_name(attacks), not_run=lacking,
        coins=coins,
    )  # fmt: skip
    return named(report, given.classes)


def audit_choices(
    chosen: Sequence[Choice],
    own: Readings,
    y: np.ndarray,
    member: Array,
    shadows: Shadows | None = None,
    x: Any = None,
    epsilon: Epsilon | None = None,
    *,
    population: tuple[Readings, Array] | None = None,
    slices: Mapping[str, Array] | None = None,
    ids: Array | None = None,
    notes: Sequence[str] = (),
    asked: bool = True,
    not_run: Mapping[str, str] | None = None,
    coins: bool | None = None,
) -> Report:
    """Audits one model by attacks that are chosen already: `audit_model` behind its checks.

    Args:
      chosen: what to run.
      own: what was read off the model, for class numbers y [n].
      member, shadows, x, epsilon, population, slices, ids: of `audit_model`.
      notes: of the report, in words.
      asked: whether the attacks were asked for by name; if not, one that fails is left out, with a note.
      not_run: listed attack -> why it is not among those chosen.
      coins: of `audit_model`.
    """
    member = inputs.check_member(member, (len(y),))
    count = 0 if shadows is None else len(shadows.member)
    scores, bounds, notes = {}, {}, list(notes)
    for choice in chosen:
        try:
            entry, found, threshold = _run(choice, own, y, member, shadows, population)
        except (ValueError, ArithmeticError) as error:
            if asked or (choice is chosen[-1] and not scores):
                raise
            notes.append(left_out(choice.name, str(error)))
            continue
        if len(choice.entries) > 1:
            notes.append(f"{choice.name} is {entry.attack.name}, chosen on the shadows by {choice.metric}")
        scores[choice.name], bounds[choice.name] = [found], [threshold]
    how = (
        f"best balanced accuracy on {count} shadow models, each a fake target"
        if count
        else "no shadow models: fitted on one half of the records, judged on the other, halves swapped"
    )
    return compose(
        scores,
        bounds,
        own.logits[None],
        y,
        member[None],
        chosen_how=how,
        blind=_blind(x, y, member, shadows),
        warnings=check_columns(own.logits[None], y, member[None]),
        notes=notes,
        epsilon=epsilon,
        groups=slices,
        x=x if is_numeric(x) else None,  # only numbers are shown
        ids=ids,
        shadows=count,
        tried={choice.name: choice.needs for choice in chosen if choice.name in scores},
        not_run=not_run,
        coins=coins,
    )


def _run(
    choice: Choice,
    own: Readings,
    y: np.ndarray,
    member: np.ndarray,
    shadows: Shadows | None,
    population: tuple[Readings, Array] | None,
) -> tuple[Entry, np.ndarray, np.ndarray]:
    """(the entry that attacks, its scores [n], its thresholds [n])."""
    seen = {}
    for signal in choice.signals:
        target = own.signal(signal, y)
        nobody = [np.zeros((0, *values.shape)) for values in target]
        values = nobody if shadows is None else shadows.readings.signal(signal, shadows.y)
        inside = np.zeros((0, len(y)), bool) if shadows is None else shadows.member
        seen[signal] = Seen(values, inside, target, _of_population(signal, population, shadows))
    if shadows is None:
        (entry,) = choice.entries  # of several one is chosen on shadows
        found = entry(seen[entry.attack.signal])
        return entry, found, thresholds.split_half(entry.attack, found, member, y)
    p = slice(0, shadows.pool)
    of_pool = {signal: one.on(p) for signal, one in seen.items()}
    entry, threshold = thresholds.on_shadows(choice, of_pool, shadows.y[p], y)
    return entry, entry(seen[entry.attack.signal].on(shadows.rows)), threshold


def _of_population(
    signal: str, population: tuple[Readings, Array] | None, shadows: Shadows | None
) -> tuple[np.ndarray, np.ndarray] | None:
    if population is None:
        return None
    target = population[0].signal(signal, population[1])[0]
    if shadows is None:
        return np.zeros((0, *target.shape)), target
    return shadows.readings.signal(signal, shadows.y)[0][:, shadows.unseen], target


def _blind(x: Array | None, y: np.ndarray, member: np.ndarray, shadows: Shadows | None) -> Baselines:
    if shadows is None:
        return baselines(x, y, member)
    loss = SIGNALS["loss"](shadows.readings.logits[:, shadows.rows], y)
    return baselines(x, y, member, loss, shadows.member[:, shadows.rows])
