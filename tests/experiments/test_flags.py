import dataclasses
import json
import subprocess
import sys
from typing import Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import flags


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = dataclasses.field(metadata={"help": "updates of each model"})
    rate: float = 0.1
    name: str = "digits"
    augment: bool = False
    seeds: tuple[int, ...] = (0, 1)
    losses: tuple[float, ...] = ()
    schemes: tuple[str, ...] = ("binary",)
    kinds: tuple[Literal["lira", "rmia"], ...] = ()
    optimizer: Literal["adam", "sgd"] = "adam"
    bits: Literal[1, 2, 8] = 8
    width: int | None = None
    teacher: Optional[str] = None  # noqa: UP045 - the older spelling must work too
    private: bool | None = None

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} must be at least 1.")


PRESETS = {"quick": Config(steps=10), "paper": Config(steps=500, width=64, seeds=(0, 1, 2), private=True)}


def parse(*argv):
    return flags.parse(flags.define(Config, PRESETS), ["run.py", *argv])


def test_nothing_given_is_the_first_preset():
    assert parse() == PRESETS["quick"]
    assert parse("--preset=paper") == PRESETS["paper"]
    assert flags.parse(flags.define(Config, PRESETS, default="paper"), ["run.py"]) == PRESETS["paper"]


@pytest.mark.parametrize(
    "argument, field, value",
    [
        ("--steps=3", "steps", 3),
        ("--rate=1e-3", "rate", 0.001),
        ("--rate=2", "rate", 2.0),
        ("--name=a b", "name", "a b"),
        ("--augment", "augment", True),
        ("--noaugment", "augment", False),
        ("--augment=true", "augment", True),
        ("--seeds=4", "seeds", (4,)),
        ("--seeds=4, 5", "seeds", (4, 5)),
        ("--seeds=", "seeds", ()),
        ("--losses=0.5,-1", "losses", (0.5, -1.0)),
        ("--schemes=xnor,ternary", "schemes", ("xnor", "ternary")),
        ("--kinds=rmia,lira", "kinds", ("rmia", "lira")),
        ("--optimizer=sgd", "optimizer", "sgd"),
        ("--bits=2", "bits", 2),
        ("--width=8", "width", 8),
        ("--width=none", "width", None),
        ("--teacher=wide", "teacher", "wide"),
        ("--teacher=None", "teacher", None),
        ("--private", "private", True),
        ("--noprivate", "private", False),
        ("--private=none", "private", None),
    ],
)
def test_a_flag_given_replaces_the_presets_value(argument, field, value):
    config = parse("--preset=paper", argument)
    assert config == dataclasses.replace(PRESETS["paper"], **{field: value})
    assert type(getattr(config, field)) is type(value)


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--step=3", "Unknown command line flag 'step'. Did you mean: steps ?"),
        ("--steps=many", "flag --steps=many"),
        ("--steps=1.5", "flag --steps=1.5"),
        ("--rate=fast", "flag --rate=fast"),
        ("--augment=perhaps", "Non-boolean argument to boolean flag"),
        ("--seeds=1,x", "flag --seeds=1,x"),
        ("--kinds=lira,mia", "value should be one of <lira|rmia>"),
        ("--optimizer=adagrad", "value should be one of <adam|sgd>"),
        ("--bits=3", "value should be one of <1|2|8>"),
        ("--width=wide", "flag --width=wide"),
        ("--preset=slow", "value should be one of <quick|paper>"),
        ("--steps=0", "steps=0 must be at least 1."),
        ("steps=3", "Unexpected argument 'steps=3'"),
    ],
)
def test_a_bad_flag_ends_the_program_with_a_clear_message(capsys, argument, message):
    with pytest.raises(SystemExit) as end:
        parse(argument)
    captured = capsys.readouterr()
    assert end.value.code == 1 and captured.out == ""
    assert message in captured.err and "Pass --help" in captured.err


def test_a_definition_parses_afresh_each_time():
    definition = flags.define(Config, PRESETS)
    assert flags.parse(definition, ["run.py", "--steps=3"]).steps == 3
    assert flags.parse(definition, ["run.py"]) == PRESETS["quick"]


def test_flags_are_read_from_a_file(tmp_path):
    (tmp_path / "flags.txt").write_text("--preset=paper\n# a remark\n--steps=7\n")
    assert parse(f"--flagfile={tmp_path}/flags.txt", "--rate=0.5") == dataclasses.replace(
        PRESETS["paper"], steps=7, rate=0.5
    )


def test_help_shows_each_flag_with_its_presets():
    code = f"""
'''Checks the claim.'''
import sys
sys.path[:0] = {sys.path!r}
from test_flags import Config, PRESETS, flags
flags.parse(flags.define(Config, PRESETS))
"""
    done = subprocess.run(
        [sys.executable, "-", "--help"], input=code, capture_output=True, text=True, cwd=__file__.rpartition("/")[0]
    )
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert text.startswith("Checks the claim.")
    for part in (
        "updates of each model [quick: 10; paper: 500]",
        "--[no]augment",
        "[quick: none; paper: 64]",
        "[quick: 0,1; paper: 0,1,2]",
        "<adam|sgd>",
        "--preset: <quick|paper>",
        "--flagfile",
    ):
        assert part in text, part


configs = st.builds(
    Config,
    steps=st.integers(1, 10**9),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    name=st.text(),
    augment=st.booleans(),
    seeds=st.lists(st.integers()).map(tuple),
    losses=st.lists(st.floats(allow_nan=False)).map(tuple),
    schemes=st.lists(st.text()).map(tuple),
    optimizer=st.sampled_from(["adam", "sgd"]),
    bits=st.sampled_from([1, 2, 8]),
    width=st.none() | st.integers(),
    private=st.none() | st.booleans(),
)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(config=configs)
def test_a_config_survives_json(config):
    assert flags.from_dict(Config, json.loads(json.dumps(flags.to_dict(config)))) == config


def test_from_dict_refuses_what_the_class_does_not_know():
    with pytest.raises(ValueError, match="field='step' is not known. Did you mean 'steps'?"):
        flags.from_dict(Config, {"step": 3})
    with pytest.raises(ValueError, match="values lacks steps; Config has no default for it"):
        flags.from_dict(Config, {"rate": 3.0})


def test_define_refuses_what_it_cannot_express():
    @dataclasses.dataclass(frozen=True)
    class Odd:
        table: dict[str, int]

    @dataclasses.dataclass
    class Loose:
        steps: int = 1

    with pytest.raises(TypeError, match="field 'table' is of type dict"):
        flags.define(Odd, {"quick": Odd({})})
    with pytest.raises(TypeError, match="must be a frozen dataclass"):
        flags.define(Loose, {"quick": Loose()})
    with pytest.raises(ValueError, match="presets is empty"):
        flags.define(Config, {})
    with pytest.raises(ValueError, match="default='papre' is not known. Did you mean 'paper'?"):
        flags.define(Config, PRESETS, default="papre")


def test_a_preset_s_numbers_that_no_row_reads_need_not_fit_the_architectures():
    """`--preset=fashion_mnist --architectures=mlp` without rows that are fine-tuned: the flag itself would be idle."""
    from experiments.gecko.presets import PRESETS

    settings = dict(architectures=("mlp",), methods=("full", "dp_eps8"), epochs=(1,), dp_epochs=(1,))
    cut = dataclasses.replace(PRESETS["fashion_mnist"], **settings)
    assert cut.fine_tuning_epochs == (10, 2)
    with pytest.raises(ValueError, match="dp_epochs=.* needs one number for each"):
        dataclasses.replace(cut, dp_epochs=(1, 2))
