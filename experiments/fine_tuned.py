"""One fine-tuned language model: pre-training, fine-tuning and audit, for scripts/fine_tune.py and scripts/audit.py.

The records of the audit are documents: all rows of one are trained on, or none, so that its rows are not independent.
The guarantee of a private run is for a row.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import fine_tuned_data, flags
from experiments.fine_tuned_config import Config
from experiments.fine_tuned_data import Texts
from experiments.one_model import Guarantee
from gecko_jax import audit, clippings, losses, metrics, models, privacy, probes, training
from gecko_jax.datasets import text
from gecko_jax.digests import value_digest
from gecko_jax.models.saving import MARKER_FILE
from gecko_jax.trees import take
from gecko_jax.types import Model, Variables

KIND = "fine-tuned language model"  # in the settings of a saved run
BASE_KIND = "language model"
BATCH_SIZE, BATCHES_PER_EPOCH = 32, 10  # the latter of a private run of many rows, as privacy.suggest has it
LOSS = losses.sequence_cross_entropy(padding=-1)


class Base(NamedTuple):
    """A pre-trained language model.

    Attributes:
      model, variables: the network.
      tokenizer: of its tokens.
      length: the longest row that it was trained on, in tokens.
    """

    model: Model
    variables: Variables
    tokenizer: text.Tokenizer
    length: int


class Run(NamedTuple):
    """A fine-tuned model with what it was trained on.

    Attributes:
      config: its settings.
      base: what it was fine-tuned from.
      model, variables: the tuned network; variables have a leading axis of the models.
      texts: rows and members.
      privacy: the privacy guarantee of each single model for one row; None if training was not private.
    """

    config: Config
    base: Base
    model: Model
    variables: Variables
    texts: Texts
    privacy: Guarantee | None


def method(config: Config) -> models.fine_tuning.FineTuning:
    """Returns the config's way of fine-tuning."""
    options = {"lora": {"rank": config.rank}, "adapter": {"reduction": config.reduction},
               "prefix": {"length": config.prefix_length}}  # fmt: skip
    return models.fine_tuning.FINE_TUNINGS[config.method](**options.get(config.method, {}))


def pretrain(config: Config, public: text.Documents) -> Base:
    """Learns a tokenizer and a base on public texts, and saves them in output/base."""
    tokenizer = text.learn_bpe(public, config.vocabulary)
    rows = text.rows(public, tokenizer, config.length)
    size = {name: getattr(config, name) for name in ("layers", "width", "heads")}
    model = models.create("transformer", tokenizer.vocabulary, max_length=config.length, **size)
    fitted = training.fit(
        model,
        rows.causal(),
        loss=LOSS,
        epochs=config.pretrain_epochs,
        batch_size=BATCH_SIZE,
        optimizer=training.optimizer("adam", config.pretrain_learning_rate),
        schedules={"learning_rate": training.cosine},
        seed=config.seed or 0,
        folder=Path(config.output) / "checkpoints" / "base",
        label="pre-training",
    )
    settings = {"kind": BASE_KIND, "tokenizer": tokenizer.definition, "length": config.length}
    models.save(Path(config.output) / "base", model, fitted.variables, rows.causal().x[:1], settings=settings)
    return Base(model, fitted.variables, tokenizer, config.length)


def load_base(folder: str | Path, length: int) -> Base:
    """Reads a base that `pretrain` saved.

    Args:
      folder: of the base.
      length: tokens of the rows that it is to be fine-tuned on.

    Raises:
      ValueError: another folder, or rows that are longer than its context.
    """
    if _kind(folder) != BASE_KIND:
        expected = str(Path(folder) / "base") if is_run(folder) else "the folder base of a run of scripts/fine_tune.py"
        raise ValueError(f"{str(folder)!r} holds no base; expected {expected}.")
    stored = models.load(folder)
    settings = stored.settings
    if length > settings["length"]:
        raise ValueError(
            f"length={length} is beyond the context of the base, {settings['length']} tokens, and it knows no position "
            f"behind. Pass --length={settings['length']}, or pre-train a longer one."
        )
    tokenizer = text.from_definition(settings["tokenizer"])
    return Base(stored.model, stored.variables, tokenizer, settings["length"])


def train(config: Config) -> Run:
    """Pre-trains if need be, fine-tunes the config's models and saves them in its output folder."""
    public = fine_tuned_data.public_documents(config) if config.base is None else None
    documents = fine_tuned_data.parts(config, public)  # what is wrong with them is said before minutes of pre-training
    for warning in documents.warnings:
        print(f"WARNING: {warning}", flush=True)
    base = load_base(config.base, config.length) if public is None else pretrain(config, public)
    texts, way = fine_tuned_data.cut(config, documents, base.tokenizer), method(config)
    model, rows = way.apply(base.model), texts.rows.causal()
    private = _private(config, model, texts, way.trainable)
    options: dict[str, Any] = dict(loss=LOSS, epochs=config.epochs, batch_size=config.batch_size or BATCH_SIZE)
    options["trainable"] = way.trainable
    if private is not None:
        options = private.options
    fitted = training.fit_ensemble(
        model,
        rows,
        texts.member,
        init=models.fine_tuning.start(model, base.variables, config.seed or 0, rows.x[:1], models=config.models),
        optimizer=training.optimizer("adam", config.learning_rate),
        seed=config.seed,
        folder=Path(config.output) / "checkpoints" / "model",
        label="fine-tuning",
        **options,
    )
    guarantee = private and Guarantee(private.epsilon, private.noise_multiplier, _not_covered(config, texts))
    run = Run(config, base, model, fitted.variables, texts, guarantee)
    _save(run)
    return run


