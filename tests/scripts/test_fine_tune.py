"""A user's route: texts of one's own -> LoRA under epsilon -> a page, by the two scripts."""

import json
import types

import jax
import numpy as np
import pytest
from absl import flags

from experiments import fine_tuned, fine_tuned_data
from gecko_jax.datasets import text
from gecko_jax.trees import named_leaves
from scripts import audit as audit_script
from scripts import fine_tune

SMALL = ["--layers=1", "--width=16", "--heads=2", "--length=24", "--vocabulary=300", "--pretrain_notes=60",
         "--pretrain_epochs=2", "--epochs=2", "--rank=2", "--seed=1"]  # fmt: skip


@pytest.fixture(name="run", scope="module")
def train_once(tmp_path_factory):
    """(the folder of a private run, the file of its texts, what was printed, what is read from the folder)."""
    folder = tmp_path_factory.mktemp("route")
    notes = text.notes(60, seed=11, departments=["pediatrics"])
    records = ({"note": note, "by": user} for note, user in zip(notes.text, notes.user, strict=True))
    (folder / "mine.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    arguments = [
        f"--data={folder / 'mine.jsonl'}",
        "--text=note",
        "--user=by",
        "--epsilon=8",
        f"--output={folder / 'run'}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words))))
        fine_tune.main(["fine_tune", *arguments, *SMALL])
    return folder / "run", folder / "mine.jsonl", "\n".join(printed), fine_tuned.load(folder / "run")


def test_what_is_printed_is_measured(run):
    folder, _, printed, saved = run
    figures = fine_tuned.perplexities(saved)
    x, y, _ = saved.texts.validation.causal()
    tuned = jax.tree.map(lambda leaf: leaf[0], saved.variables)
    logits = np.asarray(jax.jit(lambda v, x: saved.model.apply(v, x)[0])(tuned, x), np.float64)
    losses = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, np.maximum(y, 0)[..., None], -1)[..., 0]
    total, tokenizer = losses[y >= 0].sum(), saved.base.tokenizer
    notes = fine_tuned_data.parts(saved.config, None).validation.text
    size = sum(len(note.encode()) - len(tokenizer.decode(tokenizer.encode(note)[:1]).encode()) for note in notes)
    assert figures["perplexity"][1] == pytest.approx(np.exp(total / (y >= 0).sum()), rel=1e-5)
    assert figures["bits_per_byte"][1] == pytest.approx(total / np.log(2) / size, rel=1e-5)
    assert all(f"{value:.4g}" in printed for values in figures.values() for value in values)
    assert figures["perplexity"][1] != figures["perplexity"][0]
    assert f"next: python scripts/audit.py --model={folder}" in printed


def test_the_guarantee_says_whom_it_covers(run):
    folder, _, printed, saved = run
    assert 7.9 < saved.privacy.epsilon.value <= 8 and str(saved.privacy.epsilon) in printed
    most = np.unique(saved.texts.rows.document, return_counts=True)[1].max()
    assert f"epsilon is for one row, and a text has up to {most} rows, and an author has up to" in printed
    assert "WARNING: the base is pre-trained on made-up clinical notes alone" in printed.split("validation")[0]


def test_the_base_stays_to_the_bit_and_documents_are_not_cut_in_two(run):
    saved = run[3]
    tuned = dict(named_leaves(saved.variables["params"]))
    for name, leaf in named_leaves(saved.base.variables["params"]):
        np.testing.assert_array_equal(tuned.pop(name)[0], leaf)
    assert tuned and all(name.startswith("fine_tuning/lora/") for name in tuned)
    rows = saved.texts.rows
    members, others = (
        set(rows.document[chosen].tolist()) for chosen in (saved.texts.member[0], ~saved.texts.member[0])
    )
    assert not members & others and not (members | others) & set(saved.texts.validation.document.tolist())


def test_the_second_command_writes_the_page(run, capsys):
    folder = run[0]
    try:
        flags.FLAGS(["audit", f"--model={folder}"])
        audit_script.main(["audit"])
    finally:
        flags.FLAGS.unparse_flags()
    printed = capsys.readouterr().out
    assert "accounted for each model: epsilon" in printed and "epsilon is for one row" in printed
    figures = json.loads((folder / "audit.json").read_text())
    assert {"loss", "reference_ratio", "zlib_ratio", "lowercase_ratio", "min_k"} <= set(figures["rows"])
    assert "made-up clinical notes alone" in figures["warnings"][0]
    exposed = figures["most_exposed"]
    members = run[3].texts.rows.document[run[3].texts.member[0]]
    assert exposed["id"] != exposed["rows"] and set(exposed["id"]) <= set(members.tolist())
    page = (folder / "audit.html").read_text()
    assert all(words in page for words in ("reference model pre-trained base", str(run[3].privacy.epsilon)[:20]))
    assert "epsilon is for one row" in page
    notes = run[1].read_text()
    secrets = [json.loads(line)["note"][:40] for line in notes.splitlines()]
    assert not any(secret in (folder / "audit.html").read_text() for secret in secrets)


