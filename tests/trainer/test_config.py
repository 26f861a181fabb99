import argparse
import dataclasses

import pytest

from job_runtime.command import UserError
from midi_codec.fields import TIMING_LOSSES
from trainer import config as config_lib
from trainer.config import TrainConfig
from trainer.model import model_config


def read(*argv: str) -> TrainConfig:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config_lib.add_flags(parser)
    return config_lib.read(parser.parse_args(argv))


def write_yaml(folder, text: str) -> str:
    path = folder / "run.yaml"
    path.write_text(text)
    return str(path)


def problems_of(*argv: str) -> list[str]:
    with pytest.raises(UserError) as error:
        read(*argv)
    return error.value.problems


def test_defaults_are_right():
    assert read() == TrainConfig()
    assert TrainConfig().problems() == []


def test_every_setting_is_a_flag_and_says_its_default(capsys):
    parser = argparse.ArgumentParser()
    config_lib.add_flags(parser)
    text = " ".join(parser.format_help().split())
    for field in dataclasses.fields(TrainConfig):
        shown = config_lib.shown_value(field.default)
        assert f"--{field.name.replace('_', '-')}" in text
        assert f"{field.metadata['help']} (default: {shown})" in text


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    path = write_yaml(tmp_path, "units: 64\nbatch_size: 8\nlearning_rate: 1e-3\nmax_minutes: 2\npatience: none\n")
    config = read("--config", path, "--units", "32", "--timing-loss", "mse")
    assert config == TrainConfig(
        units=32, batch_size=8, learning_rate=1e-3, max_minutes=2.0, patience=None, timing_loss="mse"
    )
    assert type(config.max_minutes) is float


def test_true_and_false(tmp_path):
    path = write_yaml(tmp_path, "residual: true\nlayer_norm: false\n")
    config = read("--config", path, "--layer-norm", "true", "--tied-embeddings", "False")
    assert (config.residual, config.layer_norm, config.tied_embeddings) == (True, True, False)
    path = write_yaml(tmp_path, "residual: 1\n")
    assert problems_of("--config", path) == [f"{path}: residual: is 1, want true or false"]


def test_ticks_come_as_text_and_as_lists(tmp_path):
    path = write_yaml(tmp_path, "context_lags: [24, 48]\ncontext_periods: [96]\n")
    config = read("--config", path, "--context-periods", "24,96")
    assert (config.context_lags, config.context_periods) == ((24, 48), (24, 96))
    assert read("--context-lags", "24").context_lags == (24,)


def test_settings_of_a_base_stay_where_nothing_else_is_given():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config_lib.add_flags(parser)
    args = parser.parse_args(["--layers", "3"])
    assert config_lib.read(args, base=TrainConfig(units=64, layers=1)) == TrainConfig(units=64, layers=3)


def test_null_and_none_mean_no_limit(tmp_path):
    path = write_yaml(tmp_path, "patience: null\n")
    assert read("--config", path).patience is None
    assert read("--config", path, "--patience", "3").patience == 3
    assert read("--patience", "none", "--max-minutes", "none") == TrainConfig(patience=None)


def test_all_problems_come_at_once(tmp_path):
    path = write_yaml(tmp_path, "unitz: 64\nlayers: two\nbatch_size: 64.0\ndropout: true\nwindow: 0\n")
    names = ", ".join(sorted(field.name for field in dataclasses.fields(TrainConfig)))
    assert problems_of("--config", path, "--learning-rate", "fast", "--patience", "0", "--units", "20") == [
        f"{path}: unitz: no such setting, want one of {names}",
        f"{path}: layers: is 'two', want a whole number",
        f"{path}: batch_size: is 64.0, want a whole number",
        f"{path}: dropout: is True, want a number",
        "--learning-rate: is 'fast', want a number",
        "units is 20, want a multiple of 16, 16 to 32768",
        "window is 0, want 1 to 1048576",
        "patience is 0, want at least 1, or none",
    ]


