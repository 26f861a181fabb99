import argparse
import dataclasses

import pytest

from job_runtime.command import UserError
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
    assert TrainConfig().model == model_config.ModelConfig()


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
    assert problems_of("--config", path) == [f"{path}: residual is 1, want true or false"]


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
        f"{path}: layers is 'two', want a whole number, 1 to 256",
        f"{path}: batch_size is 64.0, want a whole number, 1 to 1048576",
        f"{path}: dropout is True, want a number, at least 0 and below 1",
        f"{path}: window is 0, want a whole number, 1 to 1048576",
        "--units is '20', want a multiple of 16, 16 to 32768",
        "--learning-rate is 'fast', want a number above 0",
        "--patience is '0', want a whole number, 1 or more, or none",
    ]


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "timing_loss": ["hinge"],
        "precision": ["float16"],
        "on_nan": ["ignore"],
        "residual": ["yes"],
        "head_units": ["0", "24", "32784"],
        "layers": ["0", "257"],
        "context_units": ["8", "-16"],
        "context_notes": [str(model_config.LEAST_CONTEXT_NOTES - 1)],
        "context_lags": ["0,24", "24,4097", "a", "1.5"],
        "window": ["0", str(2**20 + 1)],
        "transpose": ["-1", "25"],
        "velocity": ["65"],
        "rng_seed": ["-1", str(2**31)],
        "warmup_steps": ["-1"],
        "samples": ["65"],
        "patience": ["0", "never"],
        "max_minutes": ["0", "nan", "soon"],
        "final_rate": ["0", "1.1"],
        "weight_decay": ["-0.1", "nan", "11"],
        **dict.fromkeys(("learning_rate", "clip_norm", "epochs", "evaluate_every"), ["nan", "inf", "0", "-1"]),
        **dict.fromkeys(
            ("dropout", "recurrent_dropout", "embedding_dropout", "tempo", "weight_average"), ["1", "-0.1", "nan"]
        ),
    }.items(),
)
def test_what_is_out_of_bounds(name, values):
    setting = config_lib.SETTINGS[name]
    for value in values:
        assert problems_of(f"{setting.flag}={value}") == [f"{setting.flag} is {value!r}, want {setting.wanted}"]


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
    assert problems_of("--config", path) == [f"{path}: units is [64], want a multiple of 16, 16 to 32768"]
