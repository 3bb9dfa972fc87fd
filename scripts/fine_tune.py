"""Fine-tunes a language model on texts of your own, privately or not, and saves it for scripts/audit.py.

    python scripts/fine_tune.py --data=mine.jsonl --epsilon=8         # {"text": "..."} a line; then, as it prints:
    python scripts/audit.py --model=runs/fine_tuned

    python scripts/fine_tune.py                                       # made-up clinical notes, without privacy
    python scripts/fine_tune.py --data=mine.jsonl --public=books.txt --user=author --method=adapter --models=4
    python scripts/fine_tune.py --data=mine.jsonl --base=runs/fine_tuned/base --epsilon=2
    python scripts/fine_tune.py --help

A small transformer and its tokenizer are pre-trained on PUBLIC texts, unless --base names one. Half of your texts are
members; the others, which the model never sees, show what it remembers. Either all rows of a text are members or none
are. With --epsilon each model is trained by DP-Adam. Epsilon is for a row, of --length tokens: a long text has several,
and an author still more. It covers the parameters, not the memberships that are saved beside them, nor the validation
figures that are printed.
"""

from __future__ import annotations

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags, trains, saves, and prints what came out."""
    with command.reported("fine_tune"):
        _main(argv)


def _main(argv: list[str] | None) -> None:
    import numpy as np

    from experiments import fine_tuned, flags  # imported here, so that Ctrl-C while JAX is loaded ends as it does later
    from experiments.fine_tuned_config import Config

    config = flags.parse(flags.define(Config, {"default": Config()}), argv)
    run = fine_tuned.train(config)
    rows = run.texts.rows
    documents, most = np.unique(rows.document, return_counts=True)
    print(f"{len(documents):,} texts of at most {most.max()} rows of {config.length} tokens, and "
          f"{len(run.texts.validation.id):,} validation rows of other texts")  # fmt: skip
    figures = fine_tuned.perplexities(run)
    for name, shown_as in (("perplexity", "perplexity (for each token, measured)"),
                           ("bits_per_byte", "bits per byte (measured)")):  # fmt: skip
        base, *tuned = figures[name]
        shown = ", ".join(f"{value:.4g}" for value in tuned)
        print(f"validation {shown_as}: base {base:.4g}, fine-tuned {shown}")
    if run.privacy is not None:
        print(run.privacy.epsilon)
        if run.privacy.warning:
            print(f"WARNING: {run.privacy.warning}")
    print(f"saved in {config.output}; next: python scripts/audit.py --model={config.output}")


if __name__ == "__main__":
    main()