def _private(
    config: Config, model: Model, texts: Texts, trainable: tuple[str, ...] | None
) -> privacy.PrivateTraining | None:
    """Returns the private run; None without a budget. Rows come and go with their documents' coins: n is expected."""
    if config.epsilon is None:
        return None
    n = max(1, round(config.member_rate * len(texts.rows.id)))
    return privacy.private_training(
        model,
        LOSS,
        clippings.flat(config.clip_norm),
        n=n,
        batch_size=config.batch_size or max(min(BATCH_SIZE, n), n // BATCHES_PER_EPOCH),
        epochs=config.epochs,
        delta=10.0 ** math.floor(math.log10(0.5 / n)) if config.delta is None else config.delta,
        target_epsilon=config.epsilon,
        trainable=trainable,
        x=texts.rows.causal().x[:2],
    )


def _not_covered(config: Config, texts: Texts) -> str | None:
    """Says what epsilon covers less than a row, or not; None if each text is one row, and all else is unknown."""
    groups = {"text": texts.rows.document, "author": texts.rows.user}
    most = {name: int(np.unique(column, return_counts=True)[1].max()) for name, column in groups.items()
            if column is not None}  # fmt: skip
    larger = [f"{name} has up to {count} rows" for name, count in most.items() if count > 1]
    sentences = [f"epsilon is for one row, and a {', and an '.join(larger)}: they are protected less."] * bool(larger)
    sentences += ["It does not cover the cleaning: what stays of a text depends on the others."] * config.clean
    return " ".join(sentences) or None


def _save(run: Run) -> None:
    settings = {
        "kind": KIND,
        "config": flags.to_dict(run.config),
        "base": str(run.config.base or Path(run.config.output) / "base"),
        "rows": value_digest(run.texts.rows.tokens, run.texts.rows.id),
        "privacy": None,
    }
    if run.privacy is not None:
        settings["privacy"] = run.privacy._asdict() | {"epsilon": run.privacy.epsilon.to_json()}
    x = run.texts.rows.causal().x[:1]
    models.save(run.config.output, run.model, run.variables, x, settings=settings, arrays={"member": run.texts.member})


def is_run(folder: str | Path) -> bool:
    """Tells whether a folder holds a run of `train`."""
    return _kind(folder) == KIND


def _kind(folder: str | Path) -> Any:
    """Returns what a saved model is, by its marker alone; `models.load` checks the rest."""
    try:
        return json.loads((Path(folder) / MARKER_FILE).read_text())["settings"]["kind"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def load(folder: str | Path) -> Run:
    """Reads a saved run, its base, and the texts again.

    Raises:
      ValueError: a folder without a run, or texts that are no longer those that it was trained on.
    """
    if not is_run(folder):
        raise ValueError(f"{str(folder)!r} holds no fine-tuned model; scripts/fine_tune.py writes one.")
    stored = models.load(folder)
    settings = stored.settings
    config = flags.from_dict(Config, settings["config"])
    beside = Path(folder) / "base"
    base = load_base(beside if config.base is None and beside.is_dir() else settings["base"], config.length)
    public = fine_tuned_data.public_documents(config) if config.base is None else None
    texts = fine_tuned_data.cut(config, fine_tuned_data.parts(config, public), base.tokenizer)
    if value_digest(texts.rows.tokens, texts.rows.id) != settings["rows"]:
        raise ValueError(
            f"{config.data} is no longer what {str(folder)!r} was trained on: the audit would be of other texts."
        )
    if not np.array_equal(texts.member, stored.arrays["member"]):
        raise ValueError(f"{str(folder)!r} has other members than its settings draw: model.json was changed.")
    guarantee = settings["privacy"]
    if guarantee is not None:
        guarantee = Guarantee(**{**guarantee, "epsilon": privacy.Epsilon.from_json(guarantee["epsilon"])})
    return Run(config, base, stored.model, stored.variables, texts, guarantee)


def perplexities(run: Run) -> dict[str, Any]:
    """Reads the perplexity for each token, and bits for each byte, of the base and of each model on validation rows."""
    x, y, _ = run.texts.validation.causal()
    losses = [probes.token_losses(run.base.model, run.base.variables, x, y)]
    for i in range(run.config.models):
        losses.append(probes.token_losses(run.model, take(run.variables, i), x, y))
    size = run.texts.validation.bytes
    return {
        "perplexity": [float(metrics.perplexity(each, y)) for each in losses],
        "bits_per_byte": [float(metrics.bits_per_byte(each, y, size)) for each in losses],
    }


def audit_run(run: Run, attacks: Any = None) -> audit.Report:
    """Audits the documents of a run: what attacks on its losses, alone and beside the base's, tell of membership."""
    rows, member, variables = run.texts.rows, run.texts.member, run.variables
    if len(member) == 1:
        member, variables = member[0], take(variables, 0)
    report = audit.audit_language_model(
        run.model,
        variables,
        rows._replace(user=rows.document),  # whose rows are all members or none
        member,
        attacks,
        references={"pre-trained base": (run.base.model, run.base.variables)},
        tokenizer=run.base.tokenizer,
        by_user=True,
    )
    note = "A user of this report is a text, all or none of whose rows are trained on; its id is its place in the file."
    exposed = report.most_exposed
    if exposed is not None:
        exposed = exposed._replace(id=np.unique(rows.document)[exposed.rows])
    warnings, notes = [*run.texts.warnings, *report.warnings], [note, *report.notes]
    if run.privacy is not None:
        notes.insert(0, f"Privacy accounted for each model: {run.privacy.epsilon}")
        warnings += [run.privacy.warning] if run.privacy.warning else []
    return dataclasses.replace(report, warnings=tuple(warnings), notes=tuple(notes), most_exposed=exposed)
