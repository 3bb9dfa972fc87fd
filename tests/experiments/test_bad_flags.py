"""Bad flags, and flags that nothing would read, end every command with a message before anything is loaded."""

import dataclasses
import sys

import pytest

from experiments import flags, one_model
from experiments.audit import config as audit_config
from experiments.dp_clipping import config as clipping_config
from experiments.dp_clipping.rules import RULES
from experiments.gecko import config as gecko_config
from experiments.gecko.methods import METHODS
from experiments.gecko.networks import NETWORKS
from experiments.gecko.presets import PRESETS as GECKO_PRESETS
from experiments.he_friendly import config as he_friendly_config
from experiments.he_friendly.methods import METHODS as INGREDIENTS
from experiments.self_audit import config as self_audit_config
from experiments.self_audit.scenarios import SCENARIOS
from gecko_jax import activations, clippings, datasets, losses, models, quantizers, training

COMMANDS = {
    "train": (one_model.Config, {"default": one_model.Config()}),
    "gecko": (gecko_config.Config, GECKO_PRESETS),
    "audit": (audit_config.Config, audit_config.PRESETS),
    "dp_clipping": (clipping_config.Config, clipping_config.PRESETS),
    "self_audit": (self_audit_config.Config, self_audit_config.PRESETS),
    "he_friendly": (he_friendly_config.Config, he_friendly_config.PRESETS),
}
DEFINED = {name: flags.define(*parts) for name, parts in COMMANDS.items()}
SIZES = [("hidden", "0", "hidden=(0,)"), ("hidden", "-4", "hidden=(-4,)"), ("hidden", "8,0", "hidden=(8, 0)")]
BAD = {
    "train": [
        *SIZES,
        ("hidden", "8,,8", "flag --hidden=8,,8"),
        ("architecture=lenet --hidden", "", "hidden=() has 0 entries; expected 1"),
        ("architecture=lenet --hidden", "0", "hidden=(0,)"),
        ("architecture=lenet --channels", "4", "channels=(4,) has 1 entries; expected 2"),
        ("architecture=lenet --channels", "4,0", "channels=(4, 0)"),
        ("architecture=lenet --channels", "1,2,3", "channels=(1, 2, 3) has 3 entries"),
        ("loss=hard_labels --teacher=lenet --hidden", "", "hidden=() has 0 entries"),
        ("weights=binary --float_layers", "frist", "Did you mean 'first'"),
        ("output", "", "--output= names no folder"),
        ("models", "0", "models=0"),
        ("epochs", "0", "epochs=0"),
        ("batch_size", "-1", "batch_size=-1"),
        ("learning_rate", "nan", "learning_rate=nan"),
        ("learning_rate", "0", "learning_rate=0.0"),
        ("member_rate", "0", "member_rate=0.0"),
        ("member_rate", "1.5", "member_rate=1.5"),
        ("loss=hard_labels --teacher=mlp --cross_fit", "1", "cross_fit=1 must be 0, or at least 2"),
        ("loss=hard_labels --teacher=mlp --cross_fit", "-2", "cross_fit=-2"),
        ("activation=quadratic --transition", "3", "transition has shape (1,)"),
        ("activation=quadratic --transition", "3,2", "transition=(3, 2)"),
        ("activation=quadratic --transition", "0,20", "transition=(0, 20)"),
        ("optimizer", "adma", "Did you mean 'adam'"),
    ],
    "gecko": [
        *SIZES,
        ("channels", "4", "channels=(4,) has 1 entries"),
        ("dense", "0", "dense=(0,)"),
        ("epochs", "0", "epochs=(0,)"),
        ("epochs", "", "epochs=() needs one number"),
        ("dp_epochs", "-1", "dp_epochs=(-1,)"),
        ("batch_size", "0", "batch_size=0"),
        ("learning_rate", "-1", "learning_rate=-1.0"),
        ("schedule", "cosin", "Did you mean 'cosine'"),
        ("distillation", "cross_entropy", "distillation='cross_entropy' is not known"),
        ("cross_fit", "1", "cross_fit=1"),
        ("models", "2", "models=2"),
    ],
    "audit": [*SIZES, ("strength_hidden", "0", "strength_hidden=(0,)"), ("strength_epochs", "0", "strength_epochs=0")],
    "dp_clipping": [
        *SIZES,
        ("epochs", "0", "epochs=0"),
        ("batch_size", "0", "batch_size=0"),
        ("delta", "1", "delta=1.0 must lie above 0 and below 1"),
        ("sgd_rates", "0.1,0", "sgd_rates=0.0"),
        ("grid_rates", "", "grid_rates is empty"),
        ("grid_clip_norms", "-1", "grid_clip_norms=-1.0"),
        ("optimizers", "", "optimizers is empty"),
        ("rules", "flatt", "Did you mean 'flat'"),
        ("dataset=none --regression", "none", "nothing to train"),
    ],
    "self_audit": [
        ("scenarios", "flatt", "scenarios='flatt' is not known"),
        ("scenarios", "", "scenarios is empty"),
        ("epsilons", "0", "epsilons=0.0"),
        ("canaries", "3", "canaries=3"),
        ("delta", "0", "delta=0.0"),
    ],
    "he_friendly": [
        ("hidden", "0", "hidden=(0,)"),
        ("hidden", "8,8", "hidden=(8, 8) has 2 entries; expected 1"),
        ("channels", "4", "channels=(4,) has 1 entries"),
        ("network", "alexnet", "hidden=(32,) has 1 entries; expected 2"),
        ("tables", "recepi", "Did you mean 'recipe'"),
        ("tables", "", "tables is empty"),
        ("recipe", "teacher,studnet", "Did you mean 'student'"),
        ("recipe", "student", "lacks 'teacher', which every gap is measured from"),
        ("recipe", "teacher", "lacks 'student', which the table encrypted runs"),
        ("leak_rows", "teacher,min_max", "whose norm only the deep networks have"),
        ("transition", "0.1,0.99", "transition=(0.1, 0.99) must satisfy"),
        ("transition", "0.5", "transition has shape (1,)"),
        ("models", "1", "models=1"),
        ("leak_models", "3", "leak_models=3"),
        ("alpha", "2", "alpha=2.0"),
        ("temperature", "0", "temperature=0.0"),
        ("shift", "0", "shift=0.0"),
        ("depths", "", "depths is empty"),
        ("class_weights", "balancd", "Did you mean 'balanced'"),
    ],
}
IDLE = {
    "train": [
        ("cross_fit=2", "a --teacher"),
        ("norm=group", "--normalize or --order=xnor"),
        ("float_layers=first", "--weights or --inputs"),
        ("channels=4,4", "a lenet"),
        ("architecture=lenet --hidden=64,32", "one width alone"),
        ("architecture=nin --hidden=64", "an mlp, an alexnet"),
        ("width=0.5", "alexnet32, densenet40"),
        ("transition=1,2", "--activation=quadratic"),
        ("activation=square --transition=1,2", "--activation=quadratic"),
        ("clip_norm=2", "--clipping=flat"),
    ],
    "gecko": [
        ("methods=full --fine_tuning_epochs=3", "a row that goes on from another"),
        ("methods=full --cross_fit=2", "a row of Phase II"),
        ("methods=full --distillation=hard_labels", "a row of Phase II"),
        ("methods=full --delta=1e-6", "a private row"),
        ("methods=full --dp_epochs=3", "a private row"),
        ("methods=full --heterogeneous_teacher=mlp", "phase2_heterogeneous"),
        ("methods=full --channels=4,4", "a lenet"),
        ("methods=full --dense=4", "a lenet"),
        ("methods=full --architectures=lenet --hidden=4", "an mlp"),
    ],
    "audit": [("methods=full --clip_norm=2", "a private row"), ("methods=full --dense=3", "a lenet")],
    "dp_clipping": [
        ("rules=none --grid_rules= --epsilon=1", "a rule that is private"),
        ("rules=flat --threshold=3", "global_high or global_adapt"),
        ("rules=none --clip_norm=2 --threshold=30", "a rule that clips"),
        ("optimizers=adam --sgd_rates=1", "another of --optimizers than adam"),
        ("optimizers=sgd --adam_rates=1", "adam among --optimizers"),
        ("dataset=none --epochs=3", "a --dataset"),
        ("dataset=none --grid_rates=3", "a --dataset"),
        ("regression=none --regression_epochs=3", "a --regression"),
        ("regression=none --network=cnn --hidden=3", "--network=mlp"),
        ("grid_clip_norms=() --grid_rates=3", "--grid_clip_norms"),
    ],
    "he_friendly": [
        ("network=mlp --channels=4,4", "--network=lenet or alexnet"),
        ("side=32", "a folder of your own images"),
        ("tables=recipe --depths=4", "depth among --tables"),
        ("tables=depth --leak_models=5", "leak among --tables"),
        ("tables=depth,leak --recipe=teacher", "recipe or encrypted among --tables"),
        ("tables=recipe --samples=3", "encrypted among --tables"),
    ],
}