@pytest.mark.parametrize(
    "flag, value, want",
    [
        ("timing-loss", "hinge", f"timing_loss is 'hinge', want {' or '.join(TIMING_LOSSES)}"),
        ("head-units", "0", "head_units is 0, want a multiple of 16, 16 to 32768"),
        ("layers", "0", "layers is 0, want 1 to 256"),
        ("learning-rate", "nan", "learning_rate is nan, want a number above 0"),
        ("learning-rate", "inf", "learning_rate is inf, want a number above 0"),
        ("clip-norm", "0", "clip_norm is 0.0, want a number above 0"),
        ("epochs", "inf", "epochs is inf, want a number above 0"),
        ("evaluate-every", "-1", "evaluate_every is -1.0, want a number above 0"),
        ("dropout", "1", "dropout is 1.0, want at least 0 and below 1"),
        ("tempo", "-0.1", "tempo is -0.1, want at least 0 and below 1"),
        ("transpose", "25", "transpose is 25, want 0 to 24"),
        ("velocity", "65", "velocity is 65, want 0 to 64"),
        ("rng-seed", "-1", f"rng_seed is -1, want 0 to {2**31 - 1}"),
        ("warmup-steps", "-1", f"warmup_steps is -1, want 0 to {10**9}"),
        ("final-rate", "0", "final_rate is 0.0, want above 0 and at most 1"),
        ("max-minutes", "0", "max_minutes is 0.0, want a number above 0"),
        ("max-minutes", "nan", "max_minutes is nan, want a number above 0"),
        ("precision", "float16", "precision is 'float16', want float32 or bfloat16"),
        ("on-nan", "ignore", "on_nan is 'ignore', want stop or restore"),
        ("recurrent-dropout", "nan", "recurrent_dropout is nan, want at least 0 and below 1"),
        ("embedding-dropout", "1", "embedding_dropout is 1.0, want at least 0 and below 1"),
        ("samples", "65", "samples is 65, want 0 to 64"),
        ("weight-average", "1", "weight_average is 1.0, want at least 0 and below 1"),
        ("weight-average", "nan", "weight_average is nan, want at least 0 and below 1"),
        ("weight-decay", "-0.1", "weight_decay is -0.1, want 0 to 10"),
        ("weight-decay", "nan", "weight_decay is nan, want 0 to 10"),
        ("context-units", "8", "context_units is 8, want a multiple of 16, 0 to 32768"),
        ("context-units", "-16", "context_units is -16, want a multiple of 16, 0 to 32768"),
        ("context-notes", "3", f"context_notes is 3, want {model_config.LEAST_CONTEXT_NOTES} to {2**20}"),
        ("context-lags", "0,24", f"context_lags has 0, want ticks from 1 to {model_config.MAX_CONTEXT_TICKS}"),
        (
            "context-periods",
            "-1,4,0",
            f"context_periods has -1, 0, want ticks from 1 to {model_config.MAX_CONTEXT_TICKS}",
        ),
        ("residual", "yes", "--residual: is 'yes', want true or false"),
        ("max-minutes", "soon", "--max-minutes: is 'soon', want a number or none"),
    ],
)
def test_one_problem(flag, value, want):
    assert problems_of(f"--{flag}={value}") == [want]


@pytest.mark.parametrize(
    "text, want",
    [
        ("- 1\n- 2\n", "holds list, want settings as `name: value`"),
        ("", "holds NoneType, want settings as `name: value`"),
        ("units: [1\n", "not readable as YAML: "),
    ],
)
def test_a_file_that_is_no_mapping(tmp_path, text, want):
    path = write_yaml(tmp_path, text)
    (problem,) = problems_of("--config", path)
    assert problem.startswith(f"{path}: {want}")


def test_a_file_that_is_not_there(tmp_path):
    (problem,) = problems_of("--config", str(tmp_path / "none.yaml"))
    assert problem.startswith(f"{tmp_path}/none.yaml: not readable as YAML: ")


def test_a_list_in_the_file_is_no_value(tmp_path):
    path = write_yaml(tmp_path, "units: [64]\n")
    assert problems_of("--config", path) == [f"{path}: units: is [64], want a whole number"]
