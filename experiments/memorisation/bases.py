"""The pre-trained models that rows start from: trained once on the public rows, and kept in the study's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from experiments import flags
from experiments.memorisation import gpt2
from experiments.memorisation.config import PARTS, Config
from experiments.memorisation.data import Corpus, Trial
from experiments.memorisation.reading import LOSS, RowLosses, perplexity, trial_losses
from gecko_jax import hosts, models, privacy, quantizers, training
from gecko_jax.digests import value_digest
from gecko_jax.models.saving import MARKER_FILE
from gecko_jax.types import Model, Variables

BITS = 4
MAX_DROP = 0.02  # of the token accuracy on public rows, by the pruning of heads
MAX_EVALUATIONS = 80  # of the search
WARM_UP = 0.08  # share of pre-training in which the learning rate rises
PRETRAINING = ("layers", "width", "heads", "length", "public_rows", "public_batch", "public_rate", "seed")


class Base(NamedTuple):
    """A pre-trained model.

    Attributes:
      name: in BASES.
      model, variables: the network, frozen from here on.
      perplexity: on the private validation rows, before any fine-tuning.
      public_perplexity: on public rows that it was not trained on.
      tied: whether head and embedding are one table.
      note: what was done to it, or "".
    """

    name: str
    model: Model
    variables: Variables
    perplexity: float
    public_perplexity: float
    tied: bool = False
    note: str = ""


class Bases:
    """Makes each base once, from the config and the corpus."""

    def __init__(self, config: Config, corpus: Corpus):
        self.config, self.corpus = config, corpus
        self._made: dict[str, Base] = {}
        self._losses: dict[tuple[str, int], RowLosses] = {}

    def __getitem__(self, name: str) -> Base:
        if name not in self._made:
            model, variables, note = BASES[name](self)
            rows = (self.corpus.validation.causal(), self.corpus.public_validation.causal())
            private, public = (perplexity(model, variables, each) for each in rows)
            self._made[name] = Base(name, model, variables, private, public, "head" not in variables["params"], note)
        return self._made[name]

    def losses(self, name: str, trial: Trial) -> RowLosses:
        """Returns a base's losses of the rows of a trial, which all rows of the table compare with.

        Args:
          name: in BASES.
          trial: of one seed.
        """
        if (name, trial.seed) not in self._losses:
            base = self[name]
            self._losses[name, trial.seed] = trial_losses(base.model, base.variables, trial)
        return self._losses[name, trial.seed]

    def pretrained(self, name: str, **options: Any) -> tuple[Model, Variables]:
        """Returns a transformer that was pre-trained on the public rows, from the study's folder if it is there.

        Args:
          name: of its folder.
          **options: of the transformer, instead of the config's.
        """
        config, corpus = self.config, self.corpus
        sizes = dict(layers=config.layers, width=config.width, heads=config.heads, max_length=config.length)
        model = models.create("transformer", corpus.tokenizer.vocabulary, **{**sizes, **options})
        settings = {each: flags.to_dict(config)[each] for each in PRETRAINING}
        identity = value_digest(settings, options, corpus.public.tokens)
        folder, rows = Path(config.output) / "bases" / f"{name}-{identity}", corpus.public.causal()
        is_there = (folder / "model" / MARKER_FILE).exists
        stored = hosts.from_main(lambda: models.load(folder / "model").variables if is_there() else None)
        if stored is not None:
            return model, stored
        fitted = training.fit(
            model,
            rows,
            loss=LOSS,
            sampling=privacy.shuffled(len(rows.y), config.public_batch, 1),
            epochs=PARTS,
            optimizer=training.optimizer("adam", config.public_rate),
            schedules={"learning_rate": rate},
            seed=config.seed,
            folder=folder / "run",
            label=f"pre-training: {name}",
        )
        models.save(folder / "model", model, fitted.variables, rows.x[:1], settings=settings)
        return model, fitted.variables


def rate(share: float) -> float:
    """Returns the factor on the learning rate at a share of pre-training: a rise, then half a cosine.

    Args:
      share: of pre-training that is done.

    >>> rate(0.0) < rate(0.04) < rate(0.08) > rate(0.5)
    True
    """
    return min(1.0, (share + 1 / PARTS) / WARM_UP) * training.cosine(share)


def _float(bases: Bases) -> tuple[Model, Variables, str]:
    if (weights := bases.config.weights) is not None:
        return *gpt2.load(weights, bases.corpus.tokenizer), "published weights"
    return *bases.pretrained("float"), ""


def _tied(bases: Bases) -> tuple[Model, Variables, str]:
    return *bases.pretrained("tied", tied=True), ""


def _small(bases: Bases) -> tuple[Model, Variables, str]:
    return *bases.pretrained("small", width=bases.config.small_width), ""


def _four_bits(bases: Bases) -> tuple[Model, Variables, str]:
    return _quantized(bases["float"], "block"), bases["float"].variables, "weights of all blocks in 4 bits"


def _all_four_bits(bases: Bases) -> tuple[Model, Variables, str]:
    return _quantized(bases["float"], ""), bases["float"].variables, "all weights in 4 bits"


def _pruned(bases: Bases) -> tuple[Model, Variables, str]:
    base, corpus = bases["float"], bases.corpus
    data, held_out = corpus.public.take(slice(bases.config.validation)).causal(), corpus.public_validation.causal()
    pruned = models.prune_heads(
        base.model, base.variables, data, held_out, max_drop=MAX_DROP, max_evaluations=MAX_EVALUATIONS, batch_size=32
    )
    count = sum(map(len, pruned.removed.values()))
    note = (
        f"{count} attention heads ({pruned.share:.0%}) removed by A* search, {100 * pruned.drop.value:.2f} points of "
        f"public token accuracy lost, at most {100 * (pruned.drop.high or 0):.2f}"
    )
    return pruned.model, pruned.variables, note


def _pruned_four_bits(bases: Bases) -> tuple[Model, Variables, str]:
    base = bases["pruned"]
    return _quantized(base, ""), base.variables, f"{base.note}; all weights in 4 bits"


def _quantized(base: Base, path: str) -> Model:
    return models.quantized(base.model, [(path, quantizers.uniform(BITS), None)], float_layers=())


BASES: dict[str, Callable[[Bases], tuple[Model, Variables, str]]] = {
    "float": _float,
    "tied": _tied,
    "small": _small,
    "4bit": _four_bits,
    "all_4bit": _all_four_bits,
    "pruned": _pruned,
    "pruned_4bit": _pruned_four_bits,
}
