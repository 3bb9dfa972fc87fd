"""Finds a Linen module's training switches: known names, a user's answer, and an error for anything else.

A switch that is left at its default is a silent error: BatchNorm never updates, dropout never acts.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from gecko_jax.checks import one_of

# How modules in the wild spell it; True is the value that means "not training" for the second group.
_TRAINING = ("train", "training", "is_training")
_EVALUATING = ("deterministic", "use_running_average", "eval_mode")

# Words of a name that may mean a switch, and those that mean evaluation.
_EVALUATION = {"deterministic", "determ", "eval", "evaluate", "evaluating", "evaluation", "infer", "inference"}
_EVALUATION |= {"test", "testing", "running", "frozen", "freeze", "disable"}
_WORDS = _EVALUATION | {"train", "training", "dropout", "stochastic"}
# Words of fields that are settings and not switches.
_OF_SETTINGS = {"dropout", "stochastic", "frozen", "freeze", "disable", "running", "test"}
_QUANTITIES = {"rate", "rng", "rngs", "key", "prob", "probability", "mask", "size", "steps"}
_TESTS = {"test", "testing"}  # of a field by another name, such as kind="test", more than a phase
_OF_PHASE = {"mode", "phase", "stage", "state"}
_PHASES = {"train", "training", "eval", "evaluation", "infer", "inference", "test", "testing"}  # words of a mode
_PHASE = re.compile(r"train|eval|infer|test", re.IGNORECASE)


class Switches(NamedTuple):
    """A module's switches.

    Attributes:
      module: the module.
      arguments: {argument of `__call__`: (value in training, value in evaluation)}.
      fields: the same of the module's own fields.
    """

    module: nn.Module
    arguments: dict[str, tuple[Any, Any]]
    fields: dict[str, tuple[Any, Any]]

    def at(self, train: bool) -> tuple[nn.Module, dict[str, Any]]:
        """The module with its fields set, and the options of its call."""
        which = 0 if train else 1
        fields = {name: values[which] for name, values in self.fields.items()}
        options = {name: values[which] for name, values in self.arguments.items()}
        return (self.module.clone(**fields) if fields else self.module), options


def find_switches(module: nn.Module, train_argument: str | Mapping[str, Any] | None) -> Switches:
    """Returns the module's switches, by known names or the user's answer; see `models.from_linen`.

    Raises:
      ValueError: as of `from_linen`.
    """
    if isinstance(module, nn.Sequential) and module.layers:
        _check_passed_on(module)
        if isinstance(module.layers[0], nn.Module):  # which alone gets what the call is given
            first = find_switches(module.layers[0], train_argument)
            if first.fields:
                raise ValueError(f"train_argument={train_argument!r} must name arguments of the first layer's call.")
            return Switches(module, first.arguments, {})
    parameters = list(inspect.signature(type(module).__call__).parameters.values())[1:]
    free = any(p.kind is p.VAR_KEYWORD for p in parameters)
    takes_x = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    if not takes_x:
        raise ValueError(f"{type(module).__name__}.__call__ takes no input x by position.")
    rest = {p.name: p for p in parameters if p is not takes_x[0] and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    fields = {f.name: getattr(module, f.name, None) for f in dataclasses.fields(module) if f.init}
    fields = {name: value for name, value in fields.items() if name not in ("parent", "name")}

    answers = _answers(train_argument)
    for name in answers:
        if name not in rest and name not in fields and not free:
            one_of("train_argument", name, [*rest, *fields])
    known = {name: (True, False) for name in _TRAINING if name in rest}
    known |= {name: (False, True) for name in _EVALUATING if name in rest}
    # A layer that was built with its switch set takes none in its call.
    known = {name: values for name, values in known.items() if fields.get(name) is None}
    in_call = {name for name in answers if name in rest and fields.get(name) is None} | ({*answers} - {*fields})
    _check_kinds(answers, {name: rest[name].default for name in rest} | fields)
    arguments = known | {name: answers[name] for name in in_call}
    in_fields = {name: pair for name, pair in answers.items() if name not in arguments}

    if free and train_argument is None and not _is_linen_s_own(module):
        raise ValueError(
            f"{type(module).__name__}.__call__ takes **options, which may hold a training switch, and from_linen does "
            "not guess: from_linen(module, train_argument='train') passes it on, train_argument={} says there is none."
        )
    open_ = [p for name, p in rest.items() if name not in arguments and fields.get(name) is None]
    _check_arguments(module, [p for p in open_ if not _is_linen_s_own(module) or p.default is p.empty])
    still = {name: value for name, value in fields.items() if name not in in_fields}
    _check_fields(module, {name: value for name, value in still.items() if name not in rest or value is not None})
    return Switches(module, arguments, in_fields)


def _check_kinds(answers: Mapping[str, tuple[Any, Any]], values: Mapping[str, Any]) -> None:
    """Refuses True and False for a mode that is a word: to the module both would be another word."""
    for name, (training, _) in answers.items():
        if isinstance(values.get(name), str) and isinstance(training, bool):
            raise ValueError(
                f"train_argument[{name!r}]={training} must be a pair of words, because {name} is {values[name]!r}: "
                f"{{{name!r}: (word in training, word in evaluation)}}, such as ('train', 'eval')."
            )


def _check_passed_on(module: nn.Sequential) -> None:
    """Refuses layers behind the first of an nn.Sequential that wait for a switch: none is passed on to them."""
    for number, layer in enumerate(module.layers[1:], start=1):
        if isinstance(layer, nn.Module) and not _is_linen_s_own(layer):
            parameters = list(inspect.signature(type(layer).__call__).parameters.values())[2:]
            names = [p.name for p in parameters if _may_be_switch(p) and getattr(layer, p.name, None) is None]
            if names:
                raise ValueError(
                    f"nn.Sequential passes no switch on to its layer {number}, {type(layer).__name__}, which takes "
                    f"{', '.join(names)}: it would stay at its default. Write a module that passes it on."
                )


def _answers(train_argument: str | Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    if train_argument is None:
        return {}
    if isinstance(train_argument, str):
        train_argument = {train_argument: not _words(train_argument) & _EVALUATION}
    if not isinstance(train_argument, Mapping) or not all(isinstance(name, str) for name in train_argument):
        raise ValueError(
            f"train_argument={train_argument!r} must be a name, such as 'is_train', or {{name: value in training}}."
        )
    pairs = {}
    for name, value in train_argument.items():
        if isinstance(value, tuple) and len(value) == 2:
            pairs[name] = value
        elif isinstance(value, bool):
            pairs[name] = (value, not value)
        else:
            raise ValueError(
                f"train_argument[{name!r}]={value!r} must be True or False, the value in training, or a pair (value in "
                "training, value in evaluation)."
            )
    return pairs


def _check_arguments(module: nn.Module, unknown: list[inspect.Parameter]) -> None:
    switches = [p.name for p in unknown if _may_be_switch(p)]
    needed = [p.name for p in unknown if p.default is p.empty and p.name not in switches]
    if not switches and not needed:
        return
    reasons = []
    if switches:
        reasons.append(f"may be training switches, and from_linen does not guess: {', '.join(switches)}")
    if needed:
        reasons.append(f"have no default: {', '.join(needed)}")
    first = (switches or needed)[0]
    example = f"{{{first!r}: (value, value)}}"
    if switches:
        default = next(p.default for p in unknown if p.name == first)
        example = _example(first) if not isinstance(default, str) else f"{{{first!r}: ('train', 'eval')}}"
    raise ValueError(
        f"{type(module).__name__}.__call__ has arguments that {'; that '.join(reasons)}. Say what they are in "
        f"training: from_linen(module, train_argument={example}); evaluation gets the negation. A pair (value in "
        "training, value in evaluation) stands for what is not a switch. Known names: "
        f"{', '.join(_TRAINING + _EVALUATING)}."
    )


def _check_fields(module: nn.Module, fields: dict[str, Any]) -> None:
    names = _TRAINING + _EVALUATING
    switches = [
        name
        for name, value in fields.items()
        if (isinstance(value, bool) and (_words(name) & _WORDS - _OF_SETTINGS or name in names))
        or (value is None and name in names)
        or (isinstance(value, str) and value.lower() in (_PHASES if _words(name) & _OF_PHASE else _PHASES - _TESTS))
    ]
    if switches and not _is_linen_s_own(module):
        first = switches[0]
        example = f"{{{first!r}: ('train', 'eval')}}" if isinstance(fields[first], str) else _example(first)
        raise ValueError(
            f"{type(module).__name__} has fields that may be training switches and would be the same in training and "
            f"evaluation: {', '.join(f'{name}={fields[name]!r}' for name in switches)}. Name their values in "
            f"training: from_linen(module, train_argument={example}); or, for a field that "
            f"does not change, {{{first!r}: ({fields[first]!r}, {fields[first]!r})}}."
        )


def _is_linen_s_own(module: nn.Module) -> bool:
    """Whether the module is one of Linen's, which take the switch or raise an error of their own without it."""
    return type(module).__module__.startswith("flax.")


def _words(name: str) -> set[str]:
    """Returns the words of "is_train", "isTrain" or "IS_TRAIN", in lower case."""
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


def _example(name: str) -> str:
    return f"{{{name!r}: {not _words(name) & _EVALUATION}}}"


def _may_be_switch(parameter: inspect.Parameter) -> bool:
    """Whether an argument is boolean by its annotation or default, or has a switch's name and no type against it."""
    note, default = parameter.annotation, parameter.default
    if isinstance(default, (bool, np.bool_)) or (isinstance(default, str) and _PHASE.search(default)):
        return True
    text = "" if note is parameter.empty else note if isinstance(note, str) else getattr(note, "__name__", "")
    text = str(note) if isinstance(note, (types.UnionType, types.GenericAlias)) or "typing." in str(note) else text
    if re.search(r"\bbool_?\b", text) and not re.search(r"Callable|[dD]ict|Mapping|[lL]ist|[tT]uple|Sequence", text):
        return True
    words = _words(parameter.name)
    named = bool(words & _WORDS) and not words & _QUANTITIES
    return named and text in ("", "int") and (default is None or isinstance(default, int) or default is parameter.empty)