def parse(name, arguments):
    return flags.parse(DEFINED[name], ["run", *(f"--{each}" for each in arguments.split(" --"))])


def refusal(capsys, name, arguments):
    with pytest.raises(SystemExit) as end:
        parse(name, arguments)
    captured = capsys.readouterr()
    assert end.value.code == 1 and captured.out == "" and captured.err.count("\n") == 3
    return captured.err


def cases(tables):
    return [(name, *case) for name, table in tables.items() for case in table]


@pytest.mark.parametrize(("name", "flag", "value", "message"), cases(BAD))
def test_a_bad_flag_is_named_before_anything_is_loaded(capsys, name, flag, value, message):
    assert message in refusal(capsys, name, f"{flag}={value}")


@pytest.mark.parametrize(("name", "arguments", "needs"), cases(IDLE))
def test_a_flag_that_nothing_would_read_is_refused(capsys, name, arguments, needs):
    message = refusal(capsys, name, arguments)
    assert "has no effect here: it needs" in message and needs in message


@pytest.mark.parametrize("name", IDLE)
def test_what_has_no_effect_is_known_by_its_name(name):
    """Each entry is a field, and some setting makes it count."""
    config_cls, presets = COMMANDS[name]
    module = {"train": "experiments.one_model_config", "audit": "experiments.gecko.config"}.get(name)
    effects = sys.modules[module or f"experiments.{name}.config"].EFFECTS
    assert set(effects) <= {each.name for each in dataclasses.fields(config_cls)}
    for preset in presets.values():
        assert not {"models", "seed", "output", "data_dir", "dataset"} & set(preset.idle())