def test_other_texts_and_other_lengths_are_refused(run, tmp_path):
    folder, path = run[:2]
    lines = path.read_text()
    try:
        path.write_text(lines.replace("fever", "cough"))
        with pytest.raises(ValueError, match="is no longer what .* was trained on"):
            fine_tuned.load(folder)
    finally:
        path.write_text(lines)
    base = [f"--base={folder / 'base'}", f"--data={path}", "--text=note", f"--output={tmp_path}"]
    with pytest.raises(SystemExit, match="fine_tune: length=64 is beyond the context of the base, 24 tokens"):
        fine_tune.main(["fine_tune", *base])
    with pytest.raises(SystemExit, match="holds no base; expected .*base"):
        fine_tune.main(["fine_tune", *base, f"--base={folder}"])
    with pytest.raises(ValueError, match="holds no fine-tuned model"):
        fine_tuned.load(folder / "base")


@pytest.mark.parametrize(
    "content, arguments, message",
    [
        (b"", ["--data=nowhere.jsonl"], "data='nowhere.jsonl' is not a file; expected one of JSON lines"),
        (b"", [], "mine.jsonl is empty; expected one JSON object a line"),
        (b'{"text": "The only one."}\n', [], "1 document cannot be split into pool, validation"),
        (b'{"text": "n\xe9"}\n', [], "mine.jsonl, line 1: byte 0xe9 at 11 is not utf-8"),
        (b'{"text": "n\xe9"}\n', ["--encoding=latin-1"], "1 document cannot be split"),
        (b'{"text": "One."}\n{"text": "Two."}\n', [], "1 texts are too few|of 2 documents is empty"),
        (b'{"text": "One."}\n', ["--public=nowhere"], "public='nowhere' is not a file or folder"),
        (b'{"text": "One."}\n', ["--public=mails"], "whose text|treated as private; pre-train on another"),
        (
            b'{"text": "One."}\n',
            ["--public=austen", "--data_dir=none"],
            "austen.jsonl does not exist. Fetch the package",
        ),
    ],
)
def test_bad_texts_are_refused_before_anything_is_trained(tmp_path, monkeypatch, content, arguments, message):
    monkeypatch.setattr(fine_tuned, "pretrain", lambda *_: pytest.fail("trained on bad texts"))
    (tmp_path / "mine.jsonl").write_bytes(content)
    with pytest.raises(SystemExit, match=f"fine_tune: .*({message})"):
        fine_tune.main(["fine_tune", f"--data={tmp_path / 'mine.jsonl'}", f"--output={tmp_path}", *arguments])


def test_public_texts_that_are_private_are_refused_and_small_ones_warned_of(tmp_path):
    notes = text.notes(30, seed=4)
    lines = "".join(json.dumps({"text": note}) + "\n" for note in notes.text)
    (tmp_path / "mine.jsonl").write_text(lines)
    config = fine_tuned.Config(data=str(tmp_path / "mine.jsonl"), public=str(tmp_path / "public.jsonl"))
    (tmp_path / "public.jsonl").write_text(lines.splitlines()[0])
    with pytest.raises(ValueError, match="1 private documents are public as well"):
        fine_tuned_data.parts(config, fine_tuned_data.public_documents(config))
    (tmp_path / "public.txt").write_text("A short public text.\n")
    config = fine_tuned.Config(data=config.data, public=str(tmp_path / "public.txt"))
    warnings = fine_tuned_data.parts(config, fine_tuned_data.public_documents(config)).warnings
    assert "public.txt holds 21 characters; a base learns a language from some million" in warnings[-1]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rank": 4, "method": "head"}, "rank=4 has no effect here: it needs --method=lora"),
        ({"layers": 3, "base": "runs/base"}, "layers=3 has no effect here: it needs a base that is pre-trained here"),
        ({"delta": 1e-3}, "delta=0.001 has no effect here: it needs --epsilon"),
        ({"text": "note"}, "text, user and time are keys of a file"),
        ({"member_rate": 1.0}, "member_rate=1.0 must lie above 0 and below 1"),
        ({"length": 1}, "length=1 must be at least 2"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"epsilon": 0.0}, "epsilon=0.0 must be a finite number above 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fine_tuned.Config(**options)


def test_the_cleaning_of_texts_by_each_other_is_named_as_not_covered():
    rows = text.rows(text.from_texts(["abc", "abd"]), text.bytes_tokenizer(), 8)
    for clean in (False, True):
        config = fine_tuned.Config(data="mine.jsonl", clean=clean)
        sentence = fine_tuned._not_covered(config, types.SimpleNamespace(rows=rows))
        assert bool(clean) == ("It does not cover the cleaning: what stays of a text" in (sentence or ""))
