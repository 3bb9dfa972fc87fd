"""The training that each row of the study takes: settings in, `work.Work` out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from experiments.data_sizes import sizes_of
from experiments.gecko.config import Config, with_needs
from experiments.gecko.methods import METHODS, Method
from experiments.work import Work, private_steps, steps_of
from gecko_jax import clippings, losses

# Defense -> how many trainings of Full precision it takes, its teachers and second candidates among them.
TRAININGS = {"adversarial_regularization": 2, "mixup_mmd": 2, "dmp": 2, "safe_compress": 2}


def workload(config: Config) -> list[Work]:
    """Returns the training of all rows, and of the teachers and other rows that these need."""
    several = len(parts := config.parts()) > 1
    return [
        each._replace(name=f"{name}: {each.name}") if several else each
        for name, part in parts.items()
        for each in _Rows(part).all()
    ]


class _Rows:
    """The rows on one data set."""

    def __init__(self, config: Config):
        self.config, self.sizes = config, sizes_of(config.dataset, config.data_dir)
        records = min(config.records or self.sizes.rows, self.sizes.rows)
        self.members = round(config.member_rate * (records - round(config.reference * records)))
        self._possible: dict[Any, bool] = {}

    def all(self) -> Iterator[Work]:
        """Yields the rows; those of a network that cannot be made so are left out, as in a run."""
        for index, place in enumerate(self.config.places()):
            taught: set[str] = set()
            for name in with_needs(self.config.methods):
                teacher = self.config.teacher(place.network, name)
                if not METHODS[name].is_trained or not self._can_be(place.network, name):
                    continue
                if teacher and not self._can_be(teacher, "full"):
                    continue
                yield self._row(place.network, index, name)
                kind = METHODS[name].teacher or ""
                if teacher and kind not in taught and (self.config.cross_fit or kind != "homogeneous"):
                    taught.add(kind)
                    yield self._teacher(f"{place.network} {kind} teacher", teacher, index)

    def _row(self, network: str, index: int, name: str) -> Work:
        config, method, options = self.config, METHODS[name], {}
        epochs, batch_size = (config.fine_tuning_epochs if method.start else config.epochs)[index], config.batch_size
        steps = steps_of(self.members, batch_size, epochs)
        if method.epsilon is not None:
            batch_size = config.dp_batch_size
            steps = private_steps(self.members, batch_size, config.dp_epochs[index])
            options["clipping"] = clippings.CLIPPINGS[config.clipping](config.clip_norm)
        if method.teacher:
            options |= dict(loss=losses.CLASS_LOSSES[config.distillation](), extra={"teacher": (self.sizes.classes,)})
        model = config.network(network, name, self.sizes.classes)
        return Work(
            f"{network} {method.label}", model, self.sizes.like, config.models, steps, batch_size,
            fits=_trainings(method), kind=(config.dataset, network, method.epsilon is None), **options,
        )  # fmt: skip

    def _teacher(self, name: str, network: str, index: int) -> Work:
        config = self.config
        steps = steps_of(self.members, config.batch_size, config.epochs[index])
        model = config.network(network, "full", self.sizes.classes)
        return Work(
            name, model, self.sizes.like, config.models, steps, config.batch_size,
            fits=max(1, config.cross_fit - 1), kind=(config.dataset, network, True),
        )  # fmt: skip

    def _can_be(self, network: str, name: str) -> bool:
        """Tells whether a network can be what a method makes of it, and reads the data; asked once for its options."""
        method = METHODS[name]
        key = network, str(method.options), bool(method.rules), method.epsilon is None, method.transform is None
        if key not in self._possible:
            shape = jax.ShapeDtypeStruct(np.shape(self.sizes.like.x), np.float32)
            try:
                model = self.config.network(network, name, self.sizes.classes)
                jax.eval_shape(model.init, jax.random.key(0), shape)
                self._possible[key] = True
            except ValueError:
                self._possible[key] = False
        return self._possible[key]


def _trainings(method: Method) -> int:
    """Returns how many trainings of its network a row takes; k teachers on all folds but one, and the student, k."""
    name, settings = method.defense or ("", {})
    if "folds" in settings:
        return settings["folds"]
    if "submodels" in settings:
        return 1 + settings["submodels"] - settings["withheld"]
    return TRAININGS.get(name, 1)