def test_the_same_flags_are_taken_where_something_reads_them():
    assert parse("train", "teacher=mlp --loss=kullback_leibler --cross_fit=2").cross_fit == 2
    assert parse("train", "normalize --norm=layer").norm == "layer"
    assert parse("train", "order=xnor --norm=layer").norm == "layer"
    assert parse("train", "teacher=lenet --loss=hard_labels --channels=4,5").channels == (4, 5)
    assert parse("train", "architecture=lenet --hidden=64").hidden == (64,)
    assert parse("train", "clipping=flat --epsilon=1 --clip_norm=2").clip_norm == 2
    assert parse("gecko", "methods=full,xnor,phase1_control --fine_tuning_epochs=3").fine_tuning_epochs == (3,)
    assert parse("dp_clipping", "rules=flat --clip_norm=30").clip_norm == 30  # above the threshold, which nothing reads


@pytest.mark.parametrize("spelling", ["", "()", "( )"])
def test_an_empty_list_is_taken_as_it_is_advised(spelling):
    assert parse("train", f"weights=binary --float_layers={spelling}").float_layers == ()
    assert parse("train", f"float_layers={spelling}").float_layers == ()
    assert parse("train", "weights=binary --float_layers=none").float_layers == ()
    assert parse("train", f"hidden={spelling}").hidden == ()  # a linear network
    assert parse("dp_clipping", f"grid_clip_norms={spelling}").grid_clip_norms == ()


@pytest.mark.parametrize("spelling", ["8,4", "(8, 4)", "(8, 4,)", " 8 , 4 "])
def test_a_list_is_taken_as_messages_spell_it(spelling):
    assert parse("train", f"hidden={spelling}").hidden == (8, 4)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_the_names_of_every_table(name, capsys):
    tables = {
        "train": {
            "dataset": datasets.LOADERS, "architecture": models.CLASSIFIERS, "teacher": models.CLASSIFIERS,
            "activation": activations.ACTIVATIONS, "weights": quantizers.QUANTIZERS, "inputs": quantizers.QUANTIZERS,
            "loss": losses.CLASS_LOSSES, "optimizer": training.OPTIMIZERS, "schedule": training.SCHEDULES,
            "clipping": clippings.CLIPPINGS, "order": ("post", "xnor"), "norm": ("batch", "group", "layer"),
            "float_layers": ("first", "last"),
        },
        "gecko": {
            "dataset": datasets.LOADERS, "architectures": NETWORKS, "methods": METHODS,
            "heterogeneous_teacher": NETWORKS, "schedule": training.SCHEDULES,
            "distillation": [name for name, loss in losses.CLASS_LOSSES.items() if "teacher" in loss().reads],
            "clipping": set(clippings.CLIPPINGS) - {"per_layer"},
        },
        "audit": {"dataset": datasets.LOADERS, "methods": METHODS, "architectures": NETWORKS},
        "dp_clipping": {
            "dataset": [*datasets.LOADERS, "none"], "rules": RULES, "grid_rules": set(RULES) - {"none"},
            "optimizers": training.OPTIMIZERS, "network": ("mlp", "cnn"), "regression": ("diabetes", "none"),
        },
        "self_audit": {"scenarios": SCENARIOS},
        "he_friendly": {
            "dataset": [*datasets.LOADERS, "three_classes"], "network": he_friendly_config.LAYERS,
            "recipe": INGREDIENTS, "depth_rows": INGREDIENTS, "leak_rows": INGREDIENTS,
            "tables": he_friendly_config.TABLES, "class_weights": ("none", "balanced"),
        },
    }[name]  # fmt: skip
    with pytest.raises(SystemExit) as end:
        parse(name, "help")
    shown = {}
    for part in " ".join(capsys.readouterr().out.split()).split(" --")[1:]:
        shown.setdefault(part.split(":")[0].removeprefix("[no]"), part)
    assert not end.value.code
    for flag, table in tables.items():
        listed = f", {shown[flag].partition('[')[0].rpartition(': ')[2].strip()},"
        assert all(f", {name}," in listed for name in table), flag
