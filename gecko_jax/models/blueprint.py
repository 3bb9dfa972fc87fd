"""Describes how a model is built in JSON's types: one (builder, settings) for each step, the network first.

    [["create", {"name": "mlp", "num_classes": 10}], ["quantized", {"rules": [...], "float_layers": ["first", "last"]}]]

Only the builders of this file build a saved model again. No name from a file is looked up in code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gecko_jax.activations.penalties import PENALTIES
from gecko_jax.json_values import dumps
from gecko_jax.quantizers import QUANTIZERS
from gecko_jax.types import Model, Quantizer, Rule

Blueprint = tuple[tuple[str, str], ...]
JSON_TYPES = (bool, int, float, str, type(None))


def with_step(model: Model, builder: str, settings: Mapping[str, Any], before: Blueprint = ()) -> Model:
    """Returns the model with a blueprint: the steps before, and this one.

    Args:
      model: the model that the builder returned.
      builder: its name.
      settings: its arguments, which JSON can hold; NumPy's numbers become Python's.
      before: the blueprint of the model that the builder was applied to.
    """
    return model._replace(blueprint=(*before, (builder, dumps(settings, builder))))


def rules_as_json(rules: Sequence[Rule]) -> list[list[Any]]:
    """Returns [[path, weight, input]] with each quantizer as {"factory": its name, "settings": its arguments}."""
    return [[rule.path, _quantizer_as_json(rule.weight), _quantizer_as_json(rule.input)] for rule in rules]


def _quantizer_as_json(quantizer: Quantizer | None) -> dict[str, Any] | None:
    if quantizer is None:
        return None
    factory, settings = quantizer.blueprint or (None, ())
    if factory is None or not all(type(value) in JSON_TYPES for _, value in settings):
        return {"name": quantizer.name}  # the user's own, which has to be passed when the model is loaded
    return {"factory": factory.__name__, "settings": dict(settings)}


def to_json(blueprint: Blueprint) -> list[list[Any]]:
    """Returns a blueprint as [[builder, {argument: value}]], for a file that people read."""
    return [[builder, json.loads(text)] for builder, text in blueprint]


def from_json(steps: Sequence[Sequence[Any]]) -> Blueprint:
    """Returns the blueprint that `to_json` wrote."""
    return tuple((str(builder), dumps(settings)) for builder, settings in steps)


def build(steps: Blueprint, model: Model | None = None) -> Model:
    """Builds a model from its blueprint.

    Args:
      steps: the saved blueprint.
      model: a model that was built by the first of these steps, or by all; None: all steps are applied.

    Returns:
      The model after all steps.

    Raises:
      ValueError: a step that needs the caller's code, or a model that was built by other steps.
    """
    done = model.blueprint if model is not None else ()
    if done != steps[: len(done)] or (model is not None and not done and steps):
        raise ValueError(
            f"model was built by {_listed(done)}; the saved one was built by {_listed(steps)}. Pass the module that "
            "was saved, or the model as it was saved."
        )
    for builder, text in steps[len(done) :]:
        model = _apply(builder, json.loads(text), model, steps)
    if model is None:
        raise ValueError("the saved model was built by hand: pass it as models.load(folder, model).")
    return model


def _apply(builder: str, settings: dict[str, Any], model: Model | None, steps: Blueprint) -> Model:
    from gecko_jax.models import (  # here: all record their step through this file
        create,
        dynamic_sparse,
        early_exit,
        fine_tuning,
        multi_exit,
        pruned,
        quantized,
        shared_weights,
        with_dropout,
        with_features,
        with_range_penalty,
        with_rates,
        without_batch_norm,
    )

    if builder == "create":
        return create(**_with_tuples(settings))
    if builder == "quantized" and model is not None:
        rules = [(path, _quantizer(weight), _quantizer(inputs)) for path, weight, inputs in settings["rules"]]
        return quantized(model, rules, settings["float_layers"])
    if builder == "without_batch_norm" and model is not None:
        return without_batch_norm(model, settings["kind"])
    if builder == "with_range_penalty" and model is not None:
        power = {} if settings["power"] is None else {"power": settings["power"]}
        penalty = PENALTIES[settings["penalty"]](settings["bound"], **power)
        return with_range_penalty(model, penalty, settings["weight"], settings["path"])
    if builder == "with_dropout" and model is not None:
        return with_dropout(model, **settings)
    if builder == "with_features" and model is not None:
        return with_features(model, **settings)
    if builder == "multi_exit" and model is not None:
        return multi_exit(model, **settings)
    if builder == "early_exit" and model is not None:
        return early_exit(model, **settings)
    if builder == "pruned" and model is not None:
        return pruned(model, **settings)
    if builder == "dynamic_sparse" and model is not None:
        return dynamic_sparse(model, **settings)
    if builder == "shared_weights" and model is not None:
        return shared_weights(model, **settings)
    if builder == fine_tuning.PARTS and model is not None:
        method = fine_tuning.FINE_TUNINGS[settings["method"]](**_with_tuples(settings["settings"]))
        return method.apply(model)
    if builder == "with_rates" and model is not None:
        return with_rates(model, settings["factors"])
    raise ValueError(
        f"the saved model was built by {_listed(steps)}; {builder} needs a network or code that is not saved. Pass it: "
        "models.load(folder, model), with the Flax module or the whole model."
    )


def _with_tuples(value: Any) -> Any:
    """Returns settings with the tuples that JSON made lists of."""
    if isinstance(value, dict):
        return {name: _with_tuples(part) for name, part in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _quantizer(saved: Mapping[str, Any] | None) -> Quantizer | None:
    if saved is None:
        return None
    factories = {make.__name__: make for make, _ in (table_entry().blueprint for table_entry in QUANTIZERS.values())}
    if saved.get("factory") not in factories:
        raise ValueError(
            f"the saved rules hold the quantizer {saved.get('factory', saved.get('name'))!r}, which is not one of "
            "gecko_jax.quantizers: pass the quantized model as models.load(folder, model)."
        )
    return factories[saved["factory"]](**saved["settings"])


def _listed(steps: Blueprint) -> str:
    return ", then ".join(f"{builder}({text.strip('{}')})" for builder, text in steps) or "hand"
