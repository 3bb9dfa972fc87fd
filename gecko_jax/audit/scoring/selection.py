"""Which attacks an audit runs, and the best of several, chosen where that is honest: on shadow models.

Unless a caller names some, an audit runs every attack of `attacks.ATTACKS` whose needs are met, and says of each other
one why it did not run (`why_not_run`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gecko_jax import checks, metrics
from gecko_jax.attacks import ATTACKS, Attack
from gecko_jax.audit.reading.readings import Available
from gecko_jax.signals import SIGNALS, Signal

ALL = "all"  # in place of a list: the slow attacks as well
SLOW = 'it is slow, and was not asked for by name or by attacks="all"'
RANKED_BY = {"auc": metrics.roc_auc, "tpr_at_1pct": lambda scores, member: metrics.tpr_at_fpr(scores, member, 0.01)}


class Choice(NamedTuple):
    """What an audit runs under a name: one attack, or several of which one is chosen by `metric`."""

    name: str
    attacks: tuple[Attack, ...]
    metric: str = "auc"

    @property
    def shadows(self) -> int:
        """Returns the smallest number of shadow models it works with."""
        return max([attack.shadows for attack in self.attacks] + [2 * (len(self.attacks) > 1)])

    @property
    def signals(self) -> set[Signal]:
        """Returns what it reads."""
        return {attack.signal for attack in self.attacks}

    @property
    def needs(self) -> tuple[str, ...]:
        """Returns what one of its attacks needs, or another (see `Attack.needs`)."""
        return tuple(dict.fromkeys(need for attack in self.attacks for need in attack.needs))


def best_of(attacks: Iterable[Attack], metric: str = "auc", name: str = "best_of") -> Choice:
    """Returns the one of several attacks that does best on the shadows, each a stand-in for the target.

    The choice never sees the target.

    Args:
      attacks: two or more, Attacks or names of listed ones.
      metric: what is best, in the mean over stand-ins: "auc" or "tpr_at_1pct".
      name: what a report calls it.

    Raises:
      ValueError: fewer than two attacks, what is not an attack, or an unknown metric.

    >>> from gecko_jax import attacks
    >>> best_of([attacks.loss(), attacks.gap()]).shadows
    2
    """
    attacks = tuple(map(_attack, attacks))
    checks.at_least("number of attacks", len(attacks), 2)
    checks.one_of("metric", metric, RANKED_BY)
    return Choice(name, attacks, metric)


def select_attacks(
    attacks: Iterable | str | None, shadows: int, available: Available, population: bool = False
) -> list[Choice]:
    """Returns the attacks asked for, or all listed ones that can run on what there is.

    Args:
      attacks: Attacks, names of listed attacks, or `best_of` several. None selects the listed attacks that are not
        slow, "all" selects those as well.
      shadows: how many shadow models a target has; a shadow that stands in for it has one fewer.
      available: the signals that are there, or can be read.
      population: whether there is one.

    Raises:
      ValueError: what is not an attack, one that needs more than there is, or two of one name.
    """
    if attacks is None or (isinstance(attacks, str) and attacks == ALL):
        why = why_not_run(attacks, shadows, available, population)
        return [_listed(name, available, population) for name in ATTACKS if name not in why]
    if not isinstance(attacks, Iterable) or isinstance(attacks, str):
        raise ValueError(f'attacks={attacks!r} must be a list, also of one: attacks=[attacks.loss()]; or "all".')
    chosen = [
        _named(attack, available, population) if isinstance(attack, str) else _choice(attack, population)
        for attack in checks.not_empty("attacks", list(attacks))
    ]
    for one in chosen:
        for attack in one.attacks:
            if attack.signal not in available:
                raise ValueError(
                    f"attack {attack.name!r} reads {attack.signal.name!r}, which is not there; it comes from "
                    f"{attack.signal.source}.{_way_out(attack, available)}"
                )
            if attack.population and not population:
                raise ValueError(
                    f"attack {attack.name!r} needs population=, records that no model was trained on; pass some, or "
                    "leave it out."
                )
        if one.shadows > max(shadows - 1, 0):
            raise ValueError(
                f"attack {one.name!r} needs {one.shadows} shadow models and would have {max(shadows - 1, 0)}; "
                "give more models, or leave it out. (A shadow that stands in for the target leaves one fewer.)"
            )
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        twice = checks.listed(sorted({name for name in names if names.count(name) > 1}))
        raise ValueError(f"attacks holds {twice} more than once; a report is keyed by names, so each must stand once.")
    return chosen


def as_list(attacks: Any) -> Any:
    """Returns a list of an iterable, which is read more than once; None, "all" and what is not a list as they are."""
    return list(attacks) if isinstance(attacks, Iterable) and not isinstance(attacks, str) else attacks


def by_name(attacks: Any) -> bool:
    """Returns whether a caller named the attacks, so none of them may be left out."""
    return attacks is not None and not isinstance(attacks, str)


def why_not_run(
    attacks: Iterable | str | None,
    shadows: int,
    available: Available,
    population: bool = False,
    ran: Iterable[str] = (),
) -> dict[str, str]:
    """Returns why listed attacks do not run: those that `select_attacks` leaves out, name -> reason, in words.

    Args:
      attacks, shadows, available, population: see `select_attacks`.
      ran: names of those that a list in `attacks` asked for.
    """
    if by_name(attacks):
        return {name: "attacks= does not name it" for name in ATTACKS if name not in set(ran)}
    left, why = max(shadows - 1, 0), {}
    for name in ATTACKS:
        (attack,) = _listed(name, available, population).attacks
        if attack.slow and attacks is None:
            why[name] = SLOW
        elif attack.shadows > left:
            there = f"{shadows}, one of which stands in for the target in turn" if shadows else "none"
            why[name] = f"it needs shadow models, {attack.shadows + 1} or more, and there are {there}"
        elif attack.signal not in available:
            what = f"needs {attack.signal.needs[0]}" if attack.signal.needs else f"reads {attack.signal.name!r}"
            why[name] = f"it {what}, from {attack.signal.source}"
    return why


def reasons_not_run(why: Mapping[str, str]) -> list[str]:
    """Returns `why_not_run` as sentences, one for each reason.

    >>> reasons_not_run({"lira": "it needs shadows", "rmia": "it needs shadows"})
    ['Not run: lira, rmia (it needs shadows).']
    """
    reasons = {reason: [name for name, each in why.items() if each == reason] for reason in why.values()}
    return [f"Not run: {checks.listed(names, len(ATTACKS))} ({reason})." for reason, names in reasons.items()]


def _named(name: str, available: Available, population: bool) -> Choice:
    """Returns the listed attack that a caller named."""
    checks.lookup("attack", name, ATTACKS)
    return _listed(name, available, population)


def _listed(name: str, available: Available, population: bool) -> Choice:
    """Returns a listed attack, on the signal that replaces its usual one if that is not there."""
    attack = ATTACKS[name]()
    if attack.signal not in available and attack.on is not None and (other := _replacement(attack, available)):
        with contextlib.suppress(ValueError):  # it does not read such a signal, and stays on the one that is not there
            attack = attack.on(other)
    return _choice(attack, population)._replace(name=name)


def _replacement(attack: Attack, available: Available) -> Signal | None:
    """Returns the first signal that is there and stands for the one that an attack reads, or None."""
    signals = (*SIGNALS.values(), *available.own)
    fit = (one for one in signals if attack.signal.name in one.stands_for and one in available)
    return next(fit, None)


def _way_out(attack: Attack, available: Available) -> str:
    """Returns a sentence about the signal that the attack could read instead, or ""."""
    other = _replacement(attack, available) if attack.on is not None else None
    return f" Name the one that is there: signal=gecko_jax.signals.{other.name}." if other else ""


def _choice(attack: Any, population: bool) -> Choice:
    choice = attack if isinstance(attack, Choice) else Choice(_attack(attack).name, (attack,))
    return choice._replace(attacks=tuple(one.with_population() for one in choice.attacks)) if population else choice


def _attack(given: Any) -> Attack:
    if isinstance(given, Attack):
        return given
    if isinstance(given, str):
        return checks.lookup("attack", given, ATTACKS)()
    call = f" Call it: {given.__name__}()." if callable(given) and hasattr(given, "__name__") else ""
    raise ValueError(f"attacks holds {given!r}; expected an Attack, for example gecko_jax.attacks.loss().{call}")
